"""product: gradients."""

from __future__ import annotations

import numpy as np
import pytest
from product_oracle import magnitude

from gmengine.autograd import check_vjp
from gmengine.mixture import Mixture
from gmengine.ops.product import l2_distance, product
from gmengine.testing import assert_close, laws, pull_back
from gmengine.testing import strategies as gms

FIELDS = ("weights", "means", "covariances")


def pair(seed, batch=(), n=(5, 4), dim=2, **options):
    """Return two random mixtures of one batch shape."""
    rng = np.random.default_rng(seed)
    return tuple(gms.random_mixture(rng, batch, k, dim, **options) for k in n)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_the_gradient_of_the_product_is_that_of_finite_differences(dim):
    check_vjp(product, *pair(1, (2,), dim=dim, absent=0.2), rng=2)


@pytest.mark.parametrize("n", [(1, 70), (70, 1), (130, 64)])
def test_blocks_and_slices_of_components_have_the_gradient_of_finite_differences(n):
    check_vjp(product, *pair(3, (), n, 1), rng=4)


@pytest.mark.parametrize(
    ("left", "right"), [((2, 3), ()), ((), (3,)), ((2, 1), (1, 3)), ((2, 3), (3,)), ((0, 2), (2,))]
)
def test_the_gradient_of_the_product_sums_over_broadcast_axes(left, right):
    check_vjp(product, gms.random_mixture(5, left, 4, 2), gms.random_mixture(6, right, 3, 2), rng=7)


def test_the_gradient_of_the_product_with_itself_has_both_parts():
    check_vjp(lambda m: product(m, m), gms.random_mixture(8, (2,), 6, 3), rng=9)


@pytest.mark.parametrize("op", [product, l2_distance])
def test_each_array_of_either_operand_can_be_the_only_one_that_needs_a_gradient(op):
    operands = pair(10, (2,))
    _, wants = pull_back(op, *operands, rng=11)
    for side, want in enumerate(wants):
        for k, name in enumerate(FIELDS):
            arrays = operands[side].arrays

            def only(part, side=side, k=k, arrays=arrays):
                m = Mixture(*arrays[:k], part, *arrays[k + 1 :])
                return op(m, operands[1]) if side == 0 else op(operands[0], m)

            _, (got,) = pull_back(only, arrays[k], rng=11)
            assert_close("exact", got, getattr(want, name), name=name)


@pytest.mark.parametrize("op", [product, l2_distance])
@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e3])
def test_absent_components_of_operands_have_gradient_exactly_zero(op, garbage):
    a, b = (laws.padded(m, 3, garbage) for m in pair(12, (2,), (5, 5)))
    _, grads = pull_back(op, a, b)
    for g in grads:
        for x in g.arrays:
            assert_close("exact", x[:, 5:], np.zeros_like(x[:, 5:]))
            assert np.all(np.any(x[:, :5] != 0.0, axis=tuple(range(2, x.ndim))))


@pytest.mark.parametrize("op", [product, l2_distance])
def test_operands_without_components_have_empty_gradients(op):
    a, b = pair(13, (2,))
    none = Mixture(a.weights[:, :0], a.means[:, :0], a.covariances[:, :0])
    _, (of_none, of_b) = pull_back(op, none, b)
    assert [x.shape for x in of_none.arrays] == [x.shape for x in none.arrays]
    assert np.all(np.isfinite(of_b.means))


@pytest.mark.parametrize("op", [product, l2_distance])
def test_gradients_of_covariances_of_operands_are_symmetric(op):
    _, grads = pull_back(op, *pair(14, (), dim=3))
    for g in grads:
        assert_close("exact", g.covariances, np.swapaxes(g.covariances, -1, -2))


@pytest.mark.parametrize("op", [product, l2_distance])
@pytest.mark.parametrize("condition", [1e1, 1e4])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gradients_in_single_precision_are_those_in_double_precision_rounded(op, dim, condition):
    operands = pair(15, (3,), (40, 30), dim, condition=condition)
    cotangent = np.float32([1.0, -2.0, 0.5])
    want, wants = pull_back(op, *operands, cotangent=cotangent.astype(np.float64))
    got, gots = pull_back(op, *(m.astype("float32") for m in operands), cotangent=cotangent)
    assert_close("exact", got, want.astype(np.float32))
    for g, w in zip(gots, wants, strict=True):
        for x, y in zip(g.arrays, w.arrays, strict=True):
            assert x.dtype == np.float32
            assert_close("exact", x, y.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_operands_far_apart_have_gradient_zero(dtype):
    a, b = pair(16, (2,), dtype=dtype)
    far = Mixture(b.weights, b.means + np.array([1e18, -1e30], dtype), b.covariances)
    _, grads = pull_back(product, a, far)
    for g in grads:
        for x in g.arrays:
            assert_close("exact", x, np.zeros_like(x))


def test_motion_of_both_operands_leaves_the_product_alone():
    a, b = pair(17, (2,), (30, 20), 3)
    _, (of_a, of_b) = pull_back(product, a, b, cotangent=np.ones(2))
    total = of_a.means.sum(axis=-2) + of_b.means.sum(axis=-2)
    scale = np.abs(of_a.means).sum(axis=-2) + np.abs(of_b.means).sum(axis=-2)
    assert_close("sum", total, np.zeros_like(total), size=600, scale=scale)


def test_weights_times_their_gradients_sum_to_the_product():
    a, b = pair(18, (2,), (30, 20), 3)
    value, grads = pull_back(product, a, b, cotangent=np.ones(2))
    for m, g in zip((a, b), grads, strict=True):
        total = np.sum(m.weights * g.weights, axis=-1)
        assert_close("sum", total, value, size=600, scale=magnitude(a, b))

"""density_gradient and density_hessian: gradients with respect to mixtures and points."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from gmengine.autograd import check_vjp
from gmengine.cpu import _symmetric
from gmengine.mixture import Mixture
from gmengine.ops.derivatives import density_gradient, density_hessian
from gmengine.testing import assert_close, laws, pull_back
from gmengine.testing import strategies as gms

OPS = [density_gradient, density_hessian]


def at(seed, shape, dtype="float64"):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(np.float32).astype(dtype)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("op", OPS)
def test_the_gradient_is_that_of_finite_differences(op, dim):
    check_vjp(op, gms.random_mixture(1, (2,), 5, dim, absent=0.2), at(2, (2, 6, dim)), rng=3)


@pytest.mark.parametrize(
    ("batch", "points_batch"), [((2, 3), ()), ((), (3,)), ((2, 1), (1, 3)), ((2, 3), (3,))]
)
@pytest.mark.parametrize("op", OPS)
def test_the_gradient_sums_over_broadcast_axes(op, batch, points_batch):
    check_vjp(op, gms.random_mixture(4, batch, 4, 2), at(5, (*points_batch, 5, 2)), rng=6)


@pytest.mark.parametrize("op", OPS)
def test_the_gradient_of_derivatives_at_the_own_means_has_both_parts(op):
    check_vjp(lambda m: op(m, m.means), gms.random_mixture(7, (2,), 6, 3), rng=8)


@pytest.mark.parametrize("op", OPS)
def test_many_points_and_components_have_the_gradient_of_finite_differences(op):
    check_vjp(op, gms.random_mixture(9, (), 600, 2), at(10, (1300, 2)), rng=11)


@pytest.mark.parametrize("op", OPS)
def test_hard_conditioning_has_the_gradient_of_finite_differences(op):
    m = gms.random_mixture(12, (), 4, 2, condition=1e3)
    check_vjp(op, m, m.means + 0.02 * at(13, (4, 2)), rng=14, eps=1e-7, rtol=1e-5)


def test_only_the_symmetric_part_of_a_cotangent_of_curvatures_counts():
    m, x = gms.random_mixture(15, (), 5, 3), at(16, (6, 3))
    g = np.random.default_rng(17).standard_normal((6, 3, 3))
    results = [
        pull_back(density_hessian, m, x, cotangent=c)[1]
        for c in (g, np.swapaxes(g, -1, -2), (g + np.swapaxes(g, -1, -2)) / 2)
    ]
    for grads, grad_points in results[1:]:
        for a, b in zip((*grads.arrays, grad_points), (*results[0][0].arrays, results[0][1]), strict=True):
            assert_close("sum", a, b, size=6)


@pytest.mark.parametrize("op", OPS)
def test_each_input_can_be_the_only_one_that_needs_a_gradient(op):
    m, x = gms.random_mixture(18, (2,), 5, 2), at(19, (2, 6, 2))
    _, (all_of_m, of_x) = pull_back(op, m, x, rng=20)
    for k, name in enumerate(("weights", "means", "covariances")):
        parts = list(m.arrays)

        def only(part, parts=parts, k=k):
            return op(Mixture(*parts[:k], part, *parts[k + 1 :]), x)

        _, (got,) = pull_back(only, parts[k], rng=20)
        assert_close("sum", got, getattr(all_of_m, name), name=name)
    _, (got,) = pull_back(lambda x: op(m, x), x, rng=20)
    assert_close("sum", got, of_x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", OPS)
def test_far_points_have_gradient_zero(op, dtype):
    m = gms.random_mixture(21, (), 4, 2, dtype=dtype)
    x = np.array([[1e3, 0.0], [-1e10, 1e10], [0.0, 1e25], [1e30, -1e30]], dtype)
    _, (grads, grad_points) = pull_back(op, m, x)
    for g in (*grads.arrays, grad_points):
        assert_close("exact", g, np.zeros_like(g))


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e3])
@pytest.mark.parametrize("op", OPS)
def test_absent_components_have_gradient_exactly_zero(op, garbage):
    m = laws.padded(gms.random_mixture(22, (2,), 5, 2), 3, garbage)
    _, (grads, _) = pull_back(op, m, at(23, (6, 2)))
    for g in grads.arrays:
        assert_close("exact", g[:, 5:], np.zeros_like(g[:, 5:]))


@pytest.mark.parametrize("op", OPS)
def test_nothing_has_a_gradient_of_nothing(op):
    for n, p in ((0, 4), (3, 0)):
        m, x = gms.random_mixture(24, (2,), n, 2), at(25, (2, p, 2))
        _, (grads, grad_points) = pull_back(op, m, x)
        for g, a in zip((*grads.arrays, grad_points), (*m.arrays, x), strict=True):
            assert_close("exact", g, np.zeros_like(a))


@pytest.mark.parametrize("op", OPS)
def test_covariance_gradients_are_symmetric(op):
    _, (grads, _) = pull_back(op, gms.random_mixture(26, (), 5, 3), at(27, (6, 3)))
    assert_close("exact", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


@pytest.mark.parametrize("condition", [1e1, 1e4])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("op", OPS)
def test_single_precision_agrees_with_double(op, dim, condition):
    m, x = gms.random_mixture(28, (2,), 40, dim, condition=condition), at(29, (2, 50, dim))
    _, wants = pull_back(op, m, x, rng=30)
    _, gots = pull_back(op, m.astype("float32"), x.astype(np.float32), rng=30)
    for name in ("weights", "means", "covariances"):
        g, w = getattr(gots[0], name), getattr(wants[0], name)
        assert_close("gradient", g, w, size=50, condition=condition, name=name)
    assert_close("gradient", gots[1], wants[1], size=40, condition=condition, name="points")


GROWTH = """
import resource, sys
import numpy as np
from gmengine.ops.derivatives import density_gradient, density_hessian
from gmengine.testing import pull_back
from gmengine.testing.strategies import random_mixture

def peak(n):
    for op in (density_gradient, density_hessian):
        pull_back(op, random_mixture(1, (), n, 2), np.zeros((n, 2)))
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size

small = peak(200)
print(peak(4000) - small)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no module `resource`")
def test_memory_does_not_grow_with_the_number_of_pairs():
    out = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True).stdout
    assert int(out) < 64e6  # half of what one number per pair would be


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 7])
def test_products_of_packed_symmetric_matrices_are_those_of_numpy(dim):
    from numba import njit

    @njit
    def products(a, s, t, v):
        return (
            _symmetric.symmetric_times(s, v),
            _symmetric.symmetric_dot(s, t),
            _symmetric.sandwich(a, s),
        )

    rng = np.random.default_rng(dim)
    a, s, t = np.tril(rng.standard_normal((dim, dim))), *(rng.standard_normal((2, dim, dim)))
    s, t, v = s + s.T, t + t.T, rng.standard_normal(dim)
    rows = np.tril_indices(dim)
    got = products(tuple(a[rows]), tuple(s[rows]), tuple(t[rows]), tuple(v))
    for g, w in zip(got, (s @ v, np.trace(s @ t), (a @ s @ a.T)[rows]), strict=True):
        assert_close("sum", np.asarray(g), w, size=dim**2)

"""moments: integral, mean and covariance of whole mixtures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite
from gmengine.mixture import Mixture
from gmengine.ops.affine import affine, translate
from gmengine.ops.convolve import convolve
from gmengine.ops.moments import moments
from gmengine.testing import assert_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

CANCELLATION = 4.0
"""The largest sum |w| / |sum w| of the signed mixtures here: what cancels multiplies rounding errors."""


def biased(m):
    """Return a signed mixture whose integral is not small: weights up to 1 of either sign, plus 2/3."""
    return Mixture(
        np.where(m.weights != 0, m.weights + 2 / 3 * np.sign(m.weights[..., :1]), 0.0), *m.arrays[1:]
    )


def by_oracle(m):
    m0, m1, m2 = oracles.moments(*m.arrays)
    mean = m1 / m0
    return m0, mean, m2 / m0 - np.outer(mean, mean)


@given(st.data())
@pytest.mark.parametrize("signed", [True, False])
def test_they_are_the_quotients_of_integrals(backend, signed, data):
    m = data.draw(gms.mixtures(batch=(), signed=signed, absent=0.2))
    assume(abs(m.weights.sum()) * CANCELLATION > np.abs(m.weights).sum())
    got = moments(backend.asarray(m))
    integral, mean, covariance = by_oracle(m)
    assert_close("sum", got.integral, np.array(integral), size=m.n_components, scale=np.abs(m.weights).sum())
    # Means lie in [-2, 2]: 2 and its square are the units of what cancels.
    size = m.n_components * CANCELLATION**2
    assert_close("moments", got.mean, mean, size=size, scale=2.0 * CANCELLATION)
    assert_close("moments", got.covariance, covariance, size=size, scale=4.0 * CANCELLATION**2 + 2.0)


def test_they_are_those_of_the_values_on_a_grid():
    m = gms.random_mixture(1, (), 4, 2, signed=False)
    axis = np.linspace(-12, 12, 161)
    x = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    f = oracles.evaluate(*m.arrays, x) * (axis[1] - axis[0]) ** 2
    got = moments(m)
    mean = f @ x / f.sum()
    assert_close("quadrature", got.integral, f.sum())
    assert_close("quadrature", got.mean, mean)
    assert_close("quadrature", got.covariance, (x - mean).T @ ((x - mean) * f[:, None]) / f.sum())


def test_one_component_has_its_own_moments():
    m = gms.random_mixture(2, (3,), 1, 3)
    got = moments(m)
    assert_close("exact", got.integral, m.weights[:, 0])
    assert_close("elementwise", got.mean, m.means[:, 0])
    assert_close("elementwise", got.covariance, m.covariances[:, 0])


def test_an_affine_map_moves_them():
    m, t = gms.random_mixture(3, (2,), 5, 3, signed=False, absent=0.2), np.array([1.0, -2.0])
    a = np.array([[1.0, 2.0, 0.0], [0.5, 0.0, -1.0]])
    before, after = moments(m), moments(affine(m, a, t))
    assert_close("sum", after.integral, before.integral, size=5)
    assert_close("sum", after.mean, before.mean @ a.T + t, size=15)
    assert_close("sum", after.covariance, a @ before.covariance @ a.T, size=45)


def test_a_convolution_adds_them():
    a, b = (gms.random_mixture(4 + i, (1,) * (i + 1), 4, 2, signed=False) for i in range(2))
    got, x, y = moments(convolve(a, b))[1:], moments(a)[1:], moments(b)[1:]
    for g, p, q in zip(got, x, y, strict=True):
        assert_close("sum", g, p + q[0], size=16)


def test_single_precision_holds_far_from_the_origin():
    m = gms.random_mixture(6, (), 30, 2, signed=False)
    far = np.array([1e4, -2e4])
    moved = translate(m, far).astype("float32")
    exact = Mixture(*(a.astype(np.float64) for a in moved.arrays))  # its means as float32 rounded them
    got, want = moments(moved), moments(exact)
    assert got.covariance.dtype == np.float32
    assert_close("elementwise", got.mean, want.mean)
    assert_close("moments", got.covariance, want.covariance, size=30)
    _, (grads,) = pull_back(lambda m: moments(m)[1:], moved)
    _, (wants,) = pull_back(lambda m: moments(m)[1:], exact)
    for name in ("weights", "means", "covariances"):
        assert_close("moments", getattr(grads, name), getattr(wants, name), size=30, name=name)


@pytest.mark.parametrize("batch", [(), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_and_dtype(backend, batch, dtype):
    got = moments(backend.asarray(gms.random_mixture(7, batch, 4, 3, signed=False, dtype=dtype)))
    assert [tuple(x.shape) for x in got] == [batch, (*batch, 3), (*batch, 3, 3)]
    assert {str(x.dtype) for x in got} == {dtype}


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_gradients_are_those_of_finite_differences(dim):
    check_vjp(moments, gms.random_mixture(8, (2,), 4, dim, signed=False, absent=0.2))
    check_vjp(moments, biased(gms.random_mixture(9, (2,), 5, dim)))


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30, np.nan])
def test_absent_components_are_never_read_and_have_gradient_zero(garbage):
    m = gms.random_mixture(10, (2,), 4, 2, signed=False)
    got, (grads,) = pull_back(moments, laws.padded(m, 3, garbage))
    for g, w in zip(got, moments(m), strict=True):
        assert_close("sum", g, w, size=7)
    for g in grads.arrays:
        assert_close("exact", g[:, 4:], np.zeros_like(g[:, 4:]))
    assert_close("exact", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


def test_an_integral_of_zero_is_named():
    m = gms.random_mixture(11, (2, 2), 3, 2, signed=False)
    m.weights[1, 0] = [0.1, 0.2, -0.3]  # 2.8e-17 in float64: nothing but rounding
    with pytest.raises(ArgumentError, match=r"moments.*integral of mixture \[1, 0\] is 0"):
        moments(m)
    m.weights[1, 0] = 0.0
    with pytest.raises(ArgumentError, match=r"mixture \[1, 0\]"):
        moments(m)
    with pytest.raises(ArgumentError, match="moments"):
        moments(gms.random_mixture(12, (), 0, 2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_component_of_negligible_weight_far_away_costs_no_precision(dtype):
    m = gms.random_mixture(13, (2,), 6, 2, signed=False)
    m.weights[:, 0], m.means[:, 0] = 1e-30, [1e6, -1e6]
    got, (grads,) = pull_back(lambda m: moments(m)[1:], m.astype(dtype))
    exact = m.astype(dtype).astype("float64")
    for g, w in zip(got, moments(exact)[1:], strict=True):
        assert_close("moments", g, w, size=6, scale=4.0)
    without = Mixture(*(a[:, 1:] for a in exact.arrays))
    for g, w in zip(got, moments(without)[1:], strict=True):
        assert_close("moments", g, w, size=6, scale=4.0)
    _, (wants,) = pull_back(lambda m: moments(m)[1:], without)
    assert_close("moments", grads.covariances[:, 1:], wants.covariances, size=6)


@pytest.mark.parametrize(("dtype", "unit"), [("float32", 1e-44), ("float32", 3e37), ("float64", 1e-310)])
def test_tiny_and_huge_weights_share_a_centre(dtype, unit):
    m = Mixture([1.0, 2.0], [[1.0], [4.0]], [[[1.0]], [[1.0]]]).astype(dtype)
    m.weights[...] *= np.asarray(unit, dtype)
    m.weights[1] = 2 * m.weights[0]
    _, mean, covariance = moments(m)
    assert_close("elementwise", mean, np.array([3.0]))
    assert_close("elementwise", covariance, np.array([[3.0]]))


def test_what_is_no_gaussian_is_named():
    for field, value in (
        ("weights", np.nan),
        ("weights", np.inf),
        ("means", np.nan),
        ("covariances", np.inf),
    ):
        m = laws.padded(gms.random_mixture(14, (2,), 3, 2, signed=False), 1, np.nan)
        getattr(m, field)[1, 2] = value
        with pytest.raises(NonFiniteError, match=rf"moments: {field[:-1]} of component \[1, 2\]"):
            moments(m)
    m = gms.random_mixture(15, (2,), 3, 2, signed=False)
    m.covariances[0, 1] = np.diag([1.0, -0.25])
    with pytest.raises(NotPositiveDefinite, match=r"moments: .*\[0, 1\].*-0\.25"):
        moments(m)


def test_an_empty_batch_has_no_moments_even_without_components():
    got = moments(gms.random_mixture(16, (0,), 0, 2))
    assert [x.shape for x in got] == [(0,), (0, 2), (0, 2, 2)]

"""log_density: the logarithm of mixtures without negative weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.ops.log_density import log_density
from gmengine.testing import assert_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms


def by_scipy(m, x):
    """Return log f(x) of one mixture, shape (P,)."""
    logs = [
        np.log(float(m.weights[i]))
        + np.reshape(
            multivariate_normal(np.float64(m.means[i]), np.float64(m.covariances[i])).logpdf(x), len(x)
        )
        for i in oracles.present(m.weights)
    ]
    return logsumexp(logs, axis=0) if logs else np.full(len(x), -np.inf)


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_of_scipy(backend, dtype, data):
    m = data.draw(gms.mixtures(batch=(), signed=False, dtype=dtype, absent=0.2))
    x = data.draw(gms.points(dim=m.dim, dtype=dtype))
    got = backend.asnumpy(log_density(backend.asarray(m), backend.asarray(x)))
    assert got.dtype == np.dtype(dtype)
    want = by_scipy(m, x)
    if not np.any(m.weights):
        assert_close("exact", got, want.astype(dtype))
        return
    assert_close("solve", got, want, size=m.dim, condition=10.0, scale=np.maximum(np.abs(want), 1.0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_points_do_not_underflow(dtype):
    m = gms.random_mixture(1, (), 4, 2, signed=False, dtype=dtype)
    x = np.array([[1e2, 0.0], [-1e6, 1e6], [1e15, 0.0]], dtype)
    assert_close(
        "solve", log_density(m, x), by_scipy(m, x), size=2, condition=10.0, scale=np.abs(by_scipy(m, x))
    )


@pytest.mark.parametrize("condition", [1e1, 1e4])
def test_single_precision_agrees_with_double(condition):
    m = gms.random_mixture(2, (2,), 20, 3, signed=False, condition=condition)
    x = np.random.default_rng(3).uniform(-2, 2, (2, 30, 3)).astype(np.float32).astype(np.float64)
    want, wants = pull_back(log_density, m, x)
    got, gots = pull_back(log_density, m.astype("float32"), x.astype(np.float32))
    assert_close("solve", got, want, size=20, condition=condition)
    for name in ("weights", "means", "covariances"):
        g, w = getattr(gots[0], name), getattr(wants[0], name)
        assert_close("gradient", g, w, size=30, condition=condition, name=name)
    assert_close("gradient", gots[1], wants[1], size=20, condition=condition, name="points")


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_gradients_are_those_of_finite_differences(dim):
    m = gms.random_mixture(4, (2,), 4, dim, signed=False, absent=0.3)
    check_vjp(log_density, m, np.random.default_rng(5).uniform(-2, 2, (3, 1, 5, dim)))


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30, np.nan])
def test_absent_components_are_never_read_and_have_gradient_zero(garbage):
    m = gms.random_mixture(6, (2,), 4, 2, signed=False)
    x = np.random.default_rng(7).uniform(-2, 2, (5, 2))
    got, (grads, _) = pull_back(log_density, laws.padded(m, 3, garbage), x)
    assert_close("sum", got, log_density(m, x), size=7)
    for g in grads.arrays:
        assert_close("exact", g[:, 4:], np.zeros_like(g[:, 4:]))


@pytest.mark.parametrize(("batch", "n", "n_points"), [((0,), 3, 2), ((2,), 0, 2), ((2,), 3, 0)])
def test_nothing_is_no_special_case(backend, batch, n, n_points):
    m = backend.asarray(gms.random_mixture(8, batch, n, 2, signed=False))
    got = backend.asnumpy(log_density(m, backend.asarray(np.zeros((n_points, 2)))))
    assert got.shape == (*batch, n_points)
    if n == 0:
        assert_close("exact", got, np.full((*batch, n_points), -np.inf))


def test_what_has_no_logarithm_or_does_not_fit_is_named():
    m, x = gms.random_mixture(9, (2, 2), 3, 2, signed=False), np.zeros((4, 2))
    with pytest.raises(ShapeError, match="log_density"):
        log_density(m, x[:, :1])
    with pytest.raises(DTypeError, match="log_density"):
        log_density(m, x.astype(np.float32))
    with pytest.raises(NonFiniteError, match="log_density"):
        log_density(m, x * np.nan)
    m.weights[1, 0, 1] = -0.5
    with pytest.raises(ArgumentError, match=r"log_density.*mixture \[1, 0\] has the weight -0.5"):
        log_density(m, x)
    m.covariances[0, 1, 2] = 0.0
    with pytest.raises(NotPositiveDefinite, match=r"log_density.*\[0, 1, 2\]"):
        log_density(m, x)

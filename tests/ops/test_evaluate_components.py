"""evaluate_components: the terms before the sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.evaluate import evaluate, evaluate_components
from gmengine.testing import assert_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms


def by_loops(m, x):
    """Return the terms (P, N) of one mixture, one Gaussian at a time."""
    terms = np.zeros((len(x), m.n_components))
    for i in oracles.present(m.weights):
        terms[:, i] = oracles.evaluate(*(a[i : i + 1] for a in m.arrays), x)
    return terms


def scale_of(m):
    return np.abs(m.weights.astype(float)) * oracles.peaks(m.weights, m.covariances) + (m.weights == 0)


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_term_is_that_of_scipy(backend, dtype, data):
    m = data.draw(gms.mixtures(batch=(), dtype=dtype, absent=0.2, degenerate=True))
    x = data.draw(gms.points(dim=m.dim, dtype=dtype))
    got = backend.asnumpy(evaluate_components(backend.asarray(m), backend.asarray(x)))
    assert got.dtype == np.dtype(dtype)
    assert_close("solve", got, by_loops(m, x), size=m.dim, condition=10.0, scale=scale_of(m))


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_the_terms_sum_to_the_value(backend, dim):
    m = gms.random_mixture(1, (2, 1), 7, dim, absent=0.2)
    x = np.random.default_rng(2).uniform(-2, 2, (3, 6, dim))
    terms = backend.asnumpy(evaluate_components(backend.asarray(m), backend.asarray(x)))
    values = backend.asnumpy(evaluate(backend.asarray(m), backend.asarray(x)))
    assert terms.shape == (2, 3, 6, 7)
    scale = np.broadcast_to(laws.spread(m), values.shape)
    assert_close("solve", terms.sum(-1), values, size=7, condition=10.0, scale=scale)


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_single_precision_holds_at_a_condition_of_ten_thousand(dim):
    m = gms.random_mixture(3, (2,), 20, dim, condition=1e4)
    x = np.random.default_rng(4).uniform(-2, 2, (2, 30, dim)).astype(np.float32).astype(np.float64)
    want, wants = pull_back(evaluate_components, m, x, rng=5)
    got, gots = pull_back(evaluate_components, m.astype("float32"), x.astype(np.float32), rng=5)
    assert_close("solve", got, want, size=dim, condition=1e4, scale=scale_of(m)[:, None])
    for name in ("weights", "means", "covariances"):
        g, w = getattr(gots[0], name), getattr(wants[0], name)
        assert_close("gradient", g, w, size=30, condition=1e4, name=name)
    assert_close("gradient", gots[1], wants[1], size=20, condition=1e4, name="points")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_points_are_zero_with_gradient_zero_and_without_a_warning(dtype):
    m = gms.random_mixture(6, (), 4, 2, dtype=dtype)
    x = np.array([[1e3, 0.0], [-1e10, 1e10], [0.0, 1e20], [1e30, -1e30]], dtype)
    values, (grads, grad_points) = pull_back(evaluate_components, m, x)
    for a in (values, *grads.arrays, grad_points):
        assert_close("exact", a, np.zeros_like(a))


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_the_gradient_is_that_of_finite_differences(dim):
    m = gms.random_mixture(7, (2,), 4, dim, absent=0.3)
    check_vjp(evaluate_components, m, np.random.default_rng(8).uniform(-2, 2, (3, 1, 5, dim)))


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
def test_absent_components_are_zero_are_never_read_and_have_gradient_zero(garbage):
    m = gms.random_mixture(9, (2,), 5, 2)
    x = np.random.default_rng(10).uniform(-2, 2, (6, 2))
    got, (grads, _) = pull_back(evaluate_components, laws.padded(m, 3, garbage), x)
    assert_close("exact", got[..., :5], evaluate_components(m, x))
    assert_close("exact", got[..., 5:], np.zeros((2, 6, 3)))
    for g in grads.arrays:
        assert_close("exact", g[:, 5:], np.zeros_like(g[:, 5:]))


def test_covariance_gradients_are_symmetric():
    m, x = gms.random_mixture(11, (), 5, 3), np.random.default_rng(12).uniform(-2, 2, (6, 3))
    _, (grads, _) = pull_back(evaluate_components, m, x)
    assert_close("exact", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


def test_a_covariance_that_rounding_made_asymmetric_is_read_as_its_symmetric_part():
    m, x = gms.random_mixture(18, (2,), 5, 3), np.random.default_rng(19).uniform(-2, 2, (6, 3))
    skew = 1e-5 * np.array([[0.0, 1.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, -1.0, 0.0]])
    got = evaluate_components(Mixture(m.weights, m.means, m.covariances + skew), x)
    assert_close("solve", got, evaluate_components(m, x), condition=10.0, scale=scale_of(m)[:, None])


@pytest.mark.parametrize(("batch", "n", "n_points"), [((0,), 3, 2), ((2,), 0, 2), ((2,), 3, 0), ((), 0, 0)])
def test_nothing_is_no_special_case(backend, batch, n, n_points):
    m = backend.asarray(gms.random_mixture(13, batch, n, 2))
    got = evaluate_components(m, backend.asarray(np.zeros((n_points, 2))))
    assert got.shape == (*batch, n_points, n)


def test_lists_of_points_are_taken_and_inputs_not_changed():
    m = gms.random_mixture(14, (2,), 3, 2)
    strided = Mixture(*(np.asfortranarray(a) for a in m.arrays))
    before = [a.copy() for a in strided.arrays]
    got = evaluate_components(strided, [[0.0, 1.0], [2.0, 3.0]])
    assert_close("exact", got, evaluate_components(m, np.array([[0.0, 1.0], [2.0, 3.0]])))
    for a, b in zip(strided.arrays, before, strict=True):
        assert_close("exact", a, b)


def test_what_does_not_fit_is_named():
    m = gms.random_mixture(15, (2,), 3, 2)
    for x in (np.zeros((4, 3)), np.zeros(2), np.zeros((3, 4, 2))):
        with pytest.raises(ShapeError, match="evaluate_components"):
            evaluate_components(m, x)
    with pytest.raises(DTypeError, match="evaluate_components"):
        evaluate_components(m, np.zeros((4, 2), np.float32))
    with pytest.raises(NonFiniteError, match=r"evaluate_components.*points"):
        evaluate_components(m, np.full((4, 2), np.nan))


@pytest.mark.parametrize("field", ["weights", "means", "covariances"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_an_error_that_names_the_component(field, value):
    m = gms.random_mixture(16, (2, 2), 3, 2)
    getattr(m, field)[1, 0, 2] = value
    with pytest.raises(NonFiniteError, match=r"evaluate_components.*\[1, 0, 2\]"):
        evaluate_components(m, np.zeros((4, 2)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_covariance_that_is_not_positive_definite_is_an_error_with_its_eigenvalue(dim, dtype):
    m = gms.random_mixture(17, (2, 2), 3, dim, dtype=dtype)
    m.covariances[1, 0, 2] = np.diag([1.0, 2.0, -0.25][-dim:])
    with pytest.raises(NotPositiveDefinite, match=r"evaluate_components.*\[1, 0, 2\].*-0\.25"):
        evaluate_components(m, np.zeros((4, dim), dtype))

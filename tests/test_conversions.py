"""Peak values, scikit-learn's mixtures, equality up to order."""

from __future__ import annotations

import sys
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

from gmengine.autograd import check_vjp
from gmengine.conversions import _perfect_matching
from gmengine.errors import ArgumentError, BackendError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.evaluate import evaluate
from gmengine.ops.integrate import integrate
from gmengine.ops.log_density import log_density
from gmengine.ops.sample import sample
from gmengine.testing import assert_close, assert_mixtures_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms


def density(seed, n=4, dim=2, **options):
    m = gms.random_mixture(seed, (), n, dim, signed=False, **options)
    return m * (1.0 / integrate(m))


# --- amplitudes ---------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_amplitude_is_the_value_of_the_component_at_its_mean(backend, dtype, data):
    m = data.draw(gms.mixtures(dtype=dtype, absent=0.2))
    got = backend.asnumpy(backend.asarray(m).amplitudes)
    assert got.dtype == np.dtype(dtype)
    want = np.where(m.weights != 0, m.weights * oracles.peaks(m.weights, m.covariances), 0.0)
    assert_close("solve", got, want, size=m.dim, condition=10.0, scale=np.abs(want) + (want == 0))


@given(st.data())
def test_amplitudes_and_back_is_the_same_mixture(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(absent=0.2, degenerate=True)))
    assert_mixtures_close("sum", Mixture.from_amplitudes(m.amplitudes, m.means, m.covariances), m)


def test_a_mixture_of_amplitudes_has_them_as_peaks():
    m = Mixture.from_amplitudes(
        [2.0, -3.0, 0.0], [[0.0, 0.0], [50.0, 0.0], [9.0, 9.0]], [np.diag([0.25, 4.0]).tolist()] * 3
    )
    assert_close("elementwise", evaluate(m, m.means), np.array([2.0, -3.0, 0.0]), scale=1.0)
    assert m.weights[2] == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_determinants_beyond_the_range_of_the_dtype_do_no_harm(dtype):
    tiny = {"float32": 1e-10, "float64": 1e-80}[dtype]  # det C = tiny^6 is 0
    m = Mixture.isotropic(np.ones(1, dtype), np.zeros((1, 6), dtype), np.asarray(tiny**0.5, dtype))
    got = m.amplitudes
    assert_close("solve", np.log(got), np.array([-3 * np.log(2 * np.pi * tiny)], dtype), size=6)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_gradients_are_those_of_finite_differences(dim):
    m = gms.random_mixture(1, (2,), 4, dim, absent=0.3)
    check_vjp(lambda m: m.amplitudes, m)
    check_vjp(lambda m: Mixture.from_amplitudes(*m.arrays).weights, m)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30, np.nan])
def test_absent_components_have_no_amplitude_and_no_gradient(garbage):
    m = laws.padded(gms.random_mixture(2, (2,), 4, 2), 3, garbage)
    for fn in (lambda m: m.amplitudes, lambda m: Mixture.from_amplitudes(*m.arrays).weights):
        got, (grads,) = pull_back(
            lambda m, fn=fn: {"out": fn(m), "means": 0.0 * m.weights[..., None] + m.means}, m
        )
        assert_close("exact", got["out"][:, 4:], np.zeros((2, 3)))
        for g in (grads.weights, grads.covariances):
            assert_close("exact", g[:, 4:], np.zeros_like(g[:, 4:]))


def test_an_invalid_component_is_named():
    m = gms.random_mixture(3, (2,), 3, 2)
    m.covariances[1, 2] *= -1
    for name, call in (
        ("amplitudes", lambda: m.amplitudes),
        ("from_amplitudes", lambda: Mixture.from_amplitudes(*m.arrays)),
    ):
        with pytest.raises(NotPositiveDefinite, match=rf"Mixture.{name}.*\[1, 2\]"):
            call()
    m.means[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match=r"\[0, 0\]"):
        _ = m.amplitudes
    with pytest.raises(ShapeError):
        Mixture.from_amplitudes(np.ones(3), np.ones((2, 1)), np.ones((2, 1, 1)))


# --- scikit-learn -------------------------------------------------------------------------------------------


def samples(dim):
    rng = np.random.default_rng(4)
    return np.concatenate([rng.normal(c, 1 + 0.1 * c, (60, dim)) for c in (-3.0, 0.0, 4.0)])


@pytest.mark.parametrize("model_type", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("dim", [1, 3])
def test_a_fitted_model_has_the_same_density(model_type, kind, dim):
    x = samples(dim)
    model = model_type(n_components=3, covariance_type=kind, random_state=0, max_iter=300).fit(x)
    m = Mixture.from_sklearn(model).check()
    assert (m.batch, m.n_components, m.dim) == ((), 3, dim)
    if (
        model_type is GaussianMixture
    ):  # a Bayesian model scores with its posterior, not with its point estimate
        assert_close("solve", log_density(m, x), model.score_samples(x), size=3, condition=100.0)
        again = m.to_sklearn()
        np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert_close("sum", integrate(m), np.ones(()), size=3)


def test_the_precision_of_the_model_is_kept():
    model = GaussianMixture(2, random_state=0).fit(samples(2))
    assert Mixture.from_sklearn(model).dtype == np.float64
    model.means_ = model.means_.astype(np.float32)
    assert Mixture.from_sklearn(model).dtype == np.float32


def test_what_is_no_fitted_mixture_is_refused():
    with pytest.raises(ArgumentError, match="GaussianMixture is not fitted"):
        Mixture.from_sklearn(GaussianMixture(3))
    with pytest.raises(ArgumentError, match="got list"):
        Mixture.from_sklearn([1, 2])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_model_scores_predicts_and_samples_as_the_mixture(dtype, dim):
    m = density(5, 4, dim, dtype=dtype)
    model, x = m.to_sklearn(), sample(m, 200, 6).astype(np.float64)
    assert_close(
        "solve", model.score_samples(x), np.log(evaluate(m, x.astype(dtype))), size=4, condition=10.0
    )
    terms = np.stack(
        [evaluate(Mixture(*(a[i : i + 1] for a in m.arrays)), x.astype(dtype)) for i in range(4)], -1
    )
    clear = np.sort(terms, -1)[:, -1] > 1.01 * np.sort(terms, -1)[:, -2]
    np.testing.assert_array_equal(model.predict(x)[clear], terms.argmax(-1)[clear])
    drawn, labels = model.sample(500)
    assert drawn.shape == (500, dim)
    assert set(np.unique(labels)) <= set(range(4))
    assert (model.n_features_in_, model.converged_, model.n_iter_) == (dim, True, 0)
    assert np.isnan(model.lower_bound_)


def test_there_and_back_is_the_same_mixture():
    m = density(7, 5, 3)
    assert_mixtures_close("sum", Mixture.from_sklearn(m.to_sklearn()), m, size=5)


def test_absent_components_are_left_out():
    m = density(8)
    model = laws.padded(m, 3, np.nan).to_sklearn()
    assert model.n_components == 4
    assert_mixtures_close("sum", Mixture.from_sklearn(model), m, size=4)


def test_what_is_no_density_is_refused_and_the_message_helps():
    m = density(9)
    with pytest.raises(ArgumentError, match=r"integral 2.*m \* \(1.0 / gmengine.integrate\(m\)\)"):
        (m * 2.0).to_sklearn()
    with pytest.raises(ArgumentError, match="positive weight, got the weight -"):
        (-m).to_sklearn()
    with pytest.raises(ArgumentError, match="got none"):
        (m * 0.0).to_sklearn()
    with pytest.raises(ShapeError, match=r"batch \(1,\)"):
        m[None].to_sklearn()
    m.covariances[2] *= -1
    with pytest.raises(NotPositiveDefinite, match=r"to_sklearn.*\[2\]"):
        m.to_sklearn()


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(BackendError, match=r"pip install 'gmengine\[sklearn\]'"):
        density(10).to_sklearn()


# --- allclose -----------------------------------------------------------------------------------------------


@given(st.data())
def test_the_order_and_the_padding_do_not_matter(backend, data):
    m = data.draw(gms.mixtures(absent=0.2, degenerate=True))
    other = laws.padded(laws.permuted(m, data.draw(st.permutations(range(m.n_components)))), 2, 7.0)
    assert m.allclose(backend.asarray(other))
    assert other.allclose(m, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("field", ["weights", "means", "covariances"])
def test_one_number_off_is_seen_at_any_place(field):
    m = gms.random_mixture(11, (2, 3), 4, 2)
    for factor, close in ((1 + 1e-7, True), (1 + 1e-3, False)):
        for index in ((0, 0, 0), (1, 2, 3)):
            other = Mixture(*(a.copy() for a in laws.permuted(m, [3, 1, 0, 2]).arrays))
            getattr(other, field)[index] *= factor
            assert m.allclose(other) is other.allclose(m) is close


def test_an_entry_is_measured_against_the_largest_of_its_field():
    m = Mixture([1.0], [[100.0, 0.0]], [[[4.0, 0.0], [0.0, 4.0]]])
    near = Mixture([1.0], [[100.0, 9e-4]], [[[4.0, 3e-5], [3e-5, 4.0]]])
    assert m.allclose(near)
    assert not m.allclose(near, rtol=1e-6)
    assert m.allclose(near, rtol=0.0, atol=1e-3)


def test_in_order_means_in_order():
    m = gms.random_mixture(12, (2,), 3, 2)
    assert m.allclose(m.astype("float32"), any_order=False)
    assert not m.allclose(laws.permuted(m, [1, 0, 2]), any_order=False)
    assert not m.allclose(laws.padded(m, 1), any_order=False)
    with_gap = laws.padded(m, 1, 5.0)
    assert with_gap.allclose(laws.padded(m, 1, np.nan), any_order=False)


def test_tiny_weights_are_not_absent_ones():
    m = Mixture([1.0, 1e-12], [[0.0], [1.0]], [[[1.0]], [[1.0]]])
    gone = Mixture([1.0, 0.0], m.means, m.covariances)
    assert not m.allclose(gone)
    assert not m.allclose(gone, any_order=False)


def test_duplicates_are_counted():
    one, two = ([1.0], [[0.0]], [[[1.0]]]), ([2.0], [[0.0]], [[[1.0]]])
    a, b = Mixture(*one), Mixture(*two)
    assert (a + a + b).allclose(a + b + a)
    assert not (a + a + b).allclose(a + b + b)


def test_what_greedy_pairing_gets_wrong_is_right():
    m = Mixture.isotropic(np.ones(2), np.array([[0.0], [1.0]]), 1.0)
    # 0.9 is close to both 0 and 1, and 1.9 to 1 only: the nearest partner of 0.9 must be left to 1.9.
    other = Mixture.isotropic(np.ones(2), np.array([[0.9], [1.9]]), 1.0)
    assert m.allclose(other, rtol=0.0, atol=0.95)
    assert not m.allclose(other, rtol=0.0, atol=0.85)


@given(st.data())
def test_a_perfect_matching_is_found_exactly_where_one_exists(data):
    n = data.draw(st.integers(0, 5))
    rows = st.lists(st.integers(0, max(n - 1, 0)), unique=True, max_size=n)
    close = data.draw(st.lists(rows, min_size=n, max_size=n))
    exists = any(all(p[i] in close[i] for i in range(n)) for p in permutations(range(n)))
    assert _perfect_matching(close, n) is exists


def test_many_equal_components_take_no_time_to_pair():
    m = Mixture.isotropic(np.ones(300), np.zeros((300, 2)), 1.0)
    other = Mixture.isotropic(np.ones(300), np.zeros((300, 2)), 1.0)
    other.weights[-1] = 1 + 1e-9
    assert m.allclose(other)
    other.weights[:2] = 2.0
    assert not m.allclose(other)


def test_unlike_shapes_and_what_is_not_finite_are_not_close():
    m = gms.random_mixture(13, (2,), 3, 2)
    for other in (m[0], m[:, None], gms.random_mixture(13, (2,), 3, 3), laws.permuted(m, [0, 1])):
        assert not m.allclose(other)
    for value in (np.nan, np.inf):
        bad = Mixture(m.weights, m.means.copy(), m.covariances)
        bad.means[1, 1] = value
        assert not bad.allclose(m)
        assert not bad.allclose(bad)
    empty = gms.random_mixture(14, (0,), 3, 2)
    assert empty.allclose(empty)
    assert gms.random_mixture(14, (2,), 0, 2).allclose(laws.padded(gms.random_mixture(14, (2,), 0, 2), 2))

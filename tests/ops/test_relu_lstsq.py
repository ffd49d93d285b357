"""relu_lstsq: solutions, sample points and contract of the least-squares fit of the ReLU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._non_negative import non_negative
from gmengine.ops._sample_points import box_points
from gmengine.ops.evaluate import evaluate
from gmengine.ops.relu import relu
from gmengine.ops.relu_lstsq import relu_lstsq
from gmengine.testing import assert_close, assert_mixtures_close, laws, oracles
from gmengine.testing import strategies as gms

PLACES = ["means", "means+random", "random"]


def system(weights, means, covariances, bias, points):
    """Return A (P, N present) and t (P,) of one mixture, by loops; and which components are present."""
    live = oracles.present(weights)
    a = np.array([[oracles.density(x, means[i], covariances[i]) for i in live] for x in points])
    a = a.reshape(len(points), len(live))
    values = a @ np.array([float(weights[i]) for i in live])
    return a, np.maximum(values + bias, 0.0) - max(bias, 0.0), live


def sample(m, b, points, rng=0, n_random=None):
    """Return the points at which mixture b is sampled."""
    n = (
        {"means": 0, "means+random": 1, "random": 4}[points] * m.n_components
        if n_random is None
        else n_random
    )
    random = box_points(m, n, rng)[b]
    means = m.means[b][m.weights[b] != 0]
    return {"means": means, "means+random": np.concatenate([means, random]), "random": random}[points]


def check_against_numpy(m, got, bias, points, **options):
    """The solution of numpy.linalg.lstsq; what differs by it must not show in A y, nor be longer than it."""
    for b in np.ndindex(*m.batch):
        a, t, live = system(*(x[b] for x in m.arrays), bias, sample(m, b, points, **options))
        y = got.weights[b][live]
        want = np.linalg.lstsq(a, t)[0] if a.size else np.zeros(len(live))
        values = np.linalg.cond(a) if a.size else 1.0
        assert_close("solve", y, want, size=len(t), condition=values**2, scale=np.abs(want).max(initial=1.0))
        assert_close("exact", np.delete(got.weights[b], live), np.zeros(m.n_components - len(live)))


# --- solutions ----------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("points", PLACES)
def test_weights_are_those_of_numpy(backend, points, data):
    m = data.draw(gms.mixtures(dim=st.sampled_from([1, 2, 3]), absent=0.2))
    bias = data.draw(gms.scalars(-0.5, 0.5))
    got = backend.asnumpy(relu_lstsq(backend.asarray(m), bias, points=points))
    check_against_numpy(m, got, bias, points)
    assert_close("exact", got.means, m.means)
    assert_close("exact", got.covariances, m.covariances)


@pytest.mark.parametrize("dim", [2, 4, 6])
def test_the_fit_is_exact_at_the_means(backend, dim):
    m = backend.asarray(gms.random_mixture(1, (2,), 5, dim))
    fitted, want = relu_lstsq(m, 0.125), np.maximum(evaluate(m, m.means) + 0.125, 0.0) - 0.125
    assert_close("solve", evaluate(fitted, m.means), want, size=5, condition=1e4)


def test_duplicates_share_the_weight_that_one_of_them_would_have(backend):
    one = gms.random_mixture(2, (3,), 4, 2, signed=False)
    twice = backend.asarray(one) + backend.asarray(one) * 3.0
    got = backend.asnumpy(relu_lstsq(twice, points="random", n_random=50))
    assert_close("solve", got.weights[:, :4], got.weights[:, 4:], size=8, condition=1e4)
    assert_close("solve", got.weights[:, :4], 2.0 * one.weights, size=50, condition=1e6)


@pytest.mark.parametrize("points", PLACES)
def test_a_positive_mixture_fits_itself(backend, points):
    m = backend.asarray(gms.random_mixture(3, (2,), 6, 2, signed=False, absent=0.2))
    for options in ({}, {"non_negative": True}):
        got = relu_lstsq(m, points=points, **options)
        assert_mixtures_close("solve", got, m, size=6, condition=1e6)


def test_the_solution_has_the_least_residual_at_its_points(backend):
    m = gms.random_mixture(4, (), 12, 2)
    x = np.random.default_rng(5).uniform(-3, 3, (80, 2))
    want = np.maximum(oracles.evaluate(*m.arrays, x), 0.0)

    def residual(fitted):
        return np.linalg.norm(oracles.evaluate(*backend.asnumpy(fitted).arrays, x) - want)

    moved = backend.asarray(m)
    best, positive = (
        relu_lstsq(moved, points=backend.asarray(x), non_negative=flag) for flag in (False, True)
    )
    assert residual(best) < residual(positive) < residual(relu(moved)) < np.linalg.norm(want)
    rng = np.random.default_rng(6)
    for _ in range(20):
        nudge = 1e-3 * rng.standard_normal(12)
        near = backend.asnumpy(best)
        assert residual(Mixture(near.weights + nudge, near.means, near.covariances)) > residual(best)


@pytest.mark.parametrize("points", PLACES)
@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 10.0])
def test_a_ridge_is_more_equations(backend, ridge, points):
    m = gms.random_mixture(7, (3,), 6, 2, absent=0.2)
    got = backend.asnumpy(relu_lstsq(backend.asarray(m), 0.1, points=points, ridge=ridge, rng=8))
    for b in range(3):
        a, t, live = system(*(x[b] for x in m.arrays), 0.1, sample(m, b, points, rng=8))
        more = np.sqrt(ridge) * np.diag(np.linalg.norm(a, axis=0))
        want = np.linalg.lstsq(np.concatenate([a, more]), np.concatenate([t, np.zeros(len(live))]))[0]
        assert_close("solve", got.weights[b][live], want, size=30, condition=1e3)


@given(st.data())
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_non_negative_weights_are_those_of_scipy(backend, ridge, data):
    m = data.draw(gms.mixtures(batch=(2,), n_components=8, dim=2, absent=0.2))
    points = data.draw(st.sampled_from(PLACES))
    options = {"points": points, "ridge": ridge, "rng": 9}
    got = backend.asnumpy(relu_lstsq(backend.asarray(m), 0.1, non_negative=True, **options)).weights
    assert np.all(got >= 0.0)
    for b in range(2):
        a, t, live = system(*(x[b] for x in m.arrays), 0.1, sample(m, b, points, rng=9))
        more = np.sqrt(ridge) * np.diag(np.linalg.norm(a, axis=0))
        a, t = np.concatenate([a, more]), np.concatenate([t, np.zeros(len(live))])
        want = nnls(a, t)[0] if len(live) else np.zeros(0)
        size = np.linalg.norm(t)
        assert_close("solve", a @ got[b][live], a @ want, size=len(t), condition=1e4, scale=size)


@pytest.mark.parametrize("seed", range(20))
def test_the_active_set_ends_at_the_optimum(seed):
    rng = np.random.default_rng(seed)
    p, n = rng.integers(1, 20, 2)
    a = rng.standard_normal((p, n)) + (seed % 3)
    a[:, 0] = a[:, -1]  # a column twice
    a[:, n // 2] = 0.0
    t = rng.standard_normal(p)
    y = non_negative(a, t)
    assert np.all(y >= 0.0)
    slope = a.T @ (t - a @ y)
    unit = np.linalg.norm(a) * np.linalg.norm(t)
    assert_close("solve", slope[y > 0], np.zeros(np.sum(y > 0)), size=400, scale=unit)
    assert_close("solve", np.maximum(slope, 0.0), np.zeros(n), size=400, scale=unit)


def test_a_cutoff_drops_small_singular_values(backend):
    m = gms.random_mixture(10, (2,), 8, 1)
    got = backend.asnumpy(relu_lstsq(backend.asarray(m), cutoff=0.05))
    for b in range(2):
        a, t, _ = system(*(x[b] for x in m.arrays), 0.0, m.means[b])
        want = np.linalg.lstsq(a, t, rcond=0.05)
        assert 0 < want[2] < 8
        assert_close("solve", got.weights[b], want[0], size=8, condition=400.0)


# --- sample points ------------------------------------------------------------------------------------------


def test_random_points_fill_the_box_of_means_and_deviations(backend):
    m = gms.random_mixture(11, (2, 3), 5, 2, absent=0.3)
    x = backend.asnumpy(box_points(backend.asarray(m), 4000, 12))
    assert x.shape == (2, 3, 4000, 2)
    for b in np.ndindex(2, 3):
        live = oracles.present(m.weights[b])
        sigma = np.sqrt(np.diagonal(m.covariances[b][live], axis1=-2, axis2=-1))
        low, high = (m.means[b][live] - sigma).min(axis=0), (m.means[b][live] + sigma).max(axis=0)
        assert np.all((x[b] >= low) & (x[b] <= high))
        assert np.all(np.abs(x[b].mean(axis=0) - (low + high) / 2) < 0.05 * (high - low))
        assert np.all(x[b].max(axis=0) - x[b].min(axis=0) > 0.99 * (high - low))


def test_random_points_do_not_depend_on_the_dtype_but_on_the_seed(backend):
    m = gms.random_mixture(13, (2,), 5, 2)
    wide, narrow = (box_points(backend.asarray(m.astype(d)), 7, 14) for d in ("float64", "float32"))
    assert_close("exact", narrow, wide)
    assert not np.array_equal(backend.asnumpy(wide), backend.asnumpy(box_points(backend.asarray(m), 7, 15)))
    assert backend.asnumpy(box_points(backend.asarray(gms.random_mixture(0, (2,), 0, 2)), 7)).shape == (
        2,
        7,
        2,
    )


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_weights(backend):
    m = backend.asarray(gms.random_mixture(16, (40,), 6, 2))
    a, b, c = (backend.asnumpy(relu_lstsq(m, points="random", rng=s)) for s in (1, 1, 2))
    assert_mixtures_close("exact", a, b)
    assert not np.array_equal(a.weights, c.weights)


@pytest.mark.parametrize("batch", [(), (3,), (2, 1), (2, 3)])
def test_points_of_the_caller_broadcast(backend, batch):
    m = gms.random_mixture(17, (2, 3), 4, 2)
    x = np.random.default_rng(18).uniform(-2, 2, (*batch, 9, 2))
    got = backend.asnumpy(relu_lstsq(backend.asarray(m), points=backend.asarray(x)))
    everywhere = np.broadcast_to(x, (2, 3, 9, 2))
    for b in np.ndindex(2, 3):
        a, t, _ = system(*(y[b] for y in m.arrays), 0.0, everywhere[b])
        assert_close("solve", got.weights[b], np.linalg.lstsq(a, t)[0], size=9, condition=1e4)


# --- absent components, sizes, dtypes -----------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
@pytest.mark.parametrize("options", [{}, {"ridge": 1e-3}, {"non_negative": True}], ids=str)
def test_absent_components_are_never_read_nor_revived(backend, options, garbage):
    m = backend.asarray(gms.random_mixture(19, (2,), 5, 2))
    for points in PLACES:
        n_random = None if points == "means" else 9
        got, want = (
            relu_lstsq(x, 0.1, points=points, n_random=n_random, **options)
            for x in (laws.padded(m, 3, garbage), m)
        )
        assert_mixtures_close("solve", got, laws.padded(want, 3), size=9, condition=1e4)


@pytest.mark.parametrize("options", [{}, {"ridge": 1e-3}, {"non_negative": True}], ids=str)
@pytest.mark.parametrize("points", PLACES)
def test_mixtures_of_absent_components_stay_absent(backend, points, options):
    m = gms.random_mixture(20, (2,), 4, 2, degenerate="all_absent")
    for bias in (-0.1, 0.0, 0.1):
        laws.has_exactly(relu_lstsq(backend.asarray(m), bias, points=points, **options), 0)


@pytest.mark.parametrize(("batch", "n"), [((0,), 3), ((2, 0), 3), ((2,), 0), ((), 1)])
@pytest.mark.parametrize("points", PLACES)
def test_empty_and_single_mixtures(backend, points, batch, n):
    m = gms.random_mixture(21, batch, n, 2, signed=False)
    got = relu_lstsq(backend.asarray(m), points=points)
    assert got.batch == batch
    assert_close("solve", got.weights, m.weights, size=5, condition=100.0, scale=1.0)


def test_no_points_make_the_least_solution_zero(backend):
    m = backend.asarray(gms.random_mixture(22, (2,), 3, 2))
    laws.has_exactly(relu_lstsq(m, points=backend.asarray(np.zeros((0, 2)))), 0)


def test_mixtures_in_many_chunks_are_solved_alike(backend, monkeypatch):
    m = backend.asarray(gms.random_mixture(23, (23,), 6, 2, absent=0.2))
    want = relu_lstsq(m, 0.1, points="means+random")
    for entries in (1, 300):
        monkeypatch.setattr("gmengine.ops.relu_lstsq._CHUNK_ENTRIES", entries)
        got = relu_lstsq(m, 0.1, points="means+random")
        assert_mixtures_close("solve", got, want, size=12, condition=1e4)


@pytest.mark.parametrize("options", [{}, {"ridge": 1e-3}, {"non_negative": True}], ids=str)
def test_single_precision_is_double_precision_rounded(backend, options):
    m = gms.random_mixture(24, (4,), 20, 2)
    got = backend.asnumpy(relu_lstsq(backend.asarray(m.astype("float32")), 0.125, "random", **options))
    want = backend.asnumpy(relu_lstsq(backend.asarray(m), 0.125, "random", **options))
    assert got.dtype == np.float32
    assert_close("elementwise", got.weights, want.weights)


# --- contract -----------------------------------------------------------------------------------------------


def test_inputs_are_not_changed_and_need_not_be_contiguous():
    m, x = gms.random_mixture(25, (3, 2), 5, 2), np.random.default_rng(26).uniform(-2, 2, (2, 7, 2))
    strided, x_strided = Mixture(*(np.asfortranarray(a) for a in m.arrays)), np.asfortranarray(x)
    before = [a.copy() for a in (*strided.arrays, x_strided)]
    got, want = relu_lstsq(strided, points=x_strided), relu_lstsq(m, points=x)
    assert_mixtures_close("solve", got, want, size=7, condition=1e4)
    for a, b in zip((*strided.arrays, x_strided), before, strict=True):
        assert_close("exact", a, b)


@pytest.mark.parametrize(
    "options",
    [
        {"points": "centres"},
        {"points": [[0.0, 0.0]]},
        {"n_random": 3},
        {"points": "random", "n_random": 0},
        {"points": "means+random", "n_random": -1},
        {"points": "random", "n_random": 2.5},
        {"points": np.zeros((4, 2)), "n_random": 3},
        {"ridge": -1.0},
        {"ridge": np.nan},
        {"cutoff": 1.0},
        {"cutoff": np.nan},
    ],
    ids=str,
)
def test_arguments_out_of_range_are_named(options):
    with pytest.raises(ArgumentError, match="relu_lstsq"):
        relu_lstsq(gms.random_mixture(27, (2,), 4, 2), **options)


def test_arrays_that_do_not_fit_are_named():
    m = gms.random_mixture(28, (2,), 4, 2)
    for wrong in ({"bias": np.zeros(3)}, *({"points": np.zeros(s)} for s in ((4, 3), (2,), (3, 4, 2)))):
        with pytest.raises(ShapeError, match="relu_lstsq"):
            relu_lstsq(m, **wrong)
    for wrong in ({"bias": np.zeros(2, np.float32)}, {"points": np.zeros((4, 2), np.float32)}):
        with pytest.raises(DTypeError, match="relu_lstsq"):
            relu_lstsq(m, **wrong)
    for wrong in ({"bias": np.nan}, {"points": np.full((4, 2), np.inf)}):
        with pytest.raises(NonFiniteError, match="relu_lstsq"):
            relu_lstsq(m, **wrong)


def test_invalid_components_are_named():
    m = gms.random_mixture(29, (2, 2), 3, 2)
    m.weights[1, 0, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"relu_lstsq.*\[1, 0, 2\]"):
        relu_lstsq(m)
    m = gms.random_mixture(30, (2, 2), 3, 2)
    m.covariances[1, 0, 2] = np.diag([1.0, -0.25])
    with pytest.raises(NotPositiveDefinite, match=r"relu_lstsq.*\[1, 0, 2\].*-0\.25"):
        relu_lstsq(m)
    tiny = Mixture(np.ones((1, 1)), np.zeros((1, 1, 3)), 1e-250 * np.eye(3)[None, None])
    with pytest.raises(NonFiniteError, match="too large"):
        relu_lstsq(tiny)

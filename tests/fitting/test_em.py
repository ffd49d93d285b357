"""EM steps against the formulas in NumPy, and the laws that every step obeys."""

import numpy as np
import pytest
from fit_oracle import bound, cloud, em_step, moments, taken_by_the_floor
from hypothesis import given
from hypothesis import strategies as st

from gmengine import Mixture
from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.fitting import em, fit, fit_points, kmeans
from gmengine.testing.tolerances import tolerance

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_one_step_equals_the_formulas(dim):
    points, masses = cloud(dim, 4, 80, dim)
    start, _ = kmeans(points, masses, 6, rng=0, covariance_floor=0.02)
    result = em(points, masses, start, covariance_floor=0.02)
    for s in range(4):
        expected = em_step(points[s], masses[s], start[s], 0.02)
        for got, want in zip(result[s].arrays, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-10)


@given(seeds, st.integers(1, 3), st.integers(1, 8), st.sampled_from([1e-4, 0.1, 2.0]))
def test_no_step_lowers_the_bound(seed, dim, n, floor):
    points, masses = cloud(seed, 1, 40, dim)
    mixture, _ = kmeans(points, masses, n, rng=seed, covariance_floor=floor)
    before = bound(points[0], masses[0], mixture[0], floor)
    for _ in range(4):
        mixture = em(points, masses, mixture, covariance_floor=floor)
        after = bound(points[0], masses[0], mixture[0], floor)
        assert after >= before - 1e-12 * max(1.0, abs(before))
        before = after


def relative_floor(points):
    return 1e-6 * np.ptp(points, axis=0).max() ** 2


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_without_a_floor_one_step_equals_the_formulas_of_points_without_a_variance(dim):
    points, masses = cloud(dim, 4, 80, dim, holes=0.0)
    start, _ = kmeans(points, masses, 6, rng=0)
    result = em(points, masses, start)
    tol = tolerance("solve", "float64", size=80, condition=1e6)
    for s in range(4):
        expected = em_step(points[s], masses[s], start[s], relative_floor(points[s]), blurred=False)
        for got, want in zip(result[s].arrays, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=tol, atol=tol)


@given(seeds, st.integers(1, 3), st.integers(1, 12), st.integers(1, 4))
def test_without_a_floor_a_step_lowers_the_log_likelihood_by_no_more_than_the_floor_takes(seed, dim, n, each):
    """Few points per component, some of them all but alone: scatters below, at and above the floor."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((12, 1, dim))
    points = (
        centres + 10.0 ** rng.uniform(-5, -1, (12, 1, 1)) * rng.standard_normal((12, each, dim))
    ).reshape(1, -1, dim)
    masses, floor = rng.uniform(0.1, 2.0, points.shape[:2]), relative_floor(points[0])
    if floor == 0:
        return
    mixture, _ = kmeans(points, masses, n, rng=seed)
    before = bound(points[0], masses[0], mixture[0], 0.0)
    tol = tolerance("solve", "float64", size=points.size, condition=1e6)
    for _ in range(4):
        mixture = em(points, masses, mixture)
        after = bound(points[0], masses[0], mixture[0], 0.0)
        assert after >= before - taken_by_the_floor(mixture[0], floor) - tol * max(1.0, abs(before))
        before = after


def test_the_log_likelihood_rises_step_by_step_where_no_scatter_is_near_the_floor():
    points = np.random.default_rng(3).standard_normal((1, 300, 3))
    scores = [
        bound(
            points[0], np.ones(300), fit_points(points, np.ones((1, 300)), 6, rng=0, em_steps=steps)[0], 0.0
        )
        for steps in range(8)
    ]
    assert (np.diff(scores) > 0).all()


def test_a_floor_that_is_given_is_the_variance_of_every_point_and_the_default_is_not():
    points, masses = cloud(11, 1, 60, 2, holes=0.0)
    start, _ = kmeans(points, masses, 9, rng=0)
    floor = relative_floor(points[0])
    given_floor, plain = em(points, masses, start, covariance_floor=floor), em(points, masses, start)
    tol = tolerance("solve", "float64", size=60, condition=1e6)
    for result, blurred in ((given_floor, True), (plain, False)):
        for got, want in zip(
            result[0].arrays, em_step(points[0], masses[0], start[0], floor, blurred), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=tol, atol=tol)
    assert not np.array_equal(given_floor.weights, plain.weights)
    for method in ("kmeans+em", "random+em", "eckart-soft", "eckart-hard"):
        blurred = fit(points[0], 9, method=method, covariance_floor=floor)
        assert not np.array_equal(blurred.weights, fit(points[0], 9, method=method).weights), method


def test_a_step_raises_the_bound_where_clusters_overlap():
    points, masses = cloud(7, 1, 300, 2)
    start, _ = kmeans(points, masses, 8, rng=0, covariance_floor=1e-3)
    after = em(points, masses, start, covariance_floor=1e-3)
    assert bound(points[0], masses[0], after[0], 1e-3) > bound(points[0], masses[0], start[0], 1e-3) + 0.01


@given(seeds, st.integers(1, 3), st.integers(1, 10), st.integers(0, 3))
def test_mass_mean_and_covariance_of_the_points_are_kept(seed, dim, n, steps):
    points, masses = cloud(seed, 2, 30, dim)
    mixture = fit_points(points, masses, n, rng=seed, em_steps=steps, covariance_floor=0.1)
    for s in range(2):
        total, mean, spread = moments(*mixture[s].arrays)
        want = moments(masses[s], points[s], np.zeros((30, dim, dim)))
        np.testing.assert_allclose(total, want[0], rtol=1e-12)
        np.testing.assert_allclose(mean, want[1], atol=1e-10)
        np.testing.assert_allclose(spread, want[2] + 0.1 * np.eye(dim), atol=1e-10)


def test_repeated_fits_give_the_same_bits_wherever_their_arrays_lie():
    points, masses = cloud(10, 40, 45, 2)
    first = fit_points(points, masses, 9, rng=0, em_steps=3)
    kept = []
    for size in range(1, 12):
        kept.append(np.empty(37 * size))  # moves what is allocated next
        again = fit_points(points, masses, 9, rng=0, em_steps=3)
        for one, other in zip(first.arrays, again.arrays, strict=True):
            np.testing.assert_array_equal(one, other)


def test_k_means_and_em_in_two_calls_are_the_fit():
    points, masses = cloud(4, 3, 50, 2)
    start, _ = kmeans(points, masses, 5, rng=9)
    twice = em(points, masses, em(points, masses, start))
    fitted = fit_points(points, masses, 5, rng=9, em_steps=2)
    for one, other in zip(twice.arrays, fitted.arrays, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


def test_fits_far_from_the_origin_lose_nothing():
    points, masses = cloud(5, 2, 60, 3)
    points = np.round(points * 2**20) / 2**20
    near, far = (fit_points(points + shift, masses, 6, rng=0, em_steps=5) for shift in (0.0, 2.0**30))
    np.testing.assert_allclose(far.means - 2.0**30, near.means, atol=1e-6)
    np.testing.assert_allclose(far.covariances, near.covariances, rtol=1e-7, atol=1e-9)


def test_absent_components_stay_absent_and_their_numbers_are_never_read():
    points, masses = cloud(6, 1, 40, 2)
    start, _ = kmeans(points, masses, 3, rng=0)
    padding = Mixture(np.zeros((1, 2)), np.full((1, 2, 2), 1e300), np.zeros((1, 2, 2, 2)))
    padded = Mixture(
        *(np.concatenate(pair, axis=1) for pair in zip(padding.arrays, start.arrays, strict=True))
    )
    result, plain = em(points, masses, padded, steps=2), em(points, masses, start, steps=2)
    np.testing.assert_array_equal(result.weights[:, :2], 0)
    np.testing.assert_array_equal(result.means[:, :2], 0)
    for got, want in zip(result.arrays, plain.arrays, strict=True):
        np.testing.assert_array_equal(got[:, 2:], want)


def test_no_step_only_rescales_the_weights():
    points, masses = cloud(8, 1, 20, 2)
    start = Mixture([[1.0, 3.0]], [[[0.0, 1.0], [2.0, -1.0]]], [[[[2.0, 0.5], [0.5, 1.0]]] * 2])
    result = em(points, masses, start, steps=0)
    np.testing.assert_allclose(result.weights, start.weights * masses.sum() / 4, rtol=1e-14)
    np.testing.assert_allclose(result.means, start.means, atol=1e-14)
    np.testing.assert_allclose(result.covariances, start.covariances, atol=1e-14)


def test_a_sample_without_mass_and_one_point_are_fitted():
    points, masses = np.full((2, 3, 2), 4.0), np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0]])
    result = fit_points(points, masses, 3, rng=0, em_steps=3)
    np.testing.assert_array_equal(result.weights, [[0, 0, 0], [3, 0, 0]])
    np.testing.assert_array_equal(result.means[1, 0], [4, 4])
    np.testing.assert_allclose(result.covariances[1, 0], 1e-6 * np.eye(2))
    assert fit_points(np.zeros((0, 3, 2)), np.zeros((0, 3)), 2, rng=0).batch == (0,)
    assert not fit_points(np.zeros((1, 0, 2)), np.zeros((1, 0)), 2, rng=0).weights.any()


def test_masses_of_very_different_size_give_finite_components():
    rng = np.random.default_rng(0)
    points, masses = rng.standard_normal((1, 30, 2)), 10.0 ** rng.uniform(-300, 0, (1, 30))
    result = fit_points(points, masses, 8, rng=0, em_steps=3).check()
    np.testing.assert_allclose(result.weights.sum(), masses.sum(), rtol=1e-12)


def test_float32_input_gives_float32_close_to_float64():
    points, masses = cloud(9, 2, 50, 3)
    points, masses = points.astype(np.float32), masses.astype(np.float32)
    single = fit_points(points, masses, 4, rng=1)
    double = fit_points(points.astype(np.float64), masses.astype(np.float64), 4, rng=1)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.means, double.means, atol=1e-5)


def test_a_mixture_so_far_from_the_points_that_densities_overflow_is_refused_and_no_mass_is_lost():
    points, masses = np.array([[[0.0], [1.0], [2.5]]]), np.ones((1, 3))
    far = Mixture([[1.0]], [[[1e200]]], [[[[1e-3]]]])
    with pytest.raises(
        NonFiniteError, match="em: float64 cannot hold the log densities of the points of set 0"
    ):
        em(points, masses, far)


def test_a_floor_that_is_too_small_beside_the_points_is_refused():
    points = np.array([[0.0], [1.0], [2.5]])
    with pytest.raises(NonFiniteError, match="covariance floor"):
        fit(points, 2, covariance_floor=1e-310, steps=2)


POINTS, MASSES = np.zeros((1, 4, 2)), np.ones((1, 4))
GOOD = Mixture([[1.0]], [[[0.0, 0.0]]], [[np.eye(2).tolist()]])


@pytest.mark.parametrize(
    ("mixture", "options", "error", "text"),
    [
        (GOOD[0], {}, ShapeError, r"batch \(1,\)"),
        (Mixture([[1.0]], [[[0.0]]], [[[[1.0]]]]), {}, ShapeError, "2-D"),
        (GOOD.astype("float32"), {}, DTypeError, "mixture float32"),
        (GOOD * -1.0, {}, ArgumentError, "weights >= 0"),
        (Mixture(GOOD.weights * np.nan, GOOD.means, GOOD.covariances), {}, NonFiniteError, "nan"),
        (Mixture(GOOD.weights, GOOD.means, -GOOD.covariances), {}, NotPositiveDefinite, "eigenvalue"),
        (GOOD, {"steps": -1}, ArgumentError, "steps"),
        (GOOD, {"covariance_floor": -1.0}, ArgumentError, "covariance_floor"),
    ],
)
def test_what_is_wrong_is_named(mixture, options, error, text):
    with pytest.raises(error, match=text):
        em(POINTS, MASSES, mixture, **options)


def test_wrong_arguments_of_the_fit_are_named():
    with pytest.raises(ArgumentError, match="fit_points: expected em_steps"):
        fit_points(POINTS, MASSES, 1, rng=0, em_steps=0.5)
    with pytest.raises(ArgumentError, match=r"fit_points: expected masses >= 0, got masses\[0, 0\]"):
        fit_points(POINTS, -MASSES, 1, rng=0)

"""gm.fit: every layout and method, and the laws that all methods obey."""

import numpy as np
import pytest
from fit_oracle import moments
from hypothesis import given, settings
from hypothesis import strategies as st

import gmengine as gm
from gmengine.cpu import _threads
from gmengine.errors import ArgumentError, BackendError, DTypeError, NonFiniteError, ShapeError
from gmengine.fitting import Clouds, _sets, fit_points
from gmengine.testing.tolerances import tolerance

METHODS = {
    "kmeans": {},
    "kmeans+em": {"steps": 3},
    "random+em": {},
    "eckart-soft": {"branching": 3},
    "eckart-hard": {"branching": 3},
    "hem": {},
}
every_method = pytest.mark.parametrize("method", METHODS)
DIMENSIONS = [(method, dim) for method in METHODS for dim in ((2, 3) if method == "hem" else (1, 2, 3, 4))]
MOMENTS = tolerance("moments", "float64", size=1000)


def ragged(seed, sizes, dim):
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal((size, dim)) * rng.uniform(0.2, 3.0, dim) + rng.integers(-9, 9, dim)
        for size in sizes
    ]


def masses_of(seed, sets):
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.1, 2.0, len(one)) * (rng.random(len(one)) < 0.8) for one in sets]


def same_bits(a, b):
    for one, other in zip(a.arrays, b.arrays, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("method", "dim"), DIMENSIONS)
def test_total_mass_mean_and_covariance_of_every_set_are_kept(method, dim):
    sets = ragged(dim, (60, 1, 25), dim)
    weights = [np.maximum(one, 0.01) for one in masses_of(dim, sets)]
    floor = 0.01
    mixtures = gm.fit(sets, 7, weights, method=method, covariance_floor=floor, **METHODS[method]).check()
    for x, v, mixture in zip(sets, weights, mixtures, strict=True):
        total, mean, spread = moments(*mixture.arrays)
        want = moments(v, x, np.zeros((len(x), dim, dim)))
        scale = np.abs(x).max() ** 2
        np.testing.assert_allclose(total, want[0], rtol=MOMENTS)
        np.testing.assert_allclose(mean, want[1], atol=MOMENTS * scale)
        if method == "hem":  # the points' own covariances are added
            assert np.linalg.eigvalsh(spread - want[2]).min() > floor - MOMENTS * scale
        else:
            np.testing.assert_allclose(spread, want[2] + floor * np.eye(dim), atol=MOMENTS * scale)
        assert (mixture.weights > 0).sum() == min(7, len(x))


@every_method
def test_ragged_sets_are_fitted_as_if_each_were_alone_whatever_the_threads_and_pieces(method, monkeypatch):
    sets = ragged(1, (40, 0, 3, 90, 55), 2)
    weights = masses_of(1, sets)
    options = {"method": method, **METHODS[method]}
    together = gm.fit(sets, 6, weights, rng=5, **options)
    generator = np.random.default_rng(5)
    for s, (one, v) in enumerate(zip(sets, weights, strict=True)):
        same_bits(gm.fit(one, 6, v, rng=generator, **options), together[s])
    for threads, piece in ((1, 2**21), (3, 2**21), (2, 100)):
        monkeypatch.setattr(_threads, "get_num_threads", lambda count=threads: count)
        monkeypatch.setattr(_sets, "_PIECE", piece)
        same_bits(gm.fit(Clouds.pack(sets), 6, np.concatenate(weights), rng=5, **options), together)


@every_method
def test_scaling_by_a_power_of_two_is_exact(method):
    points = np.random.default_rng(2).standard_normal((70, 2))
    near = gm.fit(points, 8, method=method, **METHODS[method])
    for exponent in (-30, 7):
        far = gm.fit(points * 2.0**exponent, 8, method=method, **METHODS[method])
        np.testing.assert_array_equal(far.weights, near.weights)
        np.testing.assert_array_equal(far.means, near.means * 2.0**exponent)
        np.testing.assert_array_equal(far.covariances, near.covariances * 4.0**exponent)


@every_method
def test_points_that_coincide_single_points_and_empty_sets_are_fitted(method):
    sets = [np.full((9, 2), 3.5), np.array([[1.0, -2.0]]), np.empty((0, 2)), np.repeat(np.eye(2), 6, axis=0)]
    mixtures = gm.fit(sets, 5, method=method, **METHODS[method]).check()
    np.testing.assert_allclose(mixtures.weights.sum(axis=1), [1, 1, 0, 1], rtol=MOMENTS)
    for mixture, point in ((mixtures[0], [3.5, 3.5]), (mixtures[1], [1.0, -2.0])):
        present = mixture.weights > 0
        np.testing.assert_allclose(
            mixture.means[present], np.broadcast_to(point, (present.sum(), 2)), rtol=MOMENTS
        )
        for covariance in mixture.covariances[present]:
            np.testing.assert_allclose(covariance, 1e-6 * np.eye(2), rtol=MOMENTS, atol=MOMENTS)
    np.testing.assert_array_equal(mixtures.means[2], 0)
    np.testing.assert_array_equal(mixtures.covariances[2], np.broadcast_to(np.eye(2), (5, 2, 2)))
    if method not in ("random+em", "hem"):
        np.testing.assert_array_equal((mixtures.weights > 0).sum(axis=1), [1, 1, 0, 2])


@every_method
def test_points_of_mass_0_do_not_exist(method):
    points, rng = ragged(3, (50,), 3)[0], np.random.default_rng(3)
    weights = rng.uniform(0.5, 1.0, 50) * (rng.random(50) < 0.6)
    options = {"method": method, **METHODS[method]}
    same_bits(
        gm.fit(points, 6, weights, **options), gm.fit(points[weights > 0], 6, weights[weights > 0], **options)
    )
    nothing = gm.fit(points, 6, np.zeros(50), **options)
    np.testing.assert_array_equal(nothing.weights, 0)


@pytest.mark.parametrize("method", ["kmeans", "kmeans+em"])
def test_an_integer_mass_is_as_many_points(method):
    points, copies = ragged(4, (30,), 2)[0], np.random.default_rng(4).integers(1, 4, 30)
    options = {"method": method, "init": "furthest", "covariance_floor": 0.01}
    once = gm.fit(points, 5, copies.astype(float), **options)
    repeated = np.repeat(points, copies, axis=0)
    many = gm.fit(repeated, 5, np.ones(len(repeated)), **options)
    assert once.allclose(many, rtol=MOMENTS, any_order=False)


def test_one_set_a_padded_batch_and_ragged_sets_are_the_same_fit():
    sets = np.stack(ragged(5, (40, 40, 40), 2))
    padded = gm.fit(sets, 6)
    assert padded.batch == (3,)
    same_bits(gm.fit(list(sets), 6), padded)
    same_bits(gm.fit(sets[:1].tolist(), 6), padded[:1])
    alone = gm.fit(sets[0], 6)
    assert alone.batch == ()
    same_bits(alone, padded[0])
    same_bits(gm.fit(sets[0].tolist(), 6, [1.0] * 40), gm.fit(sets[0], 6, np.ones(40)))
    weights = np.random.default_rng(0).uniform(1, 2, (3, 40))
    same_bits(gm.fit(sets, 6, weights), fit_points(sets, weights, 6, rng=0))
    same_bits(gm.fit(list(sets), 6, list(weights)), gm.fit(sets, 6, weights))
    assert gm.fit(np.zeros((0, 4, 2)), 3).batch == (0,)


def test_without_weights_the_mixture_is_a_density_of_the_points_dtype():
    points = np.random.default_rng(6).standard_normal((50, 3)).astype(np.float32)
    mixture = gm.fit(points, 4)
    assert mixture.dtype == np.float32
    np.testing.assert_allclose(mixture.weights.sum(), 1, rtol=tolerance("sum", "float32", size=50))
    assert gm.fit(points, 4, [2.0] * 50).weights.sum() > 99


def test_more_steps_a_tolerance_and_furthest_points_are_options():
    points = np.random.default_rng(7).standard_normal((300, 2))
    scores = [
        float(np.mean(gm.log_density(gm.fit(points, 12, **options), points)))
        for options in ({"method": "kmeans"}, {}, {"steps": 20}, {"tol": 1e-6})
    ]
    assert scores == sorted(scores)
    assert scores[3] > scores[1]
    same_bits(gm.fit(points, 12, init="furthest"), gm.fit(points, 12, init="furthest", rng=99))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4))
def test_a_tree_has_exactly_n_components_where_points_suffice(seed, n, distinct):
    points = np.random.default_rng(seed).permutation(12 * distinct).astype(float)[:, None] * [1.0, 0.3]
    for method in ("eckart-soft", "eckart-hard"):
        mixture = gm.fit(points, n, method=method, branching=3, rng=seed)
        assert (mixture.weights > 0).sum() == min(n, len(points))


def test_a_tree_of_groups_finds_the_groups():
    rng = np.random.default_rng(8)
    centres = np.array([[i, j] for i in (0.0, 100.0) for j in (0.0, 7.0)])
    points = (centres[:, None] + 0.1 * rng.standard_normal((4, 30, 2))).reshape(-1, 2)
    for method in ("eckart-soft", "eckart-hard"):
        mixture = gm.fit(points, 4, method=method, branching=2)
        order = np.lexsort(mixture.means.T[::-1])
        np.testing.assert_allclose(mixture.weights, 0.25, rtol=MOMENTS)
        assert np.abs(mixture.means[order] - centres).max() < 1.0


def test_a_soft_tree_of_threshold_just_below_1_is_the_hard_tree_where_groups_are_apart():
    rng = np.random.default_rng(9)
    points = (np.array([0.0, 50.0, 1000.0, 1050.0])[:, None, None] + rng.standard_normal((4, 25, 2))).reshape(
        -1, 2
    )
    hard = gm.fit(points, 8, method="eckart-hard", branching=2)
    soft = gm.fit(points, 8, method="eckart-soft", branching=2, threshold=0.999999)
    np.testing.assert_allclose(soft.weights.sum(), hard.weights.sum(), rtol=MOMENTS)
    assert soft.allclose(hard, rtol=MOMENTS)


BAD = np.ones((2, 3, 2))
BAD[1, 2, 0] = np.nan
SETS = [np.ones((2, 2)), np.ones((3, 2))]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((BAD, 2), {}, NonFiniteError, r"fit: points\[1, 2, 0\] is nan"),
        (([SETS[0], BAD[1]], 2), {}, NonFiniteError, r"points\[1\]\[2, 0\] is nan"),
        ((BAD[1], 2), {}, NonFiniteError, r"points\[2, 0\] is nan"),
        ((SETS, 2, [np.ones(2), -np.ones(3)]), {}, ArgumentError, r"weights\[1\]\[0\] = -1"),
        ((SETS[0], 2, [1.0, -2.0]), {}, ArgumentError, r"weights\[1\] = -2"),
        (
            (np.ones((2, 2, 2)), 2, np.full((2, 2), 1.5e308)),
            {},
            NonFiniteError,
            r"sum of weights\[0\] overflows",
        ),
        ((SETS, 2, [np.ones(3), np.ones(2)]), {}, ShapeError, r"sets of \[2, 3\] points, got \[3, 2\]"),
        ((SETS[0], 2, np.ones(3)), {}, ShapeError, r"weights \(2,\), got \(3,\)"),
        ((SETS[0], 2, np.ones(2, np.float32)), {}, DTypeError, "weights float32"),
        (([SETS[0], np.ones((3, 4))], 2), {}, ShapeError, "at 1"),
        ((np.ones(3), 2), {}, ShapeError, r"\(P, K\)"),
        (([], 2), {}, ShapeError, r"\(P, K\)"),
        ((np.ones((3, 2), int), 2), {}, DTypeError, "int64"),
        (("points", 2), {}, BackendError, "got str"),
        ((SETS[0], 0), {}, ArgumentError, "n_components"),
        ((SETS[0], 2), {"method": "em"}, ArgumentError, r"'kmeans', 'kmeans\+em', 'random\+em', .* got 'em'"),
        (
            (SETS[0], 2),
            {"method": "kmeans", "steps": 3},
            ArgumentError,
            "'kmeans' has no option 'steps'; it takes init, r",
        ),
        (
            (SETS[0], 2),
            {"method": "hem", "init": "furthest"},
            ArgumentError,
            "no option 'init'; it takes neighbours",
        ),
        ((SETS[0], 2), {"method": "eckart-hard", "threshold": 0.1}, ArgumentError, "no option 'threshold'"),
        (
            (SETS[0], 2),
            {"method": "eckart-soft", "threshold": 1.0},
            ArgumentError,
            "from 0 to below 1, got 1.0",
        ),
        (
            (SETS[0], 2),
            {"method": "eckart-soft", "branching": 1},
            ArgumentError,
            "branching to be an integer >= 2",
        ),
        ((SETS[0], 2), {"tol": -1.0}, ArgumentError, "tol to be a number >= 0"),
        ((SETS[0], 2), {"tol": "small"}, ArgumentError, "got 'small'"),
        ((SETS[0], 2), {"rounds": 0}, ArgumentError, "rounds"),
        ((SETS[0], 2), {"init": "grid"}, ArgumentError, "'furthest'"),
        ((SETS[0], 2), {"covariance_floor": 0.0}, ArgumentError, "covariance_floor > 0"),
        ((SETS, 2), {"covariance_floor": np.ones(3)}, ShapeError, r"\(2,\), got \(3,\)"),
        ((1e-200 * np.eye(3), 2), {}, NonFiniteError, "rescale"),
    ],
)
def test_what_fit_refuses_is_named(arguments, options, error, text):
    with pytest.raises(error, match=text):
        gm.fit(*arguments, **options)

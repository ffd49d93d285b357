"""Weighted k-means: what a clustering must satisfy, whatever the seeds."""

import numpy as np
import pytest
from fit_oracle import cloud
from hypothesis import given
from hypothesis import strategies as st

from gmengine.cpu import _fit_assign, _threads
from gmengine.errors import ArgumentError, BackendError, DTypeError, NonFiniteError, ShapeError
from gmengine.fitting import _sets, kmeans

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(1, 3), st.integers(1, 9), st.integers(0, 30))
def test_every_point_belongs_to_its_nearest_centre_and_every_centre_is_its_points_mean(seed, dim, n, count):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 5, (2, count, dim)).astype(float)  # a grid: coincident points and ties abound
    masses = rng.integers(0, 4, (2, count)).astype(float)
    mixture, labels = kmeans(points, masses, n, rng=seed, covariance_floor=0.5)
    for x, v, own, w, mu, cov in zip(points, masses, labels, *mixture.arrays, strict=True):
        lit = v > 0
        assert (own[~lit] == -1).all()
        assert (w > 0).sum() == min(n, len(np.unique(x[lit], axis=0)))
        np.testing.assert_allclose(w, [v[own == s].sum() for s in range(n)], rtol=1e-12)
        distances = ((x[lit, None] - mu[w > 0]) ** 2).sum(-1)
        np.testing.assert_allclose(
            ((x[lit] - mu[own[lit]]) ** 2).sum(-1), distances.min(axis=1, initial=np.inf), atol=1e-12
        )
        for s in np.flatnonzero(w > 0):
            d = x[own == s] - mu[s]
            np.testing.assert_allclose(v[own == s] @ d, 0, atol=1e-12)
            spread = np.einsum("p,pk,pl->kl", v[own == s], d, d) / w[s]
            np.testing.assert_allclose(cov[s], spread + 0.5 * np.eye(dim), atol=1e-12)
        np.testing.assert_array_equal(mu[w == 0], 0)
        np.testing.assert_array_equal(cov[w == 0], np.broadcast_to(np.eye(dim), cov[w == 0].shape))


@given(seeds)
def test_distant_groups_are_found_whatever_the_seed(seed):
    rng = np.random.default_rng(seed)
    centres = 100.0 * np.array([[0, 0], [0, 1], [1, 0], [1, 1], [3, 3]])
    points = (centres[:, None] + rng.standard_normal((5, 8, 2))).reshape(1, 40, 2)
    _, labels = kmeans(points, np.ones((1, 40)), 5, rng=seed)
    groups = labels.reshape(5, 8)
    assert (groups == groups[:, :1]).all()
    assert len(set(groups[:, 0])) == 5


def test_a_heavy_point_draws_its_centre():
    points, masses = np.array([[[0.0], [1.0], [2.0], [10.0]]]), np.array([[1.0, 1e6, 1.0, 1.0]])
    mixture, _ = kmeans(points, masses, 2, rng=0)
    assert abs(mixture.means - 1.0).min() < 1e-5


@pytest.mark.parametrize("seed", range(6))
def test_a_point_between_two_centres_goes_to_the_lower_index(seed):
    points, masses = np.array([[[-1.0], [0.0], [1.0]]]), np.array([[1.0, 1e-20, 1.0]])
    _, labels = kmeans(points, masses, 2, rng=seed)
    assert labels[0, 1] == 0
    assert set(labels[0, [0, 2]]) == {0, 1}


def test_an_empty_cluster_takes_the_point_of_largest_mass_times_squared_distance():
    labels, distances = np.array([0, 0, 2, 2, 2]), np.array([1.0, 2.0, 0.5, 2.0, 0.1])
    masses = np.array([1.0, 3.0, 1.0, 3.0, 9.0])  # points 1 and 3 tie: the first wins, then the other
    upper, lower, filled = np.zeros(5), np.ones(5), np.array([True, False, True, False])
    _fit_assign._fill.py_func(masses, filled, labels, distances, upper, lower)
    np.testing.assert_array_equal(lower, [1, 0, 1, 0, 1])  # the centres that they had are others now
    np.testing.assert_array_equal(labels, [0, 1, 2, 3, 2])
    np.testing.assert_array_equal(upper, [0, np.inf, 0, np.inf, 0])


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch):
    points, masses = cloud(0, 50, 60, 3)
    results = []
    for count in (1, 3):
        monkeypatch.setattr(_threads, "get_num_threads", lambda count=count: count)
        mixture, labels = kmeans(points, masses, 7, rng=5)
        results.append((*mixture.arrays, labels))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_results_do_not_depend_on_the_pieces_or_on_later_samples(monkeypatch):
    points, masses = cloud(1, 9, 40, 2)
    whole, labels = kmeans(points, masses, 5, rng=3)
    alone, _ = kmeans(points[:2], masses[:2], 5, rng=3)
    np.testing.assert_array_equal(alone.means, whole.means[:2])
    monkeypatch.setattr(_sets, "_PIECE", 4 * 40 * 2)
    pieces, labels_of_pieces = kmeans(points, masses, 5, rng=3)
    np.testing.assert_array_equal(pieces.covariances, whole.covariances)
    np.testing.assert_array_equal(labels_of_pieces, labels)


@given(seeds, st.integers(-40, 40), st.integers(-50, 50))
def test_scaling_by_a_power_of_two_and_moving_by_integers_is_exact(seed, exponent, shift):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 64, (1, 20, 2)) / 8.0
    masses = rng.uniform(0.5, 1.0, (1, 20))
    near, labels = kmeans(points, masses, 4, rng=seed)
    far, far_labels = kmeans((points + shift) * 2.0**exponent, masses, 4, rng=seed)
    np.testing.assert_array_equal(labels, far_labels)
    np.testing.assert_array_equal(far.covariances, near.covariances * 4.0**exponent)
    np.testing.assert_allclose(far.means / 2.0**exponent - shift, near.means, atol=1e-12)


def test_the_seed_decides_and_inputs_stay_as_they_are():
    points, masses = cloud(2, 3, 50, 2)
    points.setflags(write=False)
    masses.setflags(write=False)
    first, again, other = (kmeans(points, masses, 6, rng=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.means, again.means)
    assert not np.array_equal(first.means, other.means)
    generator = kmeans(points, masses, 6, rng=np.random.default_rng(1))[0]
    np.testing.assert_array_equal(first.means, generator.means)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_memory_order_of_the_input_do_not_matter(dtype):
    points, masses = (a.astype(dtype) for a in cloud(3, 2, 30, 3))
    mixture, _ = kmeans(points, masses, 4, rng=0)
    assert mixture.dtype == dtype
    strided, _ = kmeans(np.asfortranarray(points), masses[:, ::-1][:, ::-1], 4, rng=0)
    np.testing.assert_array_equal(mixture.means, strided.means)


def test_float32_covariances_of_thin_clusters_stay_definite():
    line = np.linspace(0, 1, 200, dtype=np.float32)
    points = np.stack([line, 3 * line, 1000 + line], axis=-1)[None]
    mixture, _ = kmeans(points, np.ones((1, 200), np.float32), 3, rng=0)
    assert (np.linalg.eigvalsh(mixture.covariances.astype(np.float64)) > 0).all()


def bad(points=None, masses=None, **changes):
    points = np.zeros((2, 3, 2)) if points is None else points
    masses = np.ones((2, 3)) if masses is None else masses
    return {"points": points, "masses": masses, "n_components": 2, "rng": 0, **changes}


def with_value(shape, index, value):
    array = np.ones(shape)
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (bad(with_value((2, 3, 2), (1, 2, 0), np.nan)), NonFiniteError, r"points\[1, 2, 0\] is nan"),
        (bad(masses=with_value((2, 3), (0, 1), np.inf)), NonFiniteError, r"masses\[0, 1\] is inf"),
        (bad(masses=with_value((2, 3), (1, 0), -0.5)), ArgumentError, r"masses\[1, 0\] = -0.5"),
        (bad(masses=np.full((2, 3), 1e308)), NonFiniteError, r"the sum of masses\[0\] overflows"),
        (
            bad(1.5e308 * np.eye(3)[None] - 1.5e308 * np.eye(3)[::-1][None], np.ones((1, 3))),
            NonFiniteError,
            "rescale",
        ),
        (bad(1e-200 * np.eye(3)[None], np.ones((1, 3))), NonFiniteError, "rescale"),
        (bad(np.zeros((2, 3))), ShapeError, r"\(S, P, K\)"),
        (bad(np.zeros((2, 3, 0))), ShapeError, r"\(S, P, K\)"),
        (bad(masses=np.ones((2, 4))), ShapeError, r"\(2, 4\)"),
        (bad(np.zeros((2, 3, 2), np.float32)), DTypeError, "masses float64"),
        (bad(np.zeros((2, 3, 2), int), np.ones((2, 3), int)), DTypeError, "int64"),
        (bad("points"), BackendError, "got str"),
        (bad(init="random"), ArgumentError, r"init to be one of \('kmeans\+\+', 'furthest'\)"),
        (bad(n_components=0), ArgumentError, "n_components"),
        (bad(n_components=2.0), ArgumentError, "n_components"),
        (bad(n_components=True), ArgumentError, "n_components"),
        (bad(covariance_floor=0.0), ArgumentError, "covariance_floor > 0"),
        (bad(covariance_floor=np.array([1.0, np.nan])), ArgumentError, r"nan at \[1\]"),
        (bad(covariance_floor=np.ones(3)), ShapeError, r"\(2,\)"),
    ],
)
def test_what_is_wrong_is_named(arguments, error, text):
    with pytest.raises(error, match=text) as info:
        kmeans(**arguments)
    assert str(info.value).startswith("kmeans: ")

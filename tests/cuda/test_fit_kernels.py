"""fit_kmeans and fit_em of gmengine.cuda, run on the CPU, beside their twins."""

from itertools import pairwise

import numpy as np
import pytest
import strict_cupy
from twins import agree, on_cpu, on_gpu

import gmengine as gm
from gmengine.cpu import fit_em as em_twin
from gmengine.cpu import fit_kmeans as kmeans_twin
from gmengine.errors import ArgumentError
from gmengine.testing import assert_close

DIMS = [1, 2, 3, 4]
SIZES = [(5, 0, 1, 33), (127, 2, 129), (300, 32, 0, 0, 31), (1,), (0,), ()]
"""Points of the sets of a batch, across the edges of warps and blocks; empty ones, and no set at all."""


def sets(sizes, K, rng, dtype="float64"):
    """Return points, masses (a fifth of them 0) and offsets of sets that lie anywhere and are of any size."""
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    blobs = 3 * rng.integers(-2, 3, (offsets[-1], K)) + rng.normal(size=(offsets[-1], K))
    which = np.repeat(np.arange(len(sizes)), sizes)
    place, unit = 50 * rng.normal(size=(len(sizes), K)), 2.0 ** rng.integers(-6, 6, len(sizes))
    masses = 3.0 * rng.random(offsets[-1]) * (rng.random(offsets[-1]) < 0.8)
    return (unit[which, None] * (blobs + place[which])).astype(dtype), masses, offsets


def clusters_of_both(cuda, given, N, *, rounds=300, furthest=False, trials=4, seed=0):
    """Return what either house makes of points, masses and offsets: k-means in the frames of the CPU."""
    points, masses, offsets = given
    frames = em_twin.frames(points.astype(np.float64), masses, offsets)
    uniforms = np.random.default_rng(seed).random((len(offsets) - 1, N, 0 if furthest else trials))
    want = kmeans_twin.clusters(
        points.astype(np.float64), masses, offsets, frames, uniforms, rounds, furthest
    )
    arrays = on_gpu((points, masses, offsets, frames, uniforms))
    return frames, want, cuda("fit_kmeans").clusters(*arrays, rounds, furthest)


def steps_of_both(cuda, given, frames, floors, moments, count, tol, blurred=True):
    """Return what either house makes of mixtures that stand in the frames: EM."""
    points, masses, offsets = given
    others = masses, offsets, frames, floors
    want = em_twin.steps(points.astype(np.float64), *others, blurred, *moments, count, tol)
    return want, cuda("fit_em").steps(*on_gpu((points, *others)), blurred, *on_gpu(moments), count, tol)


def same_moments(kind, got, want, points, size):
    """Assert that float64 results agree as far as the dtype of the points allows."""
    precision = points.dtype
    for g, w in zip(on_cpu(got), want, strict=True):
        assert g.dtype == w.dtype == np.float64
        agree(kind, g.astype(precision), w.astype(precision), size=size, scale=1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("sizes", SIZES)
def test_frames_are_those_of_the_cpu(cuda, sizes, dim, dtype):
    points, masses, offsets = sets(sizes, dim, np.random.default_rng(dim), dtype)
    want = em_twin.frames(points.astype(np.float64), masses, offsets)
    got = on_cpu(cuda("fit_em").frames(*on_gpu((points, masses, offsets))))
    agree("exact", got[:, :-1], want[:, :-1], size=1)
    agree("sum", got[:, -1:], want[:, -1:], size=300)


def test_the_scale_of_a_frame_is_a_power_of_two_that_is_not_below_the_side(cuda):
    sides = np.array([1.0, 0.5, 3.0, 2.0**-300, np.nextafter(2.0, 3), np.nextafter(2.0, 1), 1e300, 0.0])
    points = np.stack([np.zeros_like(sides), sides], axis=1).reshape(-1, 1)
    offsets = np.arange(0, points.size + 1, 2)
    frames = on_cpu(cuda("fit_em").frames(*on_gpu((points, np.ones(points.size), offsets))))
    assert (np.frexp(frames[:, 1])[0] == 0.5).all()
    assert ((sides <= frames[:, 1]) & (frames[:-1, 1] < 2 * sides[:-1]).all()).all()
    np.testing.assert_array_equal(frames[:, 2], sides)


@pytest.mark.parametrize("furthest", [False, True])
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("sizes", SIZES)
def test_clusters_are_those_of_the_cpu(cuda, sizes, dim, furthest):
    given = sets(sizes, dim, np.random.default_rng(10 * dim + len(sizes)))
    for N, rounds in ((1, 300), (7, 300), (7, 1), (40, 2)):
        _, want, got = clusters_of_both(cuda, given, N, rounds=rounds, furthest=furthest)
        agree("exact", got[3], want[3], size=1, name=f"labels of {N} after {rounds}")
        same_moments("sum", got[:3], want[:3], given[0], size=300)


@pytest.mark.parametrize("trials", [1, 8, 11])
def test_centres_and_trials_beyond_a_tile_are_drawn_as_on_the_cpu(cuda, trials):
    given = sets((400, 150), 2, np.random.default_rng(0))
    _, want, got = clusters_of_both(cuda, given, 150, trials=trials)
    agree("exact", got[3], want[3], size=1)
    same_moments("sum", got[:3], want[:3], given[0], size=400)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("furthest", [False, True])
def test_a_lattice_full_of_ties_is_labelled_as_on_the_cpu(cuda, furthest, dtype):
    lattice = np.stack(np.meshgrid(*[np.arange(9.0)] * 2), axis=-1).reshape(-1, 2)
    others = np.full(81, 0.1), np.array([0, 81])
    for unit in (1.0, 0.1, 1 / 3):
        for N in (2, 4, 9, 81, 90):
            _, want, _ = clusters_of_both(cuda, (unit * lattice, *others), N, furthest=furthest)
            given = (unit * lattice).astype(dtype), *others  # rounding must not break ties
            _, _, got = clusters_of_both(cuda, given, N, furthest=furthest)
            agree("exact", got[3], want[3], size=1, name=f"labels of {N}")


@pytest.mark.parametrize("furthest", [False, True])
def test_duplicates_get_one_component_and_absent_ones_are_zeros(cuda, furthest):
    rng = np.random.default_rng(1)
    places = rng.normal(size=(5, 3))
    points = places[rng.integers(0, 5, 140)]
    given = points, 0.5 + rng.random(140), np.array([0, 0, 139, 140])
    _, want, got = clusters_of_both(cuda, given, 8, furthest=furthest)
    agree("exact", got[3], want[3], size=1)
    weights, means, covariances = (on_cpu(a) for a in got[:3])
    assert ((weights > 0).sum(axis=1) == [0, 5, 1]).all()
    assert not means[weights == 0].any()
    assert not covariances[weights == 0].any()
    assert_close("sum", covariances, np.zeros_like(covariances), size=140, scale=1.0)


def test_k_means_plus_plus_without_random_numbers_is_refused_on_this_street_too(cuda):
    with pytest.raises(ArgumentError, match="at least one random number"):
        cuda("fit_kmeans").clusters(
            *on_gpu((np.zeros((3, 2)), np.ones(3), np.array([0, 3]), np.zeros((1, 5)), np.empty((1, 2, 0)))),
            1,
            False,
        )


def uniforms_that_draw(points, masses, seeds):
    """Return random numbers (1, N, 1) by which k-means++ starts from the points of these indices."""
    chances, numbers = masses, []
    nearest = np.full(len(points), np.inf)
    for seed in seeds:
        before = np.cumsum(chances)[seed] - 0.5 * chances[seed]
        numbers.append(before / chances.sum())
        nearest = np.minimum(nearest, ((points - points[seed]) ** 2).sum(axis=1))
        chances = masses * nearest
    return np.array(numbers)[None, :, None]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_cluster_that_loses_its_points_takes_the_farthest_as_on_the_cpu(cuda, dtype):
    """Cluster 0 holds places 0, 1 and 2; then 1 and 2 are nearer to the heavy places of clusters 1 and 2, 0 to 3's."""
    places = [[0, 0], [4, 3], [-4, 3], [10, 3], [5.5, 3], [-10, 3], [-5.5, 3], [0, -5], [0, -2.6]]
    points, masses = np.array(places, dtype), np.array([1e-3, 1, 1, 1e-3, 1, 1e-3, 1, 1e-3, 1])
    uniforms = uniforms_that_draw(points.astype(float), masses, [0, 3, 5, 7])
    offsets = np.array([0, 9])
    frames = em_twin.frames(points.astype(float), masses, offsets)
    for rounds, first in ((1, [0, 1, 2]), (2, [1])):
        want = kmeans_twin.clusters(points.astype(float), masses, offsets, frames, uniforms, rounds, False)
        assert np.flatnonzero(want[3] == 0).tolist() == first
        arrays = on_gpu((points, masses, offsets, frames, uniforms))
        got = cuda("fit_kmeans").clusters(*arrays, rounds, False)
        agree("exact", got[3], want[3], size=1)
        same_moments("sum", got[:3], want[:3], points, size=9)


@pytest.mark.parametrize("dim", DIMS)
def test_float32_points_find_the_clusters_that_are_well_apart(cuda, dim):
    rng = np.random.default_rng(dim)
    centres = np.arange(5.0)[:, None] * np.ones(dim)
    which = np.concatenate([np.arange(5), rng.integers(0, 5, 250)])
    points = (7 + centres[which] + 0.05 * rng.normal(size=(255, dim))).astype("float32")
    given = points, 0.5 + rng.random(255), np.array([0, 255])
    frames, want, got = clusters_of_both(cuda, given, 5)
    agree("exact", got[3], want[3], size=1)
    same_moments("sum", got[:3], want[:3], points, size=255)
    floors = np.full(1, 1e-4)
    want, got = steps_of_both(cuda, given, frames, floors, want[:3], 3, 0.0)
    same_moments("gradient", got[:3], want[:3], points, size=255)
    agree("solve", on_cpu(got[3]).astype("float32"), want[3].astype("float32"), size=255)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("sizes", SIZES)
def test_em_steps_are_those_of_the_cpu(cuda, sizes, dim, dtype):
    given = sets(sizes, dim, np.random.default_rng(dim), dtype)
    for N, count, blurred in ((1, 1, True), (6, 3, True), (6, 3, False), (40, 1, False), (6, 0, True)):
        frames, clusters, _ = clusters_of_both(cuda, given, N, rounds=2)
        floors = 0.01 * frames[:, -2] ** 2 + (frames[:, -2] == 0)
        want, got = steps_of_both(cuda, given, frames, floors, clusters[:3], count, 0.0, blurred)
        same_moments("gradient", got[:3], want[:3], given[0], size=300)
        agree("exact", got[4], want[4], size=1, name="taken")
        present = ~np.isnan(want[3])
        assert (np.isnan(on_cpu(got[3])) == ~present).all()
        likelihoods = (a[present].astype(dtype) for a in (on_cpu(got[3]), want[3]))
        agree("solve", *likelihoods, size=300, name="log-likelihood")


def test_more_components_than_a_tile_take_em_steps_as_on_the_cpu(cuda):
    given = sets((300, 200), 3, np.random.default_rng(0))
    frames, clusters, _ = clusters_of_both(cuda, given, 170, rounds=1)
    floors = 0.001 * frames[:, -2] ** 2
    want, got = steps_of_both(cuda, given, frames, floors, clusters[:3], 2, 0.0)
    same_moments("gradient", got[:3], want[:3], given[0], size=300)


@pytest.mark.parametrize("blurred", [True, False])
@pytest.mark.parametrize("tol", [1e-3, 1e-1, np.inf])
def test_every_set_stops_when_its_own_gain_is_small_as_on_the_cpu(cuda, tol, blurred):
    given = sets((200, 40, 0, 3), 2, np.random.default_rng(5))
    frames, clusters, _ = clusters_of_both(cuda, given, 5, rounds=1)
    floors = np.full(4, 1e-3)
    want, got = steps_of_both(cuda, given, frames, floors, clusters[:3], 50, tol, blurred)
    agree("exact", got[4], want[4], size=1, name="taken")
    assert on_cpu(got[4]).max() < 50
    same_moments("gradient", got[:3], want[:3], given[0], size=200)
    agree("solve", on_cpu(got[3])[[0, 1, 3]], want[3][[0, 1, 3]], size=200)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_far_component_dies_and_no_point_is_lost_to_underflow(cuda, dtype):
    points = np.concatenate([np.linspace(0, 1e-3, 50), [1.0]])[:, None].astype(dtype)
    given = points, np.ones(51), np.array([0, 51])
    frames = em_twin.frames(points.astype(np.float64), *given[1:])
    moments = np.array([[0.5, 0.25, 0.25]]), np.array([[[-0.5], [-0.499], [0.1]]]), np.zeros((1, 3, 1, 1))
    want, got = steps_of_both(cuda, given, frames, np.full(1, 1e-6), moments, 2, 0.0)
    weights = on_cpu(got[0])
    assert_close("sum", weights.sum(), np.float64(1.0), size=51) if dtype == "float64" else None
    same_moments("gradient", got[:3], want[:3], points, size=51)
    assert (weights[0] > 0).tolist() == (want[0][0] > 0).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_second_fit_gives_the_same_bits_whatever_the_batch(cuda, dtype):
    points, masses, offsets = sets((150, 60), 3, np.random.default_rng(3), dtype)

    def fit(part):
        begin, end = offsets[part.start], offsets[part.stop]
        given = points[begin:end], masses[begin:end], offsets[part.start : part.stop + 1] - begin
        arrays = on_gpu(given)
        frames = cuda("fit_em").frames(*arrays)
        uniforms = np.random.default_rng(0).random((2, 9, 4))[part]
        *moments, labels = cuda("fit_kmeans").clusters(*arrays, frames, on_gpu(uniforms), 300, False)
        floors = on_gpu(np.full(part.stop - part.start, 1e-3))
        fitted = cuda("fit_em").steps(*arrays, frames, floors, True, *moments, 5, 1e-9)
        return [on_cpu(a) for a in (frames, *moments, *fitted)], on_cpu(labels)

    both, labels = fit(slice(0, 2))
    again, labels_again = fit(slice(0, 2))
    second, labels_of_second = fit(slice(1, 2))
    for a, b, alone in zip(both, again, second, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[1:], alone)
    np.testing.assert_array_equal(labels, labels_again)
    np.testing.assert_array_equal(labels[150:], labels_of_second)


def test_the_inputs_of_em_stay_as_they_are(cuda):
    given = sets((40,), 2, np.random.default_rng(0))
    frames, clusters, _ = clusters_of_both(cuda, given, 3)
    inputs = on_gpu((*given, frames, np.full(1, 1e-3), *clusters[:3]))
    before = [on_cpu(a) for a in inputs]
    cuda("fit_em").steps(*inputs[:5], True, *inputs[5:], 2, 0.0)
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(on_cpu(a), b)


@pytest.mark.parametrize("method", ["kmeans", "kmeans+em", "random+em"])
def test_a_fit_runs_where_its_points_lie_and_its_houses_never_wait(method):
    points, masses, offsets = sets((60, 0, 20), 3, np.random.default_rng(4))
    parts = [slice(*bounds) for bounds in pairwise(offsets)]
    want = gm.fit([points[p] for p in parts], 5, [masses[p] for p in parts], method=method, rng=1)
    with strict_cupy.installed() as cupy:
        given = ([cupy.asarray(a[p]) for p in parts] for a in (points, masses))
        got = gm.fit(next(given), 5, next(given), method=method, rng=1)
        assert not [where for where in strict_cupy.waits if "gmengine/cuda" in where]
        arrays = [cupy.asnumpy(a) for a in got.values().arrays]
    for a, b in zip(arrays, want.values().arrays, strict=True):
        agree("gradient", a, b, size=60, scale=float(np.abs(b).max()))

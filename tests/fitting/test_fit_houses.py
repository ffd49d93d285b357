"""The kernels behind every fit, on packed sets: frames, furthest points, bounds, the rule by which EM ends."""

import math

import numpy as np
import pytest
from fit_oracle import bound, cloud, em_step, furthest_points, lloyd, neighbourhood
from hypothesis import given
from hypothesis import strategies as st

from gmengine import Mixture
from gmengine.cpu import fit_em, fit_hierarchy, fit_kmeans, fit_neighbours
from gmengine.errors import ArgumentError
from gmengine.fitting._frame import leave
from gmengine.testing.tolerances import tolerance

seeds = st.integers(0, 2**32 - 1)
SUM = tolerance("sum", "float64", size=1000, condition=1.0)
SOLVE = tolerance("solve", "float64", size=1000, condition=1e6)


def packed(seed, sizes, dim):
    """Sets of some sizes, all masses positive."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((sum(sizes), dim)) + 3.0 * rng.integers(-1, 2, (sum(sizes), 1))
    return points, rng.uniform(0.1, 2.0, sum(sizes)), np.cumsum([0, *sizes]).astype(np.int64)


def clustered(points, masses, offsets, n, rounds=300):
    frames = fit_em.frames(points, masses, offsets)
    uniforms = np.empty((len(frames), n, 0))
    return frames, fit_kmeans.clusters(points, masses, offsets, frames, uniforms, rounds, True)


def test_a_frame_is_the_centre_the_power_of_two_above_the_side_the_side_and_the_mass():
    points = np.array([[9.0, 9.0], [1.0, -1.0], [4.0, 0.0], [7.0, 7.0], [5.0, 5.0]])
    masses = np.array([0.0, 2.0, 0.5, 3.0, 0.0])
    frames = fit_em.frames(points, masses, np.array([0, 3, 3, 4, 5]))
    np.testing.assert_array_equal(
        frames, [[2.5, -0.5, 4, 3, 2.5], [0, 0, 1, 0, 0], [7, 7, 1, 0, 3], [0, 0, 1, 0, 0]]
    )


def test_the_scale_of_a_frame_is_not_below_a_side_just_above_a_power_of_two():
    sides = np.array(
        [np.nextafter(2.0, 3), 2.0, np.nextafter(2.0, 1), 2.0**-300, 1e300, np.nextafter(1.0, 2)]
    )
    points = np.stack([np.zeros_like(sides), sides], axis=1).reshape(-1, 1)
    frames = fit_em.frames(points, np.ones(12), np.arange(0, 13, 2))
    np.testing.assert_array_equal(frames[:, 1], [4, 2, 2, 2.0**-300, 2.0**997, 2])


def test_a_cluster_whose_share_of_the_mass_underflows_is_zeros():
    points, masses = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 1.0]]), np.array([1e300, 1e300, 1e-300])
    _, (weights, means, covariances, _) = clustered(points, masses, np.array([0, 3]), 3)
    np.testing.assert_array_equal(np.sort(weights), [[0, 0.5, 0.5]])
    np.testing.assert_array_equal(means[weights == 0], 0)
    np.testing.assert_array_equal(covariances, 0)


def test_k_means_plus_plus_without_random_numbers_is_refused():
    points, masses, offsets = packed(0, (9,), 2)
    frames = fit_em.frames(points, masses, offsets)
    with pytest.raises(ArgumentError, match="at least one random number"):
        fit_kmeans.clusters(points, masses, offsets, frames, np.empty((1, 3, 0)), 1, False)


@given(seeds, st.integers(1, 3), st.integers(1, 9), st.booleans())
def test_furthest_points_and_rounds_of_k_means_equal_plain_loops(seed, dim, n, once):
    sizes = (17, 1, 40)
    points, masses, offsets = packed(seed, sizes, dim)
    frames, (weights, means, covariances, labels) = clustered(points, masses, offsets, n, 1 if once else 300)
    _, mu, _ = leave(frames, np.zeros(3), weights, means, covariances)
    for s, size in enumerate(sizes):
        x, v = points[offsets[s] :][:size], masses[offsets[s] :][:size]
        start = x[furthest_points(x, n)]
        expected, centres = lloyd(x, v, start, 1 if once else 300)
        np.testing.assert_array_equal(labels[offsets[s] :][:size], expected)
        np.testing.assert_allclose(mu[s, : len(start)], centres, rtol=SUM, atol=8 * SUM)
        np.testing.assert_array_equal(weights[s, len(start) :], 0)


@given(seeds, st.integers(2, 30))
def test_bounds_never_change_a_label_where_ties_abound(seed, n):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1).reshape(-1, 2)
    masses = rng.integers(1, 3, 81).astype(float)
    offsets, start = np.array([0, 81]), grid[furthest_points(grid, n)]
    for rounds in (1, 2, 3, 300):
        _, (*_, labels) = clustered(grid, masses, offsets, n, rounds)
        np.testing.assert_array_equal(labels, lloyd(grid, masses, start, rounds)[0])


def steps_from(points, masses, offsets, n, count, tol, floor=0.01, blurred=True):
    frames, (*start, _) = clustered(points, masses, offsets, n, rounds=1)
    floors = np.full(len(frames), floor)
    given = points, masses, offsets, frames, floors, blurred
    *moments, likelihood, taken = fit_em.steps(*given, *start, count, tol)
    return Mixture(*leave(frames, floors, *moments)), likelihood, taken


@pytest.mark.parametrize("blurred", [True, False])
@pytest.mark.parametrize("dim", [1, 3])
def test_the_log_likelihood_is_that_before_the_last_step_or_that_at_which_the_tolerance_stopped(dim, blurred):
    sizes = (30, 200, 90)
    points, masses, offsets = packed(dim, sizes, dim)
    for tol in (0.0, 0.01):
        after, likelihood, taken = steps_from(points, masses, offsets, 5, 60, tol, blurred=blurred)
        for s, size in enumerate(sizes):
            x, v = points[offsets[s] :][:size], masses[offsets[s] :][:size]
            number = int(taken[s]) - (tol == 0)
            before, _, _ = steps_from(x, v, np.array([0, size]), 5, number, 0.0, blurred=blurred)
            np.testing.assert_allclose(
                likelihood[s], bound(x, v, before[0], 0.01 * blurred), rtol=SOLVE, atol=SOLVE
            )
            if tol > 0:
                np.testing.assert_array_equal(after[s].means, before[0].means)
        assert (taken == 60).all() if tol == 0 else ((taken > 0) & (taken < 60)).all()


def test_the_tolerance_stops_a_sample_at_the_first_step_that_gains_less():
    points, masses, offsets = packed(3, (150,), 2)
    likelihoods = [steps_from(points, masses, offsets, 6, count, 0.0)[1][0] for count in range(1, 40)]
    gains = np.diff(likelihoods)
    assert (gains >= -SOLVE).all()
    for tol in (0.05, 0.005):
        _, _, taken = steps_from(points, masses, offsets, 6, 40, tol)
        assert taken[0] == 1 + np.argmax(gains < tol)
    assert steps_from(points, masses, offsets, 6, 40, math.inf)[2][0] == 1


def test_nothing_is_computed_without_a_step_or_without_mass():
    points, masses, offsets = packed(4, (20, 5), 2)
    masses[20:] = 0.0
    result, likelihood, taken = steps_from(points, masses, offsets, 3, 0, 0.0)
    assert np.isnan(likelihood).all()
    np.testing.assert_array_equal(taken, 0)
    np.testing.assert_array_equal(result.weights[1], 0)
    _, likelihood, taken = steps_from(points, masses, offsets, 3, 2, 0.0)
    np.testing.assert_array_equal(taken, [2, 0])
    np.testing.assert_array_equal(np.isnan(likelihood), [False, True])


def test_a_component_that_nobody_is_responsible_for_dies_and_the_others_take_its_weight():
    points, masses, offsets = np.array([[0.0], [1.0]]), np.ones(2), np.array([0, 2])
    frames = fit_em.frames(points, masses, offsets)
    start = np.array([[0.5, 0.5]]), np.array([[[0.0], [1e3]]]), np.full((1, 2, 1, 1), 1e-4)
    given = points, masses, offsets, frames, np.full(1, 1e-4), True
    weights, means, covariances, _, taken = fit_em.steps(*given, *start, 3, 0.0)
    np.testing.assert_array_equal(weights, [[1, 0]])
    np.testing.assert_array_equal((means[0, 1, 0], covariances[0, 1, 0, 0]), (0, 0))
    assert taken[0] == 3


@pytest.mark.parametrize("blurred", [True, False])
def test_responsibilities_are_those_of_the_formulas(blurred):
    points, masses, offsets = packed(5, (40, 60), 2)
    masses[3] = 0.0
    frames, (*start, _) = clustered(points, masses, offsets, 4)
    floors = np.full(2, 0.1)
    r = fit_hierarchy.responsibilities(points, masses, offsets, frames, floors, blurred, *start)
    np.testing.assert_array_equal(r[3], 0)
    np.testing.assert_allclose(np.delete(r, 3, axis=0).sum(axis=1), 1, rtol=SUM)
    mixture = Mixture(*leave(frames, floors, *start))
    for s in range(2):
        part = slice(offsets[s], offsets[s + 1])
        w, mu, _ = em_step(points[part], masses[part], mixture[s], 0.1, blurred)
        np.testing.assert_allclose(masses[part] @ r[part], w, rtol=SOLVE)
        np.testing.assert_allclose(
            (masses[part, None] * r[part]).T @ points[part] / w[:, None], mu, atol=SOLVE
        )


@pytest.mark.parametrize("neighbours", [1, 4, 50])
def test_neighbourhoods_equal_plain_loops_and_take_all_of_a_tie(neighbours):
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0)), -1).reshape(-1, 2)
    points = np.concatenate([grid, cloud(1, 1, 30, 2)[0][0], [[5.0, 5.0]]])
    offsets = np.array([0, 16, 46, 46, 47])
    frames = fit_em.frames(points, np.ones(47), offsets)
    spread = fit_neighbours.spreads(points, np.ones(47), offsets, frames, neighbours)
    for s in range(2):
        part = slice(offsets[s], offsets[s + 1])
        expected = [neighbourhood(points[part], i, neighbours) for i in range(offsets[s + 1] - offsets[s])]
        np.testing.assert_allclose(spread[part] * frames[s, 2] ** 2, expected, rtol=SUM, atol=100 * SUM)
    np.testing.assert_array_equal(spread[46], 0)

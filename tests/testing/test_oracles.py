"""The oracles agree with sums over a grid, and with each other."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.testing import assert_close, oracles, tree_oracle
from gmengine.testing import strategies as gms


def pair(dim):
    return (gms.random_mixture(seed, (), 3, dim, absent=0.2, condition=4.0).arrays for seed in (1, 2))


@pytest.mark.parametrize("dim", [1, 2])
def test_products_and_distances_are_those_of_a_grid(dim):
    a, b = pair(dim)
    assert_close(
        "quadrature", np.array(oracles.product(a, b)), np.array(oracles.product_on_grid(a, b)), scale=1.0
    )
    got, want = oracles.l2_distance(a, b), oracles.l2_distance_on_grid(a, b)
    assert_close("quadrature", np.array(got), np.array(want), scale=1.0)
    assert oracles.l2_distance(a, a) == 0.0


@pytest.mark.parametrize("dim", [1, 2])
def test_moments_are_those_of_a_grid(dim):
    a, _ = pair(dim)
    for got, want in zip(oracles.moments(*a), oracles.moments_on_grid(*a), strict=True):
        assert_close("quadrature", np.asarray(got), np.asarray(want), scale=4.0)


def test_mean_and_covariance_are_those_of_samples_of_one_component():
    w, mu, c = gms.random_mixture(3, (), 1, 3).arrays
    mean, covariance = oracles.mean_and_covariance(w, mu, c)
    assert_close("sum", mean, mu[0])
    assert_close("sum", covariance, c[0], size=9)


def test_many_digits_agree_with_scipy():
    a, _ = pair(2)
    x = np.random.default_rng(4).uniform(-2, 2, (5, 2))
    assert_close("solve", oracles.evaluate(*a, x), oracles.evaluate_precise(*a, x), size=3, condition=4)


def test_derivatives_are_those_of_differences():
    a, _ = pair(2)
    x, h = np.random.default_rng(5).uniform(-2, 2, (4, 2)), 1e-5
    gradients, hessians = oracles.derivatives(*a, x)
    for axis, e in enumerate(np.eye(2) * h):
        slope = (oracles.evaluate(*a, x + e) - oracles.evaluate(*a, x - e)) / (2 * h)
        assert_close("quadrature", gradients[:, axis], slope, scale=1.0)
        bend = (oracles.derivatives(*a, x + e)[0] - oracles.derivatives(*a, x - e)[0]) / (2 * h)
        assert_close("quadrature", hessians[:, :, axis], bend, scale=1.0)


def test_a_conditional_has_the_values_of_its_slice():
    w, mu, c = gms.random_mixture(6, (), 4, 3, absent=0.2).arrays
    slice_ = oracles.conditional(w, mu, c, [2, 0], [0.3, -0.2])
    x = np.linspace(-2, 2, 5)
    whole = oracles.evaluate(w, mu, c, np.stack([np.full(5, -0.2), x, np.full(5, 0.3)], axis=-1))
    assert_close("solve", oracles.evaluate(*slice_, x[:, None]), whole, size=4, condition=100)


def test_a_pushed_mixture_has_the_values_that_were_there():
    w, mu, c = gms.random_mixture(7, (), 4, 2, absent=0.2).arrays
    matrix, shift = np.array([[1.0, 0.5], [0.0, 2.0]]), np.array([0.3, -0.2])
    x = np.random.default_rng(8).uniform(-2, 2, (5, 2))
    pushed = oracles.push_forward(w, mu, c, matrix, shift)
    assert_close(
        "solve",
        oracles.evaluate(*pushed, x @ matrix.T + shift) * 2,
        oracles.evaluate(w, mu, c, x),
        condition=100,
    )


def test_a_grid_over_nothing_is_empty():
    points, volume = oracles.grid_over(gms.random_mixture(9, (), 3, 2, degenerate="all_absent").arrays)
    assert (points.shape, volume) == ((0, 2), 0.0)


@pytest.mark.parametrize(("gap", "joined"), [(1.0, False), (1.0 - 1e-9, True), (1.0 + 1e-9, False)])
def test_the_tree_joins_what_diverges_by_less_than_one_half_beyond_rounding(gap, joined):
    """Unit variances at distance 1 diverge by exactly 1/2: that is not less, whatever rounding says."""
    shares = tree_oracle._shares(
        (1.0, np.array([0.0]), np.eye(1)),
        [(1.0, np.array([0.0]), np.eye(1)), (1.0, np.array([gap]), np.eye(1))],
        2.0,
        2.0**-52,
    )
    assert (shares[1] > 0) == joined

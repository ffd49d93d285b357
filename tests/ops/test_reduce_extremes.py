"""Reductions of what rounding makes singular, and plans applied to other mixtures than they were made for."""

from __future__ import annotations

import numpy as np
import pytest

import gmengine as gm
from gmengine.errors import NonFiniteError
from gmengine.testing import assert_close, pull_back


def in_a_row(distance, tilt):
    """Return 18 unit components on a line, `distance` apart: merged, they are singular to within rounding."""
    t = np.arange(1.0, 19.0)[:, None]
    return gm.Mixture(np.ones(18), t * [distance, tilt * distance], np.tile(np.eye(2), (18, 1, 1)))


@pytest.mark.parametrize("method", ["tree_hem", "em", "hem"])
@pytest.mark.parametrize("tilt", [0.3, 0.7])
@pytest.mark.parametrize("distance", [1e4, 1e8, 1e9])
def test_far_components_keep_their_mass_and_mean(method, tilt, distance):
    m = in_a_row(distance, tilt)
    for n in (1, 2, 7):
        small = gm.reduce(m, n, method=method)
        assert np.count_nonzero(small.weights) == n
        assert_close("moments", small.weights.sum(), np.float64(18.0), size=18)
        want = m.means.mean(axis=0)
        assert_close("moments", small.weights @ small.means / 18.0, want, size=18, scale=19.0 * distance)


@pytest.mark.parametrize("method", ["em", "hem"])
def test_what_em_returns_is_positive_definite(method):
    small = gm.reduce(in_a_row(1e9, 0.7), 3, method=method)
    small.check()
    _, (slope,) = pull_back(lambda a: gm.reduce(a, 3, method=method), in_a_row(1e9, 0.7))
    assert all(np.all(np.isfinite(a)) for a in slope.arrays)


@pytest.mark.parametrize("method", ["tree_hem", "em", "hem", "top"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_plan_applied_to_a_weight_that_is_nan_is_an_error(method, place):
    rng = np.random.default_rng(0)
    m = gm.Mixture.isotropic(np.array([2.0, -1.0, 3.0, 1.0]), rng.normal(size=(4, 2)), 1.0)
    plan = gm.plan(m, 2, method=method)
    weights = m.weights.copy()
    weights[place] = np.nan
    with pytest.raises(NonFiniteError, match=rf"\[{place}\]"):
        gm.apply(gm.Mixture(weights, m.means, m.covariances), plan)


def test_top_leaves_out_what_is_no_longer_there():
    m = gm.Mixture.isotropic(np.array([2.0, -1.0, 3.0]), np.zeros((3, 1)), 1.0)
    plan = gm.plan(m, 2, method="top")
    now = gm.Mixture(np.array([2.0, 5.0, 0.0]), m.means, m.covariances)
    small, (slope,) = pull_back(lambda a: gm.apply(a, plan), now)
    assert sorted(small.weights) == [0.0, 2.0]
    assert slope.weights[2] == 0.0
    assert not slope.means[2].any()

"""Random linear maps of data."""

import numpy as np
import pytest

import gmengine as gm
from gmengine.data import random_linear
from gmengine.errors import ArgumentError
from gmengine.testing.strategies import random_mixture


def mixtures(batch=(4, 2), n=5, dim=2, seed=0):
    return random_mixture(seed, batch, n, dim)


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_values_move_with_the_map(dim):
    m = mixtures(dim=dim)
    moved = random_linear(m, 0.1, rng=3)
    maps = np.eye(dim) + 0.1 * np.random.default_rng(3).standard_normal((4, dim, dim))
    x = np.random.default_rng(1).standard_normal((4, 1, 7, dim))
    there = np.einsum("bij,bcpj->bcpi", maps, x)
    got = gm.evaluate(moved, there) * np.abs(np.linalg.det(maps))[:, None, None]
    np.testing.assert_allclose(got, gm.evaluate(m, x), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(moved.weights, m.weights)


def test_the_same_seed_gives_the_same_maps_and_samples_get_their_own():
    m = mixtures()
    same = gm.Mixture(*(np.broadcast_to(a[:1], a.shape).copy() for a in m.arrays))
    one, two = random_linear(same, 0.1, rng=0), random_linear(same, 0.1, rng=0)
    np.testing.assert_array_equal(one.means, two.means)
    assert not np.allclose(one.means[0], one.means[1])


def test_dtype_stays_and_covariances_stay_symmetric():
    m = random_linear(mixtures().astype("float32"), 0.2, rng=0)
    assert m.dtype == np.float32
    np.testing.assert_array_equal(m.covariances, np.swapaxes(m.covariances, -1, -2))
    m.check()


def test_no_strength_changes_nothing_and_too_much_is_refused():
    m = mixtures()
    assert random_linear(m, 0.0) is m
    for strength in (-0.1, 0.5, float("nan")):
        with pytest.raises(ArgumentError, match="strength"):
            random_linear(m, strength)

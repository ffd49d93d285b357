"""sample: random points of mixtures."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite
from gmengine.mixture import Mixture
from gmengine.ops.moments import moments
from gmengine.ops.sample import _components, sample
from gmengine.testing import assert_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

SIGMAS = 5.0
"""How many standard errors a statistic of random points may be off: once in two million draws of the seed."""


def density(seed, batch=(), n=4, dim=2, **options):
    return gms.random_mixture(seed, batch, n, dim, signed=False, **options)


def test_components_come_as_often_as_their_weights_say():
    m, n = density(1, (2,), 5, absent=0.2), 20_000
    _, drawn = sample(m, n, 2, return_components=True)
    for b in range(2):
        share = m.weights[b] / m.weights[b].sum()
        counts = np.bincount(drawn[b], minlength=5)
        assert np.all(np.abs(counts - n * share) <= SIGMAS * np.sqrt(n * share * (1 - share)))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_points_of_a_component_are_normal(dim):
    m = density(3, (), 3, dim)
    points, drawn = sample(m, 20_000, 4, return_components=True)
    for i in range(3):
        factor = np.linalg.cholesky(m.covariances[i])
        z = np.linalg.solve(factor, (points[drawn == i] - m.means[i]).T)
        n = z.shape[1]
        assert np.all(np.abs(z.mean(-1)) <= SIGMAS / np.sqrt(n))
        # Entries of z z^T have variance 1, on the diagonal 2.
        assert np.all(np.abs(z @ z.T / n - np.eye(dim)) <= SIGMAS * np.sqrt((1 + np.eye(dim)) / n))
        assert abs(np.mean(z**4) - 3.0) <= SIGMAS * np.sqrt(96.0 / (n * dim))


def test_the_mean_of_points_is_the_mean_of_the_mixture():
    m = density(5, (2, 3), absent=0.2)
    n = 5_000
    points = sample(m, n, 6)
    _, mean, covariance = moments(m)
    error = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1) / n)
    assert np.all(np.abs(points.mean(-2) - mean) <= SIGMAS * error)


def test_the_order_of_points_is_random():
    _, drawn = sample(density(7, (), 2), 2_000, 8, return_components=True)
    share = np.bincount(drawn, minlength=2) / 2_000
    changes = np.mean(drawn[1:] != drawn[:-1])
    expected = 2 * share[0] * share[1]
    assert abs(changes - expected) <= SIGMAS * np.sqrt(expected / 2_000)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("batch", "n"), [((), 0), ((2, 3), 4), ((0,), 3)])
def test_shapes_and_dtype(backend, batch, n, dtype):
    m = backend.asarray(density(9, batch, dim=3, dtype=dtype))
    points, drawn = sample(m, n, 1, return_components=True)
    assert (points.shape, str(points.dtype)) == ((*batch, n, 3), dtype)
    assert (drawn.shape, str(drawn.dtype)) == ((*batch, n), "int64")


def test_a_seed_gives_the_same_points_in_both_precisions_and_on_every_device(backend):
    m = density(10, (2,), absent=0.2)
    first, again = sample(m, 50, 3), sample(m, 50, np.random.default_rng(3))
    assert_close("exact", first, again)
    assert not np.any(first == sample(m, 50, 4))
    single = sample(backend.asarray(m.astype("float32")), 50, 3)
    assert_close("sum", single, first, size=2)
    assert_close("sum", sample(backend.asarray(m), 50, 3), first, size=2)


def test_without_a_seed_points_differ():
    m = density(11)
    assert not np.any(sample(m, 5) == sample(m, 5))


def test_the_scale_of_the_weights_does_not_matter():
    m = density(12)
    assert_close("exact", sample(m * 4.0, 20, 1), sample(m, 20, 1))


def test_weights_that_span_the_whole_range_draw_the_large_ones():
    m = density(13, (), 3)
    m.weights[:] = [1e-300, 1.0, 1e-300]
    _, drawn = sample(m, 1_000, 1, return_components=True)
    assert np.all(drawn == 1)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_gradients_of_means_and_covariances_are_those_of_finite_differences(dim):
    m = density(14, (2,), 3, dim, absent=0.2)

    def points(means, covariances):
        return sample(Mixture(m.weights, means, covariances), 7, 15)

    check_vjp(points, m.means, m.covariances, symmetric=(1,))


def test_no_gradient_reaches_weights_or_absent_components():
    m = laws.padded(density(16, (2,)), 3, 1e30)

    def points(m):
        return {"points": sample(m, 20, 17), "weights": 0.0 * m.weights}

    _, (grads,) = pull_back(points, m)
    assert_close("exact", grads.weights, np.zeros_like(m.weights))
    assert np.all(grads.means[:, :4] != 0)
    for g in (grads.means, grads.covariances):
        assert_close("exact", g[:, 4:], np.zeros_like(g[:, 4:]))
    assert_close("exact", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


def test_the_pathwise_gradient_is_that_of_the_expectation():
    m, n = density(18, (), 3, 1), 20_000
    _, (grads,) = pull_back(
        lambda m: {"x": sample(m, n, 19), "w": 0.0 * m.weights},
        m,
        cotangent=[np.ones((n, 1)) / n, np.zeros(3)],
    )
    share = m.weights / m.weights.sum()
    assert np.all(np.abs(grads.means[:, 0] - share) <= SIGMAS * np.sqrt(share * (1 - share) / n))


def test_absent_components_are_never_drawn_nor_read():
    m = density(20, (2,))
    for garbage in (0.0, -1.0, np.nan):
        front = laws.permuted(laws.padded(m, 3, garbage), [4, 0, 1, 5, 2, 3, 6])
        points, drawn = sample(front, 500, 21, return_components=True)
        assert_close("exact", points, sample(m, 500, 21))
        assert set(np.unique(drawn)) == {1, 2, 4, 5}


@pytest.mark.parametrize(("uniform", "component"), [(0.0, 1), (1.0 - 2.0**-53, 3), (1.0, 3)])
def test_the_ends_of_the_unit_interval_belong_to_present_components(uniform, component):
    class Fixed:
        def random(self, shape):
            return np.full(shape, uniform)

    for weights in ([0.0, 0.1, 0.2, 0.3, 0.0], [0.0, 1e-300, 1.0, 1e300, 0.0]):
        drawn = _components(np.array(weights), 2, Fixed())
        assert drawn.tolist() == [component, component]


def test_what_is_no_density_is_named():
    m = density(22, (2, 3))
    m.weights[1, 2, 0] = -0.25
    with pytest.raises(ArgumentError, match=r"sample.*mixture \[1, 2\] has the weight -0.25"):
        sample(m, 3)
    m.weights[1, 2] = 0.0
    with pytest.raises(ArgumentError, match=r"sample: mixture \[1, 2\] has no present component"):
        sample(m, 3)
    with pytest.raises(ArgumentError, match="no present component"):
        sample(density(23, (), 0), 3)
    with pytest.raises(ArgumentError, match="n >= 0, got -1"):
        sample(density(24), -1)


def test_an_invalid_component_is_named():
    m = density(25, (2,))
    m.weights[1, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"sample.*\[1, 2\]"):
        sample(m, 3)
    m = density(26, (2,))
    m.covariances[0, 3] *= -1
    with pytest.raises(NotPositiveDefinite, match=r"sample.*\[0, 3\]"):
        sample(m, 3)


def test_inputs_are_not_changed():
    m = density(27, absent=0.3)
    before = [a.copy() for a in m.arrays]
    sample(m, 3, 1)
    for a, b in zip(m.arrays, before, strict=True):
        assert_close("exact", a, b)
    assert oracles.present(m.weights) == oracles.present(before[0])

"""Leaving out what no point can feel: values are those of all pairs, up to rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.cpu._tiles import MARGIN
from gmengine.cpu._values import LEAST_COMPONENTS, LEAST_POINTS, values_planned
from gmengine.cpu.evaluate import _every_pair as values_dense
from gmengine.cpu.evaluate import forward
from gmengine.errors import NotPositiveDefinite
from gmengine.testing import assert_close, tolerances
from gmengine.testing import strategies as gms
from gmengine.threads import kernel_threads

ALL = (1.0, 1.0)  # plan whatever the mixture is like
CASES = [(1, "float32"), (2, "float32"), (3, "float32"), (5, "float32"), (2, "float64")]  # each is compiled


def close_to_dense(weights, means, covariances, points):
    inputs = weights, means, covariances, points
    dense, (planned, sparse) = values_dense(*inputs), values_planned(*inputs, few=ALL)
    assert planned.dtype == weights.dtype
    assert np.array_equal(sparse, np.any(weights != 0, axis=1))
    size = values_dense(np.abs(weights), *inputs[1:])
    assert_close("sum", planned, dense, size=weights.shape[1], scale=size + np.finfo(size.dtype).tiny)
    return planned


def spread_out(seed, n, points, dim, dtype, sigma=0.02):
    rng = np.random.default_rng(seed)
    factors = sigma * (0.4 * rng.standard_normal((2, n, dim, dim)) + np.eye(dim))
    covariances = factors @ np.swapaxes(factors, -1, -2) + 0.1 * sigma**2 * np.eye(dim)
    arrays = (
        rng.standard_normal((2, n)),
        rng.uniform(size=(2, n, dim)),
        covariances,
        rng.uniform(size=(2, points, dim)),
    )
    return tuple(a.astype(dtype) for a in arrays)


@given(st.data())
@pytest.mark.parametrize(("dim", "dtype"), CASES)
def test_planned_values_are_those_of_all_pairs(dim, dtype, data):
    m = data.draw(gms.mixtures(dim=dim, dtype=dtype, absent=0.2))
    stretch = data.draw(st.sampled_from([1.0, 10.0, 1000.0]))
    m = m.reshape((int(np.prod(m.batch)),))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    points = np.asarray(stretch * rng.uniform(-3, 3, (len(m), data.draw(st.integers(1, 150)), m.dim)), dtype)
    means = (stretch * m.means).astype(dtype)
    if m.n_components:
        points[:, : means.shape[1]] = means[:, : points.shape[1]]
        close_to_dense(m.weights, means, m.covariances, points)


@pytest.mark.parametrize(("dim", "dtype"), CASES)
def test_spread_out_mixtures_lose_nothing(dtype, dim):
    close_to_dense(*spread_out(1, 700, 1000, dim, dtype))


@pytest.mark.parametrize("share", [1e-1, 1e-4, 1e-9])
def test_what_is_left_out_stays_within_the_proved_bound(share):
    inputs = spread_out(7, 600, 900, 2, "float64", sigma=0.1)
    n = inputs[0].shape[1]
    planned, _ = values_planned(*inputs, few=ALL, slack=np.log2(share / n) - MARGIN)
    size = values_dense(np.abs(inputs[0]), *inputs[1:])
    lost = np.abs(planned - values_dense(*inputs))
    rounding = tolerances.tolerance("sum", "float64", size=n)
    assert np.all(lost <= (2.0**-MARGIN * share + rounding) * size + np.finfo(np.float64).tiny)
    assert np.any(lost > rounding * size)  # else nothing was left out, and nothing tested


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_the_void_values_are_exactly_zero(dtype):
    weights, means, covariances, points = spread_out(2, 330, 400, 2, dtype)
    assert np.all(close_to_dense(weights, means, covariances, points + 100.0) == 0.0)


def test_a_faint_far_component_counts_where_nothing_else_does():
    weights = np.array([[1.0, 1e-12]])
    means = np.array([[[0.0, 0.0], [40.0, 0.0]]])
    covariances = np.broadcast_to(np.eye(2), (1, 2, 2, 2)).copy()
    points = np.stack(np.meshgrid(np.linspace(-5, 45, 40), np.linspace(-5, 5, 8)), -1).reshape(1, -1, 2)
    close_to_dense(weights, means, covariances, points)


def test_ties_padding_and_coinciding_points_are_planned_too():
    weights, means, covariances, points = spread_out(3, 400, 321, 2, "float32")
    means[:, 1::2] = means[:, ::2]
    weights[:, ::3], covariances[:, ::3] = 0.0, 0.0
    points[:, 100:] = points[:, :1]
    close_to_dense(weights, means, covariances, points)
    weights[1] = 0.0
    assert np.all(close_to_dense(weights, means, covariances, points)[1] == 0.0)


def test_planned_bits_do_not_depend_on_threads_or_neighbours():
    inputs = spread_out(4, 1030, 2500, 2, "float32")
    with kernel_threads(1):
        one, _ = values_planned(*inputs)
    with kernel_threads(2):
        two, _ = values_planned(*inputs)
    assert np.array_equal(one, two)
    for m in range(2):
        alone, _ = values_planned(*(a[m : m + 1] for a in inputs))
        assert np.array_equal(alone[0], one[m])


def test_large_spread_out_mixtures_are_planned_and_crowded_ones_are_not():
    weights, means, covariances, points = spread_out(
        5, LEAST_COMPONENTS, LEAST_POINTS, 2, "float32", sigma=0.005
    )
    weights, means, points = weights[:1], means[:1], points[:1]
    narrow, broad = covariances[:1], 1e6 * covariances[:1]
    planned, sparse = values_planned(weights, means, narrow, points)
    assert sparse.all()
    assert np.array_equal(forward(weights, means, narrow, points)[0], planned)
    planned, sparse = values_planned(weights, means, broad, points)
    assert not sparse.any()
    assert np.array_equal(forward(weights, means, broad, points)[0], planned)
    assert np.array_equal(values_dense(weights, means, broad, points), planned)


def test_a_faulty_component_of_a_large_mixture_is_named():
    weights, means, covariances, points = spread_out(6, LEAST_COMPONENTS, LEAST_POINTS, 2, "float32")
    covariances[1, 7] = 0.0
    with pytest.raises(NotPositiveDefinite, match=r"\[1, 7\]"):
        forward(weights, means, covariances, points)

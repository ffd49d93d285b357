"""concat_channels, sum_channels, channel_dropout: the last batch axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError, DTypeError, ShapeError
from gmengine.ops.channels import channel_dropout, concat_channels, sum_channels
from gmengine.ops.evaluate import evaluate
from gmengine.testing import assert_close, assert_mixtures_close, laws, pull_back
from gmengine.testing import strategies as gms

# --- concat -------------------------------------------------------------------------------------------------


def test_channels_stand_side_by_side(backend):
    parts = [
        gms.random_mixture(i, (2, c), n, 2, absent=0.2) for i, (c, n) in enumerate(((1, 3), (2, 5), (1, 5)))
    ]
    got = backend.asnumpy(concat_channels([backend.asarray(p) for p in parts]))
    assert (got.batch, got.n_components) == ((2, 4), 5)
    assert_mixtures_close("exact", got[:, 0, None], laws.padded(parts[0], 2))
    assert_mixtures_close("exact", got[:, 1:3], parts[1])
    assert_mixtures_close("exact", got[:, 3:], parts[2])
    got.check()


def test_batches_before_the_channels_broadcast():
    a, b = gms.random_mixture(1, (3, 1, 2), 3, 2), gms.random_mixture(2, (4, 1), 3, 2)
    got = concat_channels([a, b])
    assert got.batch == (3, 4, 3)
    assert_mixtures_close("exact", got[:, 2, :2], a[:, 0])
    assert_mixtures_close("exact", got[1, :, 2:], b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_mixture_comes_back_and_dtype_is_kept(dtype):
    m = gms.random_mixture(3, (2,), 3, 2, dtype=dtype)
    assert_mixtures_close("exact", concat_channels([m]), m)
    assert concat_channels([m, laws.padded(m, 1)]).dtype == np.dtype(dtype)


def test_without_components_a_channel_is_all_padding():
    got = concat_channels([gms.random_mixture(4, (1,), 0, 2), gms.random_mixture(5, (1,), 2, 2)])
    assert np.count_nonzero(got.weights, axis=-1).tolist() == [0, 2]


def test_what_cannot_stand_side_by_side_is_named():
    m = gms.random_mixture(6, (2, 1), 3, 2)
    with pytest.raises(ArgumentError, match="at least one"):
        concat_channels([])
    for other in (gms.random_mixture(7, (2, 1), 3, 3), m[0, 0], gms.random_mixture(8, (3, 1), 3, 2)):
        with pytest.raises(ShapeError, match="concat_channels"):
            concat_channels([m, other])
    with pytest.raises(DTypeError):
        concat_channels([m, m.astype("float32")])


# --- sum ----------------------------------------------------------------------------------------------------


@given(st.data())
def test_the_sum_of_channels_is_the_sum_of_functions(backend, data):
    m = data.draw(gms.mixtures(batch=(2, 3), absent=0.2, degenerate=True))
    x = backend.asarray(data.draw(gms.points(dim=m.dim)))
    got = backend.asnumpy(evaluate(sum_channels(backend.asarray(m)), x))
    apart = backend.asnumpy(evaluate(backend.asarray(m), x)).sum(1)
    scale = np.broadcast_to(laws.spread(m).sum(1), apart.shape)
    assert_close("solve", got, apart, size=3 * m.n_components, condition=10.0, scale=scale)


def test_components_keep_their_order_channel_after_channel():
    m = gms.random_mixture(9, (2, 3), 4, 2)
    got = sum_channels(m)
    assert (got.batch, got.n_components) == ((2,), 12)
    for i in range(3):
        assert_close("exact", got.means[:, 4 * i : 4 * i + 4], m.means[:, i])
    assert sum_channels(gms.random_mixture(10, (0,), 4, 2)).n_components == 0


# --- dropout ------------------------------------------------------------------------------------------------


def test_a_channel_is_kept_whole_and_scaled_or_dropped_whole(backend):
    m = gms.random_mixture(11, (50, 4), 3, 2)
    got = backend.asnumpy(channel_dropout(backend.asarray(m), 0.25, 12))
    kept = np.any(got.weights != 0, axis=-1)
    assert_close("elementwise", got.weights, np.where(kept[..., None], m.weights / 0.75, 0.0))
    assert_close("exact", got.means[kept], m.means[kept])
    dropped = np.count_nonzero(~kept)
    assert abs(dropped - 50) <= 5 * np.sqrt(200 * 0.25 * 0.75)


def test_a_seed_drops_the_same_channels():
    m = gms.random_mixture(13, (20, 4), 3, 2)
    a, b, c = (channel_dropout(m, 0.5, seed).weights for seed in (1, np.random.default_rng(1), 2))
    assert_close("exact", a, b)
    assert np.any(a != c)


def test_the_expectation_is_the_mixture():
    m, n = gms.random_mixture(14, (3,), 2, 2), 1_000
    rng = np.random.default_rng(15)
    mean = np.mean([channel_dropout(m, 0.5, rng).weights for _ in range(n)], axis=0)
    assert np.all(np.abs(mean - m.weights) <= 5 * np.abs(m.weights) / np.sqrt(n))


def test_rate_zero_draws_nothing():
    m, rng = gms.random_mixture(16, (3,), 2, 2), np.random.default_rng(17)
    assert channel_dropout(m, 0.0, rng) is m
    assert rng.random() == np.random.default_rng(17).random()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_the_rate_may_be_a_number_of_any_kind(kind, dtype):
    m = gms.random_mixture(18, (8,), 2, 2, dtype=dtype)
    got = channel_dropout(m, kind(0.25), 3)
    assert_mixtures_close("exact", got, channel_dropout(m, 0.25, 3))
    assert got.dtype == m.dtype


@pytest.mark.parametrize(
    "rate", [-0.1, 1.0, 1.5, np.nan, np.float32(1.0), "0.5", None, 0.5j, np.array([0.5])]
)
def test_other_rates_are_refused(rate):
    with pytest.raises(ArgumentError, match="channel_dropout: expected 0 <= rate < 1"):
        channel_dropout(gms.random_mixture(18, (2,), 2, 2), rate)


def test_absent_components_stay_absent_and_the_dropped_ones_get_no_gradient():
    m = laws.padded(gms.random_mixture(19, (20, 2), 3, 2), 2, 1e30)
    got, (grads,) = pull_back(lambda m: channel_dropout(m, 0.5, 20), m)
    assert np.all(got.weights[..., 3:] == 0)
    gone = got.weights == 0
    assert 0 < np.count_nonzero(gone) < gone.size
    for g in grads.arrays:
        assert_close("exact", g[gone], np.zeros_like(g[gone]))
    assert_close("exact", grads.means[~gone] != 0, np.ones((np.count_nonzero(~gone), 2), bool))


# --- all ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_gradients_are_those_of_finite_differences(dim):
    a, b = (gms.random_mixture(21 + i, (2, i + 1), 2 + i, dim, absent=0.2) for i in range(2))
    check_vjp(lambda a, b: concat_channels([a, b, a]), a, b)
    check_vjp(sum_channels, b)
    check_vjp(lambda m: channel_dropout(m, 0.5, 23), b)


@pytest.mark.parametrize(
    "op", [sum_channels, lambda m: channel_dropout(m, 0.5), lambda m: concat_channels([m])]
)
def test_a_mixture_without_channels_is_refused(op):
    with pytest.raises(ShapeError, match="channel"):
        op(gms.random_mixture(24, (), 3, 2))

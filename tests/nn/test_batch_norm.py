"""Batch normalisation: against NumPy, scale-free, and its running averages."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.autograd import check_vjp
from gmengine.nn import BatchNorm
from gmengine.testing import assert_close

NORM = BatchNorm(features=3)


def batch(seed=0, size=8, dtype="float64"):
    return np.random.default_rng(seed).normal([1.0, -5.0, 0.1], [2.0, 0.5, 1.0], (size, 3)).astype(dtype)


def params(dtype="float64"):
    return {"gamma": np.array([1.0, 0.5, -2.0], dtype), "beta": np.array([0.0, 3.0, 1.0], dtype)}


def reference(x, mean, variance):
    unit = (x - mean) / np.sqrt(variance + NORM.eps * (variance + mean**2))
    return unit * [1.0, 0.5, -2.0] + [0.0, 3.0, 1.0]


def test_training_normalises_by_the_batch():
    x = batch()
    y, state = NORM.apply(params(), NORM.init("float64")[1], x, training=True)
    assert_close("sum", y, reference(x, x.mean(axis=0), x.var(axis=0)), size=8)
    unit = (y - params()["beta"]) / params()["gamma"]
    assert_close("sum", unit.mean(axis=0), np.zeros(3), size=8, scale=10.0)
    assert np.abs(unit.std(axis=0) - 1.0).max() < 2e-3  # eps is relative to the mean square
    assert_close("elementwise", state["mean"] / state["seen"], x.mean(axis=0))


def test_evaluation_uses_debiased_running_averages():
    state, means, variances = NORM.init("float64")[1], [], []
    for seed in range(5):
        x = batch(seed)
        _, state = NORM.apply(params(), state, x, training=True)
        means.append(x.mean(axis=0))
        variances.append(x.var(axis=0))
    share = 0.7 ** np.arange(5)[::-1]
    mean, variance = (np.average(a, axis=0, weights=share) for a in (means, variances))
    x = batch(99)
    y, same = NORM.apply(params(), state, x)
    assert_close("sum", y, reference(x, mean, variance), size=16, scale=10.0)
    assert all(same[name] is state[name] for name in state)


def test_one_batch_seen_is_treated_alike_in_training_and_evaluation():
    x, state = batch(), NORM.init("float64")[1]
    for _ in range(3):
        trained, state = NORM.apply(params(), state, x, training=True)
        assert_close("sum", NORM.apply(params(), state, x)[0], trained, size=8, scale=10.0)


def test_running_averages_converge_to_the_population():
    state = NORM.init("float64")[1]
    for seed in range(200):
        _, state = BatchNorm(3, momentum=0.02).apply(params(), state, batch(seed, size=50), training=True)
    assert np.abs(state["mean"] / state["seen"] - [1.0, -5.0, 0.1]).max() < 0.1
    assert np.abs(np.sqrt(state["variance"] / state["seen"]) - [2.0, 0.5, 1.0]).max() < 0.1


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**40])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_unit_of_the_integrals_does_not_matter(dtype, factor):
    x, state = batch(dtype=dtype), NORM.init(dtype)[1]
    y, state_of_x = NORM.apply(params(dtype), state, x, training=True)
    z, state_of_z = NORM.apply(params(dtype), state, (x * factor).astype(dtype), training=True)
    assert y.dtype == np.dtype(dtype)
    assert_close("elementwise", z, y)
    later = NORM.apply(params(dtype), state_of_z, (x * factor).astype(dtype))[0]
    assert_close("elementwise", later, NORM.apply(params(dtype), state_of_x, x)[0])


def test_batches_without_spread_are_finite():
    for x in (batch(size=1), np.zeros((4, 3)), np.full((4, 3), 7.0)):
        y, state = NORM.apply(params(), NORM.init("float64")[1], x, training=True)
        assert_close("sum", y, np.broadcast_to(params()["beta"], y.shape).copy(), scale=1e3)
        assert all(np.isfinite(a).all() for a in state.values())


def test_gradients_are_those_of_finite_differences():
    state = NORM.apply(params(), NORM.init("float64")[1], batch(), training=True)[1]
    for training in (True, False):
        check_vjp(lambda x, p, t=training: NORM.apply(p, state, x, t)[0], batch(1), params())

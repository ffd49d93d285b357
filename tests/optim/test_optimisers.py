"""Adam and SGD: one table of optimisers, written-out formulas, contracts."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from gmengine.autograd import value_and_grad
from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError
from gmengine.optim import SGD, Adam
from gmengine.testing import assert_close

OPTIMISERS = {
    "adam": (Adam(lr=0.05), 1000),
    "adam without memory": (Adam(lr=0.01, betas=(0.0, 0.99)), 3000),
    "sgd": (SGD(lr=1.5e-3), 8000),
    "sgd with momentum": (SGD(lr=1e-3, momentum=0.9), 1500),
}


def parabola(p):
    return ((p["a"] - 1.0) ** 2).sum() + 10.0 * ((p["b"] + 2.0) ** 2).sum()


def rosenbrock(p):
    return ((1.0 - p["a"]) ** 2 + 100.0 * (p["b"] - p["a"] ** 2) ** 2).sum()


TARGETS = {"parabola": (parabola, {"a": 1.0, "b": -2.0}), "rosenbrock": (rosenbrock, {"a": 1.0, "b": 1.0})}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_finds_the_minimum(name, target):
    (optimiser, n_steps), (function, minimum) = OPTIMISERS[name], TARGETS[target]
    params = {"a": np.array([0.7, 1.2]), "b": np.array([0.5, 1.3])}
    state, slope = optimiser.init(params), value_and_grad(function)
    for step in range(n_steps):
        value, grads = slope(params)
        # Adam's steps have the size of its rate, whatever the gradient: only a falling rate lets it settle
        params, state = optimiser.update(params, grads, state, scale=1.0 - step / n_steps)
    assert value < 2e-3
    for key, where in minimum.items():
        assert np.abs(params[key] - where).max() < 0.05


def gradients(n_steps, dtype="float64"):
    rng = np.random.default_rng(1)
    return [{"w": rng.standard_normal((2, 3)).astype(dtype)} for _ in range(n_steps)]


def test_adam_makes_the_steps_of_its_paper():
    params, lr, b1, b2, eps = {"w": np.full((2, 3), 0.5)}, 0.02, 0.8, 0.95, 1e-4
    adam = Adam(lr, (b1, b2), eps)
    state = adam.init(params)
    p, m, v = 0.5, 0.0, 0.0
    for t, grads in enumerate(gradients(7), start=1):
        params, state = adam.update(params, grads, state, scale=1 / t)
        g = grads["w"]
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        p = p - lr / t * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        assert_close("elementwise", params["w"], p, scale=1.0)
    assert state.step == 7


def test_sgd_makes_steps_against_the_velocity():
    params = {"w": np.full((2, 3), 0.5)}
    sgd = SGD(lr=0.1, momentum=0.7)
    state = sgd.init(params)
    p, v = 0.5, 0.0
    for grads in gradients(7):
        params, state = sgd.update(params, grads, state, scale=0.5)
        v = 0.7 * v + grads["w"]
        p = p - 0.05 * v
        assert_close("elementwise", params["w"], p, scale=1.0)
    assert state.step == 7


def test_the_first_step_of_adam_has_the_size_of_its_rate():
    params = {"w": np.array([1.0, 1.0, 1.0])}
    adam = Adam(lr=0.125)
    new, _ = adam.update(params, {"w": np.array([3.0, -1e-3, 1e6])}, adam.init(params))
    assert np.abs(new["w"] - [0.875, 1.125, 0.875]).max() < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimiser", [Adam(), SGD(lr=0.1), SGD(lr=0.1, momentum=0.5)], ids=repr)
def test_updates_are_pure_keep_the_dtype_and_repeat(optimiser, dtype):
    params, (grads,) = {"w": np.ones((2, 3), dtype)}, gradients(1, dtype)
    state = optimiser.init(params)
    before = params["w"].copy(), grads["w"].copy()
    # a NumPy float64 scale would promote float32 arrays if it were multiplied as it comes
    new, then = optimiser.update(params, grads, state, scale=np.float64(0.5))
    again, _ = optimiser.update(params, grads, state, scale=0.5)
    assert new["w"].dtype == np.dtype(dtype)
    assert state.step == 0
    assert then.step == 1
    np.testing.assert_array_equal(new["w"], again["w"])
    np.testing.assert_array_equal(params["w"], before[0])
    np.testing.assert_array_equal(grads["w"], before[1])
    assert not np.array_equal(new["w"], params["w"])
    for group in then[1:]:
        assert all(array.dtype == np.dtype(dtype) for array in group.values())


@pytest.mark.parametrize("optimiser", [Adam(), SGD(lr=0.1), SGD(lr=0.1, momentum=0.5)], ids=repr)
def test_any_array_library_serves(optimiser):
    params, (grads,) = {"w": np.ones((2, 3))}, gradients(1)
    want, _ = optimiser.update(params, grads, optimiser.init(params))
    strict = [{name: array_api_strict.asarray(a) for name, a in tree.items()} for tree in (params, grads)]
    got, _ = optimiser.update(*strict, optimiser.init(strict[0]))
    assert type(got["w"]) is type(strict[0]["w"])
    np.testing.assert_array_equal(np.asarray(got["w"]), want["w"])


@pytest.mark.parametrize("optimiser", [Adam(), SGD(lr=0.1, momentum=0.5)], ids=repr)
def test_what_does_not_fit_is_named(optimiser):
    params, (grads,) = {"w": np.ones((2, 3))}, gradients(1)
    state = optimiser.init(params)
    with pytest.raises(ArgumentError, match=r"missing \['w'\], unexpected \['v'\]"):
        optimiser.update(params, {"v": grads["w"]}, state)
    with pytest.raises(ArgumentError, match=r"state.*missing \['w'\]"):
        optimiser.update(params, grads, optimiser.init({}))
    with pytest.raises(ArgumentError, match="scale"):
        optimiser.update(params, grads, state, scale=-1.0)
    with pytest.raises(ShapeError, match=r"'w' has shape \(2, 3\), its gradient \(3,\)"):
        optimiser.update(params, {"w": np.ones(3)}, state)
    with pytest.raises(DTypeError, match="'w' is float64"):
        optimiser.update(params, {"w": np.ones((2, 3), np.float32)}, state)
    for bad in (np.nan, np.inf):
        broken = grads["w"].copy()
        broken[1, 2] = bad
        with pytest.raises(NonFiniteError, match="'w'"):
            optimiser.update(params, {"w": broken}, state)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Adam(lr=0.0), "lr"),
        (lambda: Adam(lr=np.nan), "lr"),
        (lambda: Adam(betas=(1.0, 0.9)), r"betas\[0\]"),
        (lambda: Adam(betas=(0.9, -0.1)), r"betas\[1\]"),
        (lambda: Adam(eps=0.0), "eps"),
        (lambda: SGD(lr=-1.0), "lr"),
        (lambda: SGD(lr=1.0, momentum=1.0), "momentum"),
    ],
)
def test_fields_out_of_range_are_named(make, field):
    with pytest.raises(ArgumentError, match=f"expected {field} in"):
        make()

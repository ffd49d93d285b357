"""Running averages as values: bias-corrected, so that they are right from the first batch on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gmengine.autograd import value_of
from gmengine.backend import Array, namespace

State = Mapping[str, Array]
"""Named running sums, and under "seen" the sum of the weights that entered them."""


def new_average(dtype: str, **shapes: tuple[int, ...]) -> dict[str, Array]:
    """Return the state of running averages that have seen nothing: NumPy zeros, and "seen" of shape (1,)."""
    return {name: np.zeros(shape, dtype=dtype) for name, shape in {**shapes, "seen": (1,)}.items()}


def update_average(state: State, momentum: float, **values: Array) -> dict[str, Array]:
    """Return the state after one more batch: ``(1 - momentum) state + momentum value``.

    Tensors are cut off from their tape: a running average is no function of the parameters.
    """
    xp = namespace(state["seen"])
    values = {"seen": xp.ones_like(state["seen"]), **values}
    return {name: (1.0 - momentum) * old + momentum * value_of(values[name]) for name, old in state.items()}


def read_average(state: State, name: str, default: float) -> Array:
    """Return the average, `default` if nothing was seen yet.

    The running sum starts at zero; dividing it by the sum of the weights so far (as Adam does with its
    moments) removes that start. After one batch the average is that batch's value, after t batches it leans
    on the last ``1 / momentum``.
    """
    xp = namespace(state[name])
    seen = state["seen"]
    known = seen > 0
    return xp.where(known, state[name] / xp.where(known, seen, 1.0 + seen), default + 0.0 * state[name])

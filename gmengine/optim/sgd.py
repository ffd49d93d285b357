"""Gradient descent with momentum, as a pure update of named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gmengine.backend import Array, namespace
from gmengine.optim._checks import check_fault, check_number, check_same_keys, check_updates
from gmengine.optim._device import cuda_house


class SGDState(NamedTuple):
    """How many updates were made, and every parameter's velocity (no entries without momentum)."""

    step: int
    velocity: dict[str, Array]


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with heavy-ball momentum (Polyak, 1964).

    Parameters
    ----------
    lr : float
        Step size, > 0.
    momentum : float
        In [0, 1); 0 keeps no velocity.

    Raises
    ------
    ArgumentError
        Names the field that is out of range.
    """

    lr: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        check_number("SGD", "lr", self.lr, low=0.0, open_low=True)
        check_number("SGD", "momentum", self.momentum, low=0.0, high=1.0, open_high=True)

    def init(self, params: Mapping[str, Array]) -> SGDState:
        """Return the state before the first update."""
        if self.momentum == 0.0:
            return SGDState(0, {})
        return SGDState(0, {name: namespace(p).zeros_like(p) for name, p in params.items()})

    def update(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], state: SGDState, scale: float = 1.0
    ) -> tuple[dict[str, Array], SGDState]:
        """Return new parameters and a new state; nothing given is changed.

        ``v = momentum v + g``, ``p - scale lr v``.

        Parameters
        ----------
        params, grads : dict of arrays
            Same keys, shapes and dtypes.
        state : SGDState
            From `init` or the last update.
        scale : float
            Multiplies `lr`: where a schedule enters.

        Raises
        ------
        ArgumentError
            If keys are missing or unexpected, or `scale` is negative or not finite.
        ShapeError, DTypeError
            If a gradient does not look like its parameter.
        NonFiniteError
            If a gradient holds NaN or infinity; names the parameter (on a GPU see `gmengine.deferred`).
        """
        check_number("SGD.update", "scale", scale, low=0.0)
        house = cuda_house("sgd", params, grads, state.velocity)
        check_updates("SGD.update", params, grads, look=house is None)
        check_same_keys(
            "SGD.update", "the state's velocities", state.velocity, params if self.momentum else {}
        )
        rate = float(scale) * self.lr
        if house is not None:
            trees = params, grads, state.velocity
            ordered = [tuple([tree[name] for name in params if name in tree]) for tree in trees]
            moved, faster, fault = house.update(*ordered, rate=rate, momentum=float(self.momentum))
            check_fault("SGD.update", params, fault)
            velocity = dict(zip(params if self.momentum else {}, faster, strict=True))
            return dict(zip(params, moved, strict=True)), SGDState(state.step + 1, velocity)
        velocity = {name: self.momentum * v + grads[name] for name, v in state.velocity.items()}
        steps = velocity if self.momentum else grads
        return {name: p - rate * steps[name] for name, p in params.items()}, SGDState(
            state.step + 1, velocity
        )

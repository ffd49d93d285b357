"""Adam, as a pure update of named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gmengine.backend import Array, namespace
from gmengine.optim._checks import check_fault, check_number, check_same_keys, check_updates
from gmengine.optim._device import cuda_house


class AdamState(NamedTuple):
    """How many updates were made, and the running first and second moments of every gradient."""

    step: int
    first: dict[str, Array]
    second: dict[str, Array]


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba, 2015, algorithm 1).

    Parameters
    ----------
    lr : float
        Step size, > 0.
    betas : (float, float)
        Decay rates of the two moments, in [0, 1).
    eps : float
        Added to the root of the second moment, > 0.

    Raises
    ------
    ArgumentError
        Names the field that is out of range.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        check_number("Adam", "lr", self.lr, low=0.0, open_low=True)
        for i, beta in enumerate(self.betas):
            check_number("Adam", f"betas[{i}]", beta, low=0.0, high=1.0, open_high=True)
        check_number("Adam", "eps", self.eps, low=0.0, open_low=True)

    def init(self, params: Mapping[str, Array]) -> AdamState:
        """Return the state before the first update: zeros like `params`."""
        return AdamState(
            0,
            {name: namespace(p).zeros_like(p) for name, p in params.items()},
            {name: namespace(p).zeros_like(p) for name, p in params.items()},
        )

    def update(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], state: AdamState, scale: float = 1.0
    ) -> tuple[dict[str, Array], AdamState]:
        """Return new parameters and a new state; nothing given is changed.

        ``m = b1 m + (1-b1) g``, ``v = b2 v + (1-b2) g^2``,
        ``p - scale lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)``.

        Parameters
        ----------
        params, grads : dict of arrays
            Same keys, shapes and dtypes.
        state : AdamState
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
        check_number("Adam.update", "scale", scale, low=0.0)
        house = cuda_house("adam", params, grads, state.first, state.second)
        check_updates("Adam.update", params, grads, look=house is None)
        check_same_keys("Adam.update", "the state's moments", state.first, params)
        t, (b1, b2) = state.step + 1, self.betas
        rate = float(scale) * self.lr  # a NumPy float64 would promote float32 parameters
        if house is not None:
            trees = params, grads, state.first, state.second
            ordered = [tuple([tree[name] for name in params]) for tree in trees]
            *found, fault = house.update(*ordered, step=t, rate=rate, betas=self.betas, eps=self.eps)
            check_fault("Adam.update", params, fault)
            moved, *moments = (dict(zip(params, arrays, strict=True)) for arrays in found)
            return moved, AdamState(t, *moments)
        new, first, second = {}, {}, {}
        for name, p in params.items():
            xp, g = namespace(p), grads[name]
            first[name] = b1 * state.first[name] + (1.0 - b1) * g
            second[name] = b2 * state.second[name] + (1.0 - b2) * (g * g)
            mean = first[name] / (1.0 - b1**t)
            root = xp.sqrt(second[name] / (1.0 - b2**t))
            new[name] = p - rate * (mean / (root + self.eps))
        return new, AdamState(t, first, second)

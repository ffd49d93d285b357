"""Scales of a learning rate as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gmengine.optim._checks import check_number


@dataclass(frozen=True)
class ConstantSchedule:
    """A constant scale, reached by a linear warm-up.

    Parameters
    ----------
    value : float
        The scale after the warm-up, >= 0.
    warmup_steps : int
        Steps 0, 1, ... of the warm-up have the scales ``value * (step + 1) / (warmup_steps + 1)``: the first
        is above zero, for a step that changes nothing is a wasted batch.

    Raises
    ------
    ArgumentError
        Names the field that is out of range.
    """

    value: float = 1.0
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        check_number("ConstantSchedule", "value", self.value, low=0.0)
        check_number("ConstantSchedule", "warmup_steps", self.warmup_steps, low=0)

    def scale(self, step: int) -> float:
        """Return the scale at `step` >= 0."""
        check_number("ConstantSchedule.scale", "step", step, low=0)
        return self.value * min(1.0, (step + 1) / (self.warmup_steps + 1))


@dataclass(frozen=True)
class OneCycle:
    """Warm up to `max_scale`, then anneal to almost nothing, both along half a cosine (Smith & Topin, 2018).

    Parameters
    ----------
    max_scale : float
        The scale at the end of the warm-up, > 0.
    total_steps : int
        Steps 0 .. total_steps - 1 make the cycle, >= 2; later steps stay at its end.
    warmup_fraction : float
        The part of the cycle that rises, in [0, 1); 0 begins at `max_scale`.
    initial_fraction, final_fraction : float
        The first and the last scale as fractions of `max_scale`, in [0, 1].

    Raises
    ------
    ArgumentError
        Names the field that is out of range.
    """

    max_scale: float
    total_steps: int
    warmup_fraction: float = 0.3
    initial_fraction: float = 0.04
    final_fraction: float = 1e-4

    def __post_init__(self) -> None:
        op = "OneCycle"
        check_number(op, "max_scale", self.max_scale, low=0.0, open_low=True)
        check_number(op, "total_steps", self.total_steps, low=2)
        check_number(op, "warmup_fraction", self.warmup_fraction, low=0.0, high=1.0, open_high=True)
        check_number(op, "initial_fraction", self.initial_fraction, low=0.0, high=1.0)
        check_number(op, "final_fraction", self.final_fraction, low=0.0, high=1.0)

    def scale(self, step: int) -> float:
        """Return the scale at `step` >= 0."""
        check_number("OneCycle.scale", "step", step, low=0)
        last = self.total_steps - 1
        peak = self.warmup_fraction * last
        if step < peak:
            return self.max_scale * _half_cosine(self.initial_fraction, 1.0, step / peak)
        return self.max_scale * _half_cosine(
            1.0, self.final_fraction, min(1.0, (step - peak) / (last - peak))
        )


def _half_cosine(start: float, end: float, t: float) -> float:
    # weights that sum to 1, so that t = 0 and t = 1 give `start` and `end` exactly
    rise = 0.5 * (1.0 - math.cos(math.pi * t))
    return (1.0 - rise) * start + rise * end

"""Lower a learning rate's scale when a metric stops improving."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from gmengine.errors import ArgumentError, NonFiniteError
from gmengine.optim._checks import check_number


class PlateauState(NamedTuple):
    """The scale to multiply learning rates with, and the memory of the metric."""

    scale: float
    best: float
    n_bad: int
    cooling: int


@dataclass(frozen=True)
class ReduceOnPlateau:
    """Multiply the scale by `factor` once the metric has not improved for more than `patience` updates.

    Feed it a *validation* metric: a schedule that watches the test set has seen it.

    Parameters
    ----------
    mode : {"max", "min"}
        Whether a larger or a smaller metric is better.
    factor : float
        In (0, 1).
    patience : int
        How many updates without improvement are forgiven.
    cooldown : int
        How many updates after a reduction are not counted as bad.
    threshold : float
        An improvement must exceed ``threshold * |best|``.
    min_scale : float
        The floor of the scale, in (0, 1]; without one a stalled run decays its rate to nothing.

    Raises
    ------
    ArgumentError
        Names the field that is out of range.
    """

    mode: str = "max"
    factor: float = 0.1
    patience: int = 5
    cooldown: int = 0
    threshold: float = 2e-4
    min_scale: float = 1e-3

    def __post_init__(self) -> None:
        op = "ReduceOnPlateau"
        if self.mode not in ("max", "min"):
            raise ArgumentError(f"{op}: expected mode 'max' or 'min', got {self.mode!r}")
        check_number(op, "factor", self.factor, low=0.0, high=1.0, open_low=True, open_high=True)
        check_number(op, "patience", self.patience, low=0)
        check_number(op, "cooldown", self.cooldown, low=0)
        check_number(op, "threshold", self.threshold, low=0.0)
        check_number(op, "min_scale", self.min_scale, low=0.0, high=1.0, open_low=True)

    def init(self) -> PlateauState:
        """Return the state before the first metric: scale 1."""
        return PlateauState(1.0, -math.inf if self.mode == "max" else math.inf, 0, 0)

    def update(self, metric: float, state: PlateauState) -> PlateauState:
        """Return the state after seeing `metric`.

        Raises
        ------
        NonFiniteError
            If `metric` is NaN or infinite: a diverged run must not look like a plateau.
        """
        metric = float(metric)
        if not math.isfinite(metric):
            raise NonFiniteError(f"ReduceOnPlateau.update: the metric is {metric}")
        scale, best, n_bad, cooling = state
        if self._improves(metric, best):
            best, n_bad = metric, 0
        else:
            n_bad += 1
        if cooling > 0:
            cooling, n_bad = cooling - 1, 0
        if n_bad > self.patience:
            # max(min_scale, ...) could raise a scale that was restored from elsewhere below the floor
            scale = min(scale, max(scale * self.factor, self.min_scale))
            cooling, n_bad = self.cooldown, 0
        return PlateauState(scale, best, n_bad, cooling)

    def _improves(self, metric: float, best: float) -> bool:
        if math.isinf(best):  # the first metric; inf - inf * threshold is no bound
            return True
        gain = metric - best if self.mode == "max" else best - metric
        return gain > self.threshold * abs(best)

"""What changes while a network learns, as values."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from gmengine.backend import Array
from gmengine.data import Dataset
from gmengine.errors import NonFiniteError
from gmengine.nn import Network
from gmengine.optim import AdamState, PlateauState
from gmengine.training.metrics import Evaluation, evaluate

Arrays = dict[str, Array]


class Model(NamedTuple):
    """Parameters, and the running statistics that belong to them."""

    params: Arrays
    state: Arrays

    def measured(self, net: Network, dataset: Dataset) -> Evaluation:
        """Return the evaluation on `dataset`; NonFiniteError if its loss is NaN or infinite."""
        found = evaluate(net, self.params, self.state, dataset)
        if not math.isfinite(found.loss):
            raise NonFiniteError(f"the loss on {dataset.name} is {found.loss}")
        return found


class Best(NamedTuple):
    """The model of the epoch that did best on the validation split; ties in accuracy go to the lower loss."""

    epoch: int
    accuracy: float
    loss: float
    model: Model


class Progress(NamedTuple):
    """All that an interrupted run needs to go on bit for bit; no generator: epochs seed their own."""

    epoch: int
    step: int
    model: Model
    adam: AdamState
    plateau: PlateauState
    average: Model | None  # None: the model itself is evaluated
    best: Best
    history: tuple[dict[str, Any], ...]  # one dict per epoch: the lines of metrics.jsonl


class Tally(NamedTuple):
    """Sums over the batches of an epoch so far."""

    batches: int = 0
    samples: int = 0
    loss: float = 0.0  # times samples
    correct: int = 0

    @property
    def mean_loss(self) -> float:
        return self.loss / self.samples

    @property
    def accuracy(self) -> float:
        return self.correct / self.samples


def evaluated(progress: Progress) -> Model:
    """Return the model that is measured: the running average if there is one."""
    return progress.average or progress.model

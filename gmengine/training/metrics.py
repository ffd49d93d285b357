"""Measure a network on a data set, and keep a run's measurements as lines of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gmengine.backend import Array, to_device
from gmengine.data import Dataset
from gmengine.errors import DataError
from gmengine.files import atomic_write
from gmengine.mixture import Mixture
from gmengine.nn import Network
from gmengine.training.place import place_of

BATCH = 100
"""Mixtures that are evaluated together when nothing else is said."""


class Evaluation(NamedTuple):
    """What a network makes of a data set."""

    loss: float
    accuracy: float
    n: int
    correct: np.ndarray  # per class, int64
    counts: np.ndarray  # per class, int64


def predict(
    net: Network,
    params: dict[str, Array],
    state: dict[str, Array],
    mixtures: Mixture,
    batch_size: int = BATCH,
) -> np.ndarray:
    """Return the log probabilities (n, classes) of `mixtures` (n, channels, N) as a NumPy array.

    Batches are moved to the device of `params`; they do not influence each other, for every statistic comes
    from `state`.
    """
    parts, device = [], device_of(params)
    with place_of(params):
        for start in range(0, len(mixtures), batch_size):
            log_probabilities, _ = net.apply(params, state, mixtures[start : start + batch_size].to(device))
            parts.append(to_device(log_probabilities, "cpu"))
    if not parts:
        raise DataError("predict: expected at least one mixture, got none")
    return np.concatenate(parts)


def evaluate(
    net: Network,
    params: dict[str, Array],
    state: dict[str, Array],
    dataset: Dataset,
    batch_size: int = BATCH,
) -> Evaluation:
    """Return the mean negative log likelihood and the accuracy on `dataset`, over all and per class."""
    log_probabilities = predict(net, params, state, dataset.mixtures, batch_size)
    labels, classes = dataset.labels, log_probabilities.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"evaluate: expected labels from 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        )
    hit = log_probabilities.argmax(axis=1) == labels
    chosen = log_probabilities[np.arange(len(labels)), labels]
    return Evaluation(
        loss=float(-chosen.mean(dtype=np.float64)),
        accuracy=int(hit.sum()) / len(labels),
        n=len(labels),
        correct=np.bincount(labels[hit], minlength=classes),
        counts=np.bincount(labels, minlength=classes),
    )


def accuracy(
    net: Network,
    params: dict[str, Array],
    state: dict[str, Array],
    dataset: Dataset,
    batch_size: int = BATCH,
) -> float:
    """Return the share of `dataset` that the network classifies correctly."""
    return evaluate(net, params, state, dataset, batch_size).accuracy


def device_of(params: dict[str, Array]) -> str:
    """Return ``"cpu"`` or ``"cuda:<index>"``, where the parameters are."""
    device = getattr(next(iter(params.values())), "device", "cpu")
    return device if isinstance(device, str) else f"cuda:{device.id}"


def write_lines(path: str | os.PathLike[str], lines: Iterable[Mapping[str, Any]]) -> None:
    """Replace the file at `path` by one line of JSON per mapping, atomically."""
    text = "".join(_line(line) for line in lines)
    atomic_write(path, lambda handle: handle.write(text.encode()))


def append_line(path: str | os.PathLike[str], line: Mapping[str, Any]) -> None:
    """Append one line of JSON to the file at `path`."""
    with open(path, "ab") as handle:
        handle.write(_line(line).encode())


def read_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the lines of a file of `write_lines` and `append_line`."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, allow_nan=False) + "\n"

"""The training, validation and test part of the data that a configuration names."""

from __future__ import annotations

import dataclasses
import os
import zlib
from typing import NamedTuple

import numpy as np

from gmengine.data import DATASETS, Dataset, load, load_dataset, split
from gmengine.data.split import FRACTIONS, SPLIT_SEED
from gmengine.errors import DataError, ShapeError
from gmengine.mixture import Mixture
from gmengine.nn import Network
from gmengine.training.config import RunConfig

PARTS = ("train", "valid", "test", "all")


class Task(NamedTuple):
    """What a network is trained for: enough to refuse data that are not the run's."""

    dim: int
    class_names: tuple[str, ...]
    sizes: tuple[int, int, int]
    fingerprint: int


class Splits(NamedTuple):
    """Three disjoint parts of a data set."""

    train: Dataset
    valid: Dataset
    test: Dataset

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The number of samples of each."""
        return len(self.train), len(self.valid), len(self.test)

    @property
    def task(self) -> Task:
        """What these data are; the fingerprint is of all labels in order."""
        labels = np.concatenate([part.labels for part in self])
        checksum = zlib.crc32(labels.astype("<i8").tobytes())
        return Task(self.train.mixtures.dim, self.train.class_names, self.sizes, checksum)

    def part(self, name: str) -> Dataset:
        """Return the part of this name, one of `PARTS`."""
        if name != "all":
            chosen: Dataset = getattr(self, name)
            return chosen
        columns = zip(*(part.mixtures.arrays for part in self), strict=True)
        mixtures = Mixture(*(np.concatenate(column) for column in columns))
        labels = np.concatenate([part.labels for part in self])
        return dataclasses.replace(self.test, mixtures=mixtures, labels=labels)


def check_source(config: RunConfig) -> None:
    """Raise DataError for a name that is not known, OSError for a store that is not there; read nothing."""
    if config.reads_file:
        os.stat(config.dataset)
    elif config.dataset not in DATASETS:
        raise DataError(
            f"unknown data set {config.dataset!r}; known are {', '.join(sorted(DATASETS))}, and stores *.npz"
        )


def load_splits(config: RunConfig, net: Network) -> Splits:
    """Return the three parts as `net` takes them, on the CPU.

    Parameters
    ----------
    config : RunConfig
        Its `dataset`, `dtype` and `limit_train` count.
    net : Network
        Says to how many components inputs are fitted. Its dimension does not count.

    Raises
    ------
    DataError
        If the data set is unknown, or there are fewer training samples than `limit_train`.
    ShapeError
        If the mixtures of a store have other channels or components than the network takes.
    FileFormatError, OSError
        If the store cannot be read.
    """
    check_source(config)
    if config.reads_file:
        whole = load_dataset(config.dataset)
        whole = dataclasses.replace(whole, mixtures=whole.mixtures.astype(config.dtype))
        parts = Splits(*(whole[index] for index in split(whole.labels, FRACTIONS, SPLIT_SEED)))
    else:
        parts = Splits(*load(config.dataset, components=net.components[0], dtype=config.dtype))
    found = parts.train.mixtures
    if (found.batch[1], found.n_components) != (net.channels[0], net.components[0]):
        raise ShapeError(
            f"{config.dataset}: mixtures of {found.batch[1]}/{found.n_components} (channels/components), "
            f"but the layers {net.spec!r} begin with {net.channels[0]}/{net.components[0]}"
        )
    return parts._replace(train=_limited(parts.train, config.limit_train))


def load_part(
    config: RunConfig, task: Task, net: Network, data: str | None = None, part: str | None = None
) -> tuple[Dataset, str, str]:
    """Return a part of a run's data, or of other data for the same task, and the names of part and data.

    Parameters
    ----------
    config, task, net : RunConfig, Task, Network
        Of the run's checkpoint.
    data : str, optional
        Another data set or store than the run's.
    part : str, optional
        One of `PARTS`; by default "test" of the run's own data and "all" of others.

    Raises
    ------
    DataError
        If the run's own data have changed, other data have other classes or another dimension, or the part is
        empty.
    """
    asked = config if data is None else dataclasses.replace(config, dataset=data, limit_train=None)
    own = asked.dataset == config.dataset
    splits = load_splits(config if own else asked, net)
    if own and splits.task != task:
        raise DataError(f"{config.dataset} is no longer what the run was trained on")
    if splits.task[:2] != task[:2]:
        raise DataError(
            f"{asked.dataset} has the classes {', '.join(splits.task.class_names)} in {splits.task.dim}-D, "
            f"the run {', '.join(task.class_names)} in {task.dim}-D"
        )
    name = part or ("test" if own else "all")
    chosen = splits.part(name)
    if not len(chosen):
        raise DataError(f"{asked.dataset}: the split {name} is empty")
    return chosen, name, asked.dataset


def check_task(task: Task, net: Network) -> None:
    """Raise DataError unless the network has an output for every class and no part is empty."""
    if len(task.class_names) != net.classes:
        raise DataError(
            f"the data set has {len(task.class_names)} classes, the network {net.classes}: "
            f"the last layer of {net.spec!r} must have {len(task.class_names)} channels"
        )
    if min(task.sizes) == 0 or task.sizes[0] < 2:
        raise DataError(
            "the data set is too small: its training, validation and test parts have "
            f"{task.sizes[0]}, {task.sizes[1]} and {task.sizes[2]} samples"
        )


def _limited(train: Dataset, count: int | None) -> Dataset:
    if count is None:
        return train
    if count > len(train):
        raise DataError(f"limit_train: the training split has {len(train)} samples, not {count}")
    return train[:count]

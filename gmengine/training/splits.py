"""The training, validation and test part of the data that a configuration names."""

from __future__ import annotations

import dataclasses
import os
import zlib
from typing import Any, NamedTuple

import numpy as np

from gmengine.data import Dataset, RawData, load
from gmengine.data._summary import Summary
from gmengine.data.build import Progress
from gmengine.data.catalogue import names_data_set, parse_spec
from gmengine.data.fitted import unknown
from gmengine.data.shards import is_store
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
    """Three disjoint parts of a data set; `available` is the size of the training part before any limit."""

    train: Dataset
    valid: Dataset
    test: Dataset
    available: int

    @property
    def parts(self) -> tuple[Dataset, Dataset, Dataset]:
        """Training, validation and test part."""
        return self.train, self.valid, self.test

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The number of samples of each."""
        return len(self.train), len(self.valid), len(self.test)

    @property
    def task(self) -> Task:
        """What these data are; the fingerprint is of all labels in order."""
        labels = np.concatenate([part.labels for part in self.parts])
        checksum = zlib.crc32(labels.astype("<i8").tobytes())
        return Task(self.train.mixtures.dim, self.train.class_names, self.sizes, checksum)

    def part(self, name: str) -> Dataset:
        """Return the part of this name, one of `PARTS`."""
        if name != "all":
            chosen: Dataset = getattr(self, name)
            return chosen
        columns = zip(*(part.mixtures.arrays for part in self.parts), strict=True)
        mixtures = Mixture(*(np.concatenate(column) for column in columns))
        labels = np.concatenate([part.labels for part in self.parts])
        return dataclasses.replace(self.test, mixtures=mixtures, labels=labels)


def check_source(config: RunConfig) -> None:
    """Raise an error for data that are unknown or not there; says what would help. Reads nothing."""
    if config.reads_file:
        os.stat(config.dataset)
    elif names_data_set(config.dataset):
        RawData(config.dataset, config.fit.get("read"))
    elif not is_store(config.dataset):
        raise unknown(config.dataset)


def load_splits(config: RunConfig, net: Network, on_fit: Progress | None = None) -> Splits:
    """Return the three parts as `net` takes them, on the CPU.

    Parameters
    ----------
    config : RunConfig
        Its `dataset`, `fit`, `dtype` and `limit_train` count.
    net : Network
        Says to how many components inputs are fitted. Its dimension does not count.
    on_fit : callable, optional
        Is told how a fit gets on, see `data.fitted`.

    Raises
    ------
    DataError
        If the data set is unknown or missing, or there are fewer training samples than `limit_train`.
    ShapeError
        If the mixtures of a store have other channels or components than the network takes.
    FileFormatError, OSError
        If the store cannot be read.
    """
    check_source(config)
    components = net.components[0]
    assert components is not None  # only the last layer's may be
    options = {**config.fit, **({} if on_fit is None else {"progress": on_fit})}
    described = _described(config, on_fit)
    if described is not None:
        _check_classes(len(described.class_names), net)
    train, valid, test = load(config.dataset, components, dtype=config.dtype, **options)
    found = train.mixtures
    if (found.batch[1], found.n_components) != (net.channels[0], components):
        raise ShapeError(
            f"{config.dataset}: mixtures of {found.batch[1]}/{found.n_components} (channels/components), "
            f"but the layers {net.spec!r} begin with {net.channels[0]}/{components}"
        )
    return Splits(_limited(train, config.limit_train), valid, test, len(train))


def load_part(
    config: RunConfig,
    task: Task,
    net: Network,
    data: str | None = None,
    part: str | None = None,
    on_fit: Progress | None = None,
) -> tuple[Dataset, str, str]:
    """Return a part of a run's data, or of other data for the same task, and the names of part and data.

    Parameters
    ----------
    config, task, net : RunConfig, Task, Network
        Of the run's checkpoint.
    data : str, optional
        Another data set or store than the run's; it is fitted as the run's was.
    part : str, optional
        One of `PARTS`; by default "test" of the run's own data and "all" of others.
    on_fit : callable, optional
        As of `load_splits`.

    Raises
    ------
    DataError
        If the run's own data have changed, other data have other classes or another dimension, or the part is
        empty.
    """
    asked = config if data is None else _asked(config, data)
    own = asked.dataset == config.dataset
    described = None if own else _described(asked, on_fit)
    if described is not None:
        _check_same(asked.dataset, (described.dim, described.class_names), task)
    splits = load_splits(config if own else asked, net, on_fit)
    if own and splits.task != task:
        raise DataError(f"{config.dataset} is no longer what the run was trained on")
    _check_same(asked.dataset, splits.task[:2], task)
    name = part or ("test" if own else "all")
    chosen = splits.part(name)
    if not len(chosen):
        raise DataError(f"{asked.dataset}: the split {name} is empty")
    return chosen, name, asked.dataset


def check_task(task: Task, net: Network) -> None:
    """Raise DataError unless the network has an output for every class and no part is empty."""
    _check_classes(len(task.class_names), net)
    if min(task.sizes) == 0 or task.sizes[0] < 2:
        raise DataError(
            "the data set is too small: its training, validation and test parts have "
            f"{task.sizes[0]}, {task.sizes[1]} and {task.sizes[2]} samples"
        )


def _check_classes(count: int, net: Network) -> None:
    if count != net.classes:
        raise DataError(
            f"the data set has {count} classes, the network {net.classes}: "
            f"the last layer of {net.spec!r} must have {count} channels"
        )


def _check_same(dataset: str, found: tuple[int, tuple[str, ...]], task: Task) -> None:
    if found != task[:2]:
        raise DataError(
            f"{dataset} has the classes {', '.join(found[1])} in {found[0]}-D, "
            f"the run {', '.join(task.class_names)} in {task.dim}-D"
        )


def _described(config: RunConfig, on_fit: Progress | None) -> Summary | None:
    """Return what the catalogue's data are, so that none are fitted in vain; None of stores and files."""
    if not names_data_set(config.dataset):
        return None
    raw = RawData(config.dataset, config.fit.get("read"))
    if on_fit is not None and raw.place is not None and not raw.is_known:
        on_fit(0, 0, 0.0)  # data that are a part of the package take no time worth a line
    return raw.summary


def _asked(config: RunConfig, data: str) -> RunConfig:
    """Return the configuration of other data: the run's way of fitting, as far as it applies to them."""
    fit: dict[str, Any] = {}
    if names_data_set(data):
        known = parse_spec(data).entry.options
        read = {name: value for name, value in config.fit.get("read", {}).items() if name in known}
        fit = {**config.fit, "read": read}
    return dataclasses.replace(config, dataset=data, fit=fit, limit_train=None)


def _limited(train: Dataset, count: int | None) -> Dataset:
    """Return `count` objects: the first of every class, so many that its share stays; in their old order."""
    if count is None:
        return train
    if count > len(train):
        raise DataError(f"limit_train: the training split has {len(train)} samples, not {count}")
    place = np.empty(len(train))
    for label in np.unique(train.labels):
        members = np.flatnonzero(train.labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return train[np.sort(np.argsort(place, kind="stable")[:count])]

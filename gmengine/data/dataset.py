"""The value type of labelled mixtures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gmengine.errors import ArgumentError, DataError, DTypeError, ShapeError
from gmengine.mixture import Mixture


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled mixtures, and where they come from.

    Parameters
    ----------
    mixtures : Mixture, batch (n, channels)
        One mixture per object and channel; images and point clouds have one channel.
    labels : array, shape (n,)
        Integers in [0, len(class_names)); stored as int64.
    class_names : tuple of str
        Distinct.
    name, source, licence : str
        What the set is called, where it comes from, and on which terms.

    Raises
    ------
    ShapeError
        If the batch of `mixtures` and `labels` do not fit.
    DTypeError
        If the labels are not integers.
    DataError
        If a label has no class name (names the index), or names are not distinct strings.

    Examples
    --------
    >>> one = Mixture([[[1.0]]], [[[[0.0]]]], [[[[[1.0]]]]])
    >>> len(Dataset(one, np.array([0]), ("dot",), "dots", "made here", "CC0"))
    1
    """

    mixtures: Mixture
    labels: np.ndarray
    class_names: tuple[str, ...]
    name: str
    source: str
    licence: str

    def __post_init__(self) -> None:
        labels, names = np.asarray(self.labels), tuple(self.class_names)
        if labels.dtype.kind not in "iu":
            raise DTypeError(f"Dataset: expected integer labels, got {labels.dtype}")
        if labels.ndim != 1 or len(self.mixtures.batch) != 2 or self.mixtures.batch[0] != len(labels):
            raise ShapeError(
                "Dataset: expected mixtures of batch (n, channels) and labels (n,), "
                f"got {self.mixtures.batch} and {labels.shape}"
            )
        if not all(isinstance(c, str) for c in names) or len(set(names)) != len(names):
            raise DataError(f"Dataset: expected distinct strings as class names, got {names}")
        outside = (labels < 0) | (labels >= len(names))
        if outside.any():
            index = int(outside.argmax())
            raise DataError(f"Dataset: labels[{index}] is {labels[index]} with {len(names)} classes")
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))
        object.__setattr__(self, "class_names", names)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Dataset:
        """Return the objects that a slice, an array of integers or a boolean mask selects, in its order."""
        if not isinstance(index, slice):
            index = np.asarray(index)
            if index.ndim != 1 or (index.dtype.kind not in "iub" and index.size):
                raise ArgumentError(
                    "Dataset: expected a slice, integers (1-D) or a boolean mask as index, got "
                    f"{index.dtype} of shape {index.shape}; one object is ds[i : i + 1]"
                )
            index = index if index.dtype.kind in "iub" else index.astype(np.int64)  # [] comes as float
        return replace(self, mixtures=self.mixtures[index], labels=self.labels[index])

    def __repr__(self) -> str:
        classes = len(self.class_names)
        return f"Dataset({self.name!r}, {len(self)} objects, {classes} classes, {self.mixtures!r})"

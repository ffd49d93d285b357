"""Labelled images or point clouds, as they are before they become mixtures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gmengine.errors import DataError, DTypeError, ShapeError
from gmengine.fitting.clouds import Clouds

TRAIN, VALID, TEST = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Collection:
    """Objects with labels, each in the training, validation or test part, and where they come from.

    Parameters
    ----------
    objects : array (n, H, W) or Clouds
        Gray images, intensities not negative, of booleans, integers or floats; or point clouds.
    labels : array, shape (n,)
        Integers in [0, len(class_names)); stored as int64.
    class_names : tuple of str
        Distinct.
    parts : array, shape (n,)
        `TRAIN`, `VALID` or `TEST` for every object; stored as int8.
    name, source, licence : str
        What the collection is called, where it comes from, and on which terms.

    Raises
    ------
    ShapeError
        If the numbers of objects, labels and parts differ, or images are not (n, H, W).
    DTypeError
        If labels or parts are not integers.
    DataError
        If a label or a part is out of range (names the index), or class names are not distinct strings.
    """

    objects: np.ndarray | Clouds
    labels: np.ndarray
    class_names: tuple[str, ...]
    parts: np.ndarray
    name: str
    source: str
    licence: str

    def __post_init__(self) -> None:
        names, count = tuple(self.class_names), len(self.objects)
        if not isinstance(self.objects, Clouds) and self.objects.ndim != 3:
            raise ShapeError(f"Collection: expected images (n, H, W) or Clouds, got {self.objects.shape}")
        if not all(isinstance(c, str) for c in names) or len(set(names)) != len(names):
            raise DataError(f"Collection: expected distinct strings as class names, got {names}")
        for key, limit, dtype in (("labels", len(names), np.int64), ("parts", 3, np.int8)):
            numbers = np.asarray(getattr(self, key))
            if numbers.dtype.kind not in "iu":
                raise DTypeError(f"Collection: expected integer {key}, got {numbers.dtype}")
            if numbers.shape != (count,):
                raise ShapeError(f"Collection: expected {key} ({count},), got {numbers.shape}")
            outside = (numbers < 0) | (numbers >= limit)
            if outside.any():
                index = int(outside.argmax())
                raise DataError(f"Collection: {key}[{index}] is {numbers[index]}, expected less than {limit}")
            object.__setattr__(self, key, numbers.astype(dtype, copy=False))
        object.__setattr__(self, "class_names", names)

    @property
    def dim(self) -> int:
        """Dimension of the mixtures that the objects become: 2 for images, K for point clouds."""
        return self.objects.dim if isinstance(self.objects, Clouds) else 2

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: Any) -> Collection:
        """Return the objects that a slice, an array of integers or a boolean mask selects, in its order."""
        return replace(self, objects=self.objects[index], labels=self.labels[index], parts=self.parts[index])

    def checksum(self) -> str:
        """Return the SHA-256 of objects, labels, parts and class names, in hexadecimal."""
        objects = self.objects
        content = (objects.points, objects.offsets) if isinstance(objects, Clouds) else (objects,)
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        for array in (*content, self.labels, self.parts):
            array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()

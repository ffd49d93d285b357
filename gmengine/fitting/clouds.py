"""Point sets of different sizes, packed into one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gmengine.backend import Array
from gmengine.errors import ArgumentError, DataError, ShapeError


@dataclass(frozen=True, eq=False)
class Clouds:
    """A batch of ragged point sets: set s is ``points[offsets[s] : offsets[s + 1]]``.

    Parameters
    ----------
    points : array, shape (total, K), float32 or float64
        All sets one after the other, in any unit.
    offsets : array, shape (S + 1,)
        Ascending integers from 0 to total, stored as int64.

    Raises
    ------
    ShapeError
        If the shapes are others.
    DataError
        If the offsets do not begin at 0, descend, or do not end at the number of points.
    """

    points: Array
    offsets: np.ndarray

    def __post_init__(self) -> None:
        offsets = np.asarray(self.offsets)
        if len(self.points.shape) != 2 or self.points.shape[1] < 1:
            raise ShapeError(f"Clouds: expected points (total, K), got {self.points.shape}")
        if offsets.ndim != 1 or not offsets.size or offsets.dtype.kind not in "iu":
            raise ShapeError(
                f"Clouds: expected integers as offsets (S + 1,), got {offsets.dtype} {offsets.shape}"
            )
        offsets = offsets.astype(np.int64)
        if offsets[0] != 0 or offsets[-1] != self.points.shape[0] or (np.diff(offsets) < 0).any():
            raise DataError(
                f"Clouds: expected offsets that ascend from 0 to {self.points.shape[0]}, "
                f"got {offsets[0]} ... {offsets[-1]}"
            )
        object.__setattr__(self, "offsets", offsets)

    @classmethod
    def pack(cls, sets: Sequence[Array]) -> Clouds:
        """Return the sets, arrays (P_s, K) of one dtype, packed; there must be at least one.

        Raises
        ------
        ArgumentError
            If there is none.
        ShapeError
            If one is not (P, K) with the K of the first; names its index.
        """
        if not len(sets):
            raise ArgumentError("Clouds: expected at least one point set")
        arrays = [np.asarray(one) for one in sets]
        dim = arrays[0].shape[1:]
        for index, one in enumerate(arrays):
            if one.ndim != 2 or one.shape[1:] != dim:
                raise ShapeError(
                    f"Clouds: expected point sets (P, {dim[0] if dim else 'K'}), got {one.shape} at {index}"
                )
        return cls(np.concatenate(arrays), np.cumsum([0, *(len(one) for one in arrays)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def dim(self) -> int:
        """K."""
        return int(self.points.shape[1])

    @property
    def sizes(self) -> np.ndarray:
        """Points per set, (S,)."""
        return np.diff(self.offsets)

    def one(self, index: int) -> Array:
        """Return the points (P, K) of one set, a view."""
        return self.points[self.offsets[index] : self.offsets[index + 1]]

    def __getitem__(self, index: Any) -> Clouds:
        """Return the sets that a slice, an array of integers or a boolean mask selects, in its order."""
        chosen = np.arange(len(self))[index]
        if chosen.ndim != 1:
            raise ArgumentError(
                "Clouds: expected a slice, integers (1-D) or a mask as index; one set is one(i)"
            )
        starts, sizes = self.offsets[:-1][chosen], self.sizes[chosen]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        rows = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)
        return Clouds(self.points[rows], offsets)

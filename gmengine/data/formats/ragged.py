"""A column of lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gmengine.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Ragged:
    """Lists of numbers, one after the other: list i is ``values[offsets[i] : offsets[i + 1]]``.

    Parameters
    ----------
    values : array, shape (total,)
    offsets : array, shape (n + 1,)
        Integers that ascend from 0 to total; stored as int64.

    Raises
    ------
    ShapeError
        If shapes or offsets are others.
    """

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        offsets = np.asarray(self.offsets)
        if self.values.ndim != 1 or offsets.ndim != 1 or not offsets.size or offsets.dtype.kind not in "iu":
            raise ShapeError(
                f"Ragged: expected values (total,) and integer offsets (n + 1,), got {self.values.shape} and "
                f"{offsets.dtype} {offsets.shape}"
            )
        offsets = offsets.astype(np.int64, copy=False)
        if offsets[0] != 0 or offsets[-1] != len(self.values) or (np.diff(offsets) < 0).any():
            raise ShapeError(f"Ragged: expected offsets that ascend from 0 to {len(self.values)}")
        object.__setattr__(self, "offsets", offsets)

    @property
    def lengths(self) -> np.ndarray:
        """The lengths of the lists, shape (n,)."""
        return np.diff(self.offsets)

    def table(self) -> np.ndarray | None:
        """Return the lists as rows (n, k) if all are k long, else None; (0, 0) if there are none."""
        lengths = self.lengths
        if not len(lengths):
            return self.values.reshape(0, 0)
        if (lengths != lengths[0]).any():
            return None
        return self.values.reshape(len(lengths), int(lengths[0]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

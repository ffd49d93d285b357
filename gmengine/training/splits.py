"""The training, validation and test split that a configuration names."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from gmengine.data import Dataset
from gmengine.nn import network
from gmengine.training.config import RunConfig
from gmengine.training.loop import limited


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
    def fingerprint(self) -> int:
        """A checksum of all labels in order: other data or another split would hardly share it."""
        return zlib.crc32(np.concatenate([part.labels for part in self]).astype("<i8").tobytes())

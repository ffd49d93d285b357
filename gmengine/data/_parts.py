"""Which part an object is in, where its source says so in part or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gmengine.data.collection import TEST, TRAIN, VALID
from gmengine.data.split import FRACTIONS, SPLIT_SEED, split


def drawn_parts(labels: np.ndarray) -> np.ndarray:
    """Return 70/10/20 parts of each class, drawn at random, always the same."""
    parts = np.full(len(labels), TRAIN, np.int8)
    _, valid, test = split(labels, FRACTIONS, SPLIT_SEED)
    parts[valid], parts[test] = VALID, TEST
    return parts


def with_validation(labels: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the parts, a tenth of each class of the training part being for validation, always the same."""
    train = np.flatnonzero(parts == TRAIN)
    result = parts.copy()
    result[train[split(labels[train], (0.9, 0.1), SPLIT_SEED)[1]]] = VALID
    return result


def parts_of_files(given: Sequence[int | None], labels: np.ndarray) -> np.ndarray:
    """Return the parts that folders give to files (None: none), completed if validation or all are missing."""
    if None in given:
        return drawn_parts(labels)
    parts = np.array(given, np.int8)
    return parts if (parts == VALID).any() else with_validation(labels, parts)

"""Folders of four IDX files: images and labels, for training and for testing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gmengine.data._parts import with_validation
from gmengine.data.collection import TEST, TRAIN
from gmengine.data.formats.idx import read_idx
from gmengine.errors import DataError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def find_file(folder: Path, name: str) -> Path | None:
    """Return the file `name` of a folder: spelled with ``-idx`` or ``.idx``, plain or else with ``.gz``."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            path = folder / (spelling + suffix)
            if path.is_file():
                return path
    return None


def holds_any(folder: Path) -> bool:
    """Whether the folder has one of the four files; reading it then says which are missing."""
    return any(find_file(folder, name) for name in FILES)


def read_folder(folder: Path, advice: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images (n, H, W), float32 in [0, 1], labels (n,), uint8, and parts (n,), int8.

    The training files come first. A tenth of each class of them is for validation.

    Raises
    ------
    DataError
        If one of the files is missing (followed by `advice`), or they do not fit; names folder and file.
    FileFormatError
        If one is damaged.
    """
    paths = [_existing(folder, name, advice) for name in FILES]
    train, train_labels, test, test_labels = (
        _bytes_of(path, axes) for path, axes in zip(paths, (3, 1, 3, 1), strict=True)
    )
    for images, labels, path in ((train, train_labels, paths[1]), (test, test_labels, paths[3])):
        if len(images) != len(labels) or not images.size:
            raise DataError(f"{path}: {len(labels)} labels for images {images.shape}")
    if train.shape[1:] != test.shape[1:]:
        raise DataError(f"{paths[2]}: images {test.shape} beside training images {train.shape}")
    labels = np.concatenate([train_labels, test_labels])
    parts = np.repeat(np.array([TRAIN, TEST], np.int8), (len(train), len(test)))
    return _unit(train, test), labels, with_validation(labels, parts)


def _existing(folder: Path, name: str, advice: str) -> Path:
    path = find_file(folder, name)
    if path is None:
        raise DataError(f"{folder}: {name} (or with .gz, or .idx) is missing; {advice}")
    return path


def _bytes_of(path: Path, axes: int) -> np.ndarray:
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != axes:
        raise DataError(f"{path}: expected bytes with {axes} axes, got {array.dtype} {array.shape}")
    return array


def _unit(*stacks: np.ndarray) -> np.ndarray:
    """All images, 255 becoming 1; one allocation."""
    count = sum(len(stack) for stack in stacks)
    images = np.empty((count, *stacks[0].shape[1:]), np.float32)
    start = 0
    for stack in stacks:
        np.divide(stack, np.float32(255), out=images[start : start + len(stack)])
        start += len(stack)
    return images

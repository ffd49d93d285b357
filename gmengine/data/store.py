"""Data sets in files: .npz with a JSON header, no pickle."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from gmengine.data.dataset import Dataset
from gmengine.errors import FileFormatError, GmengineError
from gmengine.files import read_npz, write_npz
from gmengine.mixture import Mixture

_KIND, _VERSION = "gmengine.Dataset", 1
_ARRAYS = ("weights", "means", "covariances", "labels")
_TEXTS = ("name", "source", "licence")


def save_dataset(path: str | os.PathLike[str], dataset: Dataset) -> None:
    """Write `dataset` to one .npz file: whole or not at all, the same bytes for the same content.

    Raises
    ------
    NonFiniteError, NotPositiveDefinite
        If a mixture is invalid, so that what is written can be read.
    OSError
        If the file cannot be written; no temporary file stays behind.
    """
    mixtures = dataset.mixtures.values().to("cpu").check()
    header = {
        "dtype": np.dtype(mixtures.dtype).name,
        "objects": len(dataset),
        "channels": mixtures.batch[1],
        "components": mixtures.n_components,
        "dim": mixtures.dim,
        "class_names": list(dataset.class_names),
        **{key: getattr(dataset, key) for key in _TEXTS},
    }
    arrays = dict(zip(_ARRAYS, (*mixtures.arrays, dataset.labels), strict=True))
    write_npz(path, _KIND, _VERSION, header, arrays)


def load_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Read and check a data set that `save_dataset` wrote.

    Raises
    ------
    FileFormatError
        Names the file and the reason: damaged, truncated, pickled, of another kind or version, or its shapes,
        labels or numbers are invalid.
    OSError
        If the file is missing (FileNotFoundError) or cannot be opened.
    """
    header, arrays = read_npz(path, _KIND, _VERSION)
    if sorted(arrays) != sorted(_ARRAYS):
        raise FileFormatError(f"{os.fspath(path)}: expected the arrays {_ARRAYS}, got {tuple(arrays)}")
    if not all(isinstance(header.get(key), str) for key in _TEXTS):
        raise FileFormatError(f"{os.fspath(path)}: the header lacks one of the texts {', '.join(_TEXTS)}")
    names = header.get("class_names")
    if not isinstance(names, list):
        raise FileFormatError(f"{os.fspath(path)}: the header lacks the list class_names")
    try:
        mixtures = Mixture(*(arrays[key] for key in _ARRAYS[:3])).check()
        dataset = Dataset(mixtures, arrays["labels"], tuple(names), *(header[key] for key in _TEXTS))
    except GmengineError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from None
    _compare(path, header, mixtures)
    return dataset


def _compare(path: str | os.PathLike[str], header: dict[str, Any], mixtures: Mixture) -> None:
    found = {
        "dtype": np.dtype(mixtures.dtype).name,
        "objects": mixtures.batch[0],
        "channels": mixtures.batch[1],
        "components": mixtures.n_components,
        "dim": mixtures.dim,
    }
    for key, value in found.items():
        if header.get(key) != value:
            said = header.get(key)
            raise FileFormatError(f"{os.fspath(path)}: {key} is {value!r}, the header says {said!r}")

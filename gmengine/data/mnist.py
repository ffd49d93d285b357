"""MNIST, and any other data set in MNIST's four files."""

from __future__ import annotations

import os
from pathlib import Path

from gmengine.data._idx_folder import FILES, holds_any, read_folder
from gmengine.data.collection import Collection
from gmengine.data.entry import Entry
from gmengine.data.places import find

NAME = "mnist"
MNIST_SOURCE = "MNIST, Y. LeCun, C. Cortes and C. J. C. Burges, http://yann.lecun.com/exdb/mnist"
MNIST_LICENCE = "CC BY-SA 3.0"
_LICENCE = f"that of the files (MNIST: {MNIST_LICENCE})"
_ADVICE = f"name the folder of the four files {', '.join(FILES)} (plain or .gz): {NAME}:/folder"


def locate(folder: Path | None = None) -> Path:
    """Return the folder of the four files; DataError if there is none, see `places.find`.

    Other sets have files of the same names: a folder that was not given explicitly must be called mnist.
    """
    return find(NAME, folder, (), lambda p: holds_any(p) and (folder is not None or p.name == NAME), _ADVICE)


def mnist(folder: str | os.PathLike[str] | None = None) -> Collection:
    """Return the images of four IDX files: MNIST's 70,000 digits, or KMNIST, or the like.

    Images are float32 in [0, 1], bytes divided by 255. The test part is that of the files; a tenth of each
    class of their training part is for validation, always the same.

    Parameters
    ----------
    folder : path-like or None
        Of the files ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
        ``t10k-labels-idx1-ubyte``, also spelled with ``.idx``, gzip or not. By default
        ``$GMENGINE_DATA_DIR/mnist``.

    Returns
    -------
    Collection
        The classes are called by their numbers, from 0 to the largest label.

    Raises
    ------
    DataError
        If files are missing or do not fit together.
    FileFormatError
        If one is damaged; names it.
    """
    place = locate(None if folder is None else Path(folder))
    images, labels, parts = read_folder(place, _ADVICE)
    classes = tuple(str(number) for number in range(int(labels.max()) + 1))
    source = f"IDX files of the folder {place.resolve().name!r} (the original: {MNIST_SOURCE})"
    return Collection(images, labels, classes, parts, NAME, source, _LICENCE)


ENTRY = Entry(
    NAME,
    "MNIST's 70,000 handwritten digits of 28 x 28 pixels, or any other set in the same four IDX files",
    "images",
    _LICENCE,
    MNIST_SOURCE,
    "",
    locate,
    mnist,
    training={"layers": "1/64 -> 8/16 -> 10", "epochs": 10, "limit_train": 10_000},
)

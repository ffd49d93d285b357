"""Fashion-MNIST: ten kinds of clothes."""

from __future__ import annotations

import os
from pathlib import Path

from gmengine.data._idx_folder import holds_any, read_folder
from gmengine.data.collection import Collection
from gmengine.data.entry import Entry
from gmengine.data.places import find
from gmengine.errors import DataError

NAME = "fashion-mnist"
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SOURCE = (
    "Fashion-MNIST, H. Xiao, K. Rasul and R. Vollgraf, 2017, "
    "https://github.com/zalandoresearch/fashion-mnist, https://arxiv.org/abs/1708.07747"
)
LICENCE = "MIT"
INSTALL = "apt-get install dataset-fashion-mnist"
_USUAL = ("/usr/share/datasets/fashion-mnist",)  # of the Debian package
_ADVICE = f"install them with '{INSTALL}', or name the folder of the four files: {NAME}:/folder"


def locate(folder: Path | None = None) -> Path:
    """Return the folder of the four files; DataError if there is none, see `places.find`.

    MNIST has files of the same names: a folder that was not given explicitly must be called fashion-mnist.
    """
    return find(
        NAME, folder, _USUAL, lambda p: holds_any(p) and (folder is not None or p.name == NAME), _ADVICE
    )


def fashion_mnist(folder: str | os.PathLike[str] | None = None) -> Collection:
    """Return Fashion-MNIST: 60,000 images for training and validation, 10,000 for testing, of 28 x 28 pixels.

    Images are float32 in [0, 1], bytes divided by 255. The official test part is kept; a tenth of each class
    of the official training part is for validation, always the same.

    Parameters
    ----------
    folder : path-like or None
        Of the four IDX files, gzip or not; by default that of the Debian package.

    Raises
    ------
    DataError
        If files are missing (says the command that installs them) or do not fit together.
    FileFormatError
        If one is damaged; names it.
    """
    place = locate(None if folder is None else Path(folder))
    images, labels, parts = read_folder(place, _ADVICE)
    if labels.max() >= len(CLASS_NAMES):
        raise DataError(f"{place}: label {labels.max()}; {NAME} has the classes 0 to {len(CLASS_NAMES) - 1}")
    return Collection(images, labels, CLASS_NAMES, parts, NAME, SOURCE, LICENCE)


ENTRY = Entry(
    NAME,
    "70,000 gray images of clothes in 10 classes, 28 x 28 pixels",
    "images",
    LICENCE,
    SOURCE,
    INSTALL,
    locate,
    fashion_mnist,
    # 60,000 images are hours on a CPU; a subset shows in minutes what the network does.
    training={"layers": "1/64 -> 8/16 -> 10", "epochs": 10, "limit_train": 10_000},
)

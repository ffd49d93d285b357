"""The handwritten digits that come with the package."""

from __future__ import annotations

import hashlib
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from gmengine.data.cache import cached
from gmengine.data.collection import TEST, VALID, Collection
from gmengine.data.dataset import Dataset
from gmengine.data.entry import Entry
from gmengine.data.split import FRACTIONS, SPLIT_SEED, split
from gmengine.errors import ArgumentError, DataError, DTypeError
from gmengine.files import read_npz
from gmengine.fitting import fit_images
from gmengine.mixture import Mixture

SOURCE = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning "
    "Repository, https://doi.org/10.24432/C50P49; the 1,797 test images as distributed with scikit-learn"
)
LICENCE = "CC BY 4.0"
CLASS_NAMES = tuple("0123456789")
_METHOD = 1  # to be raised whenever the same images and seed give other mixtures: it names the cache's files


def digits_images() -> tuple[np.ndarray, np.ndarray]:
    """Return the digits as images (1797, 8, 8), float64 in [0, 1], and their labels (1797,), int64.

    The stored intensities are integers from 0 to 16; they are divided by 16.
    """
    with as_file(files("gmengine.data") / "digits.npz") as path:
        _, arrays = read_npz(path, "gmengine.images", 1)
    return arrays["images"] / 16.0, arrays["labels"].astype(np.int64)


def digits(
    components: int = 32, *, dtype: Any = "float32", seed: int = 0, cache: bool = True
) -> tuple[Dataset, Dataset, Dataset]:
    """Return the handwritten digits 0 to 9 as mixtures: a training, a validation and a test set.

    1,797 images of 8 x 8 pixels, fitted by `fit_images` (x to the right, y downwards, pixels of side 1,
    weights that sum to the ink), then split 70/10/20 class by class. The split is always the same.

    Parameters
    ----------
    components : int
        Components per mixture. Half of the images have at most 32 pixels above 0: see `fit_images`.
    dtype : dtype
        float32 or float64.
    seed : int
        Of the fit.
    cache : bool
        Keep the fit in ``GMENGINE_CACHE_DIR`` (by default ``~/.cache/gmengine``) and take it from there.

    Returns
    -------
    train, valid, test : Dataset
        Mixtures of batch (n, 1).

    Raises
    ------
    ArgumentError
        If components is not a positive integer, or seed not an integer >= 0.
    DTypeError
        If dtype is another one.

    Examples
    --------
    >>> train, valid, test = digits(components=8, cache=False)
    >>> len(train), len(valid), len(test)
    (1258, 180, 359)
    """
    for key, value, least in (("components", components, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ArgumentError(f"digits: expected {key} to be an integer >= {least}, got {value!r}")
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise DTypeError(f"digits: expected dtype float32 or float64, got {np.dtype(dtype)}")
    images, labels = digits_images()
    make = partial(_fit, images, labels, int(components), int(seed))
    if cache:
        checksum = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:12]
        name = f"digits-method{_METHOD}-n{components}-seed{seed}-{checksum}.npz"
        whole = cached(name, make, lambda ds: _is_fit(ds, labels, components))
    else:
        whole = make()
    mixtures = whole.mixtures.astype(dtype)
    whole = Dataset(mixtures, labels, whole.class_names, "digits", SOURCE, LICENCE)
    train, valid, test = (whole[index] for index in split(labels, FRACTIONS, SPLIT_SEED))
    return train, valid, test


def _read(folder: Path | None = None) -> Collection:
    """Return the digits as a collection, split as by `digits`; they are never in a folder of the user's."""
    if folder is not None:
        raise DataError("digits: they are part of the package; other images are named as in images:folder")
    images, labels = digits_images()
    parts = np.zeros(len(labels), np.int8)
    _, valid, test = split(labels, FRACTIONS, SPLIT_SEED)
    parts[valid], parts[test] = VALID, TEST
    return Collection(images, labels, CLASS_NAMES, parts, "digits", SOURCE, LICENCE)


def _fit(images: np.ndarray, labels: np.ndarray, components: int, seed: int) -> Dataset:
    fitted = fit_images(images, components, rng=seed)
    channel = Mixture(*(a[:, None] for a in fitted.arrays))
    return Dataset(channel, labels, CLASS_NAMES, "digits", SOURCE, LICENCE)


def _is_fit(dataset: Dataset, labels: np.ndarray, components: int) -> bool:
    shape = (dataset.mixtures.n_components, dataset.mixtures.dim, dataset.mixtures.batch[1])
    return shape == (components, 2, 1) and np.array_equal(dataset.labels, labels)


ENTRY = Entry(
    "digits",
    "1,797 handwritten digits of 8 x 8 pixels, part of the package",
    "images",
    LICENCE,
    SOURCE,
    "",
    lambda folder: None,
    _read,
)

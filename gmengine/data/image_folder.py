"""A folder of pictures, by classes or all alike."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from gmengine.data._class_folders import listed_files
from gmengine.data._parts import parts_of_files
from gmengine.data._resize import centred, fit_side, resize
from gmengine.data.collection import Collection
from gmengine.data.entry import Entry
from gmengine.data.formats.pictures import SUFFIXES, read_picture
from gmengine.data.places import find
from gmengine.errors import ArgumentError

NAME = "images"
_ADVICE = f"name a folder of pictures: {NAME}:/folder"
_ONLY_CLASS = "image"
_LARGEST_SIZE = 4096


def locate(folder: Path | None = None) -> Path:
    """Return the folder, by default ``$GMENGINE_DATA_DIR/images``; DataError if there is none."""
    return find(NAME, folder, (), lambda p: p.is_dir() and (folder is not None or p.name == NAME), _ADVICE)


def image_folder(
    folder: str | os.PathLike[str] | None = None, *, size: int = 64, invert: bool = False
) -> Collection:
    """Return the pictures of a folder as gray images, in a fixed order: by class, part and name.

    The folders may be arranged as ``<class>/files``, split at random, always the same, 70/10/20 class by
    class; as ``{train,test}/<class>/files`` or ``<class>/{train,test}/files``, which gives the split, and
    with ``valid`` (or ``val``, ``validation``) beside train and test, without which a tenth of each class in
    train is for validation. Pictures in the folder itself are one class, "image". Hidden files and files of
    other suffixes are passed over; folders within a class belong to it.

    Parameters
    ----------
    folder : path-like or None
        By default ``$GMENGINE_DATA_DIR/images``.
    size : int
        Pixels of the longer side. Larger pictures are reduced to it, smaller ones enlarged to that of the
        largest, keeping their proportions, and put in the middle of zeros.
    invert : bool
        Black becomes 1 and white 0, for drawings on white. Only what is not 0 is fitted.

    Returns
    -------
    Collection
        Images (n, H, W), float32 in [0, 1] (floats in .npy files keep their values); max(H, W) <= size.

    Raises
    ------
    ArgumentError
        If `size` is not an integer from 1 to 4096, or `invert` no boolean.
    DataError
        If there are no pictures, the arrangement is none of these, or Pillow is needed and missing.
    FileFormatError
        If a picture is damaged; names it.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= _LARGEST_SIZE:
        raise ArgumentError(f"{NAME}: expected size to be an integer from 1 to {_LARGEST_SIZE}, got {size!r}")
    if not isinstance(invert, bool):
        raise ArgumentError(f"{NAME}: expected invert to be True or False, got {invert!r}")
    place = locate(None if folder is None else Path(folder))
    files = listed_files(place, lambda path: path.suffix.lower() in SUFFIXES, _ONLY_CLASS)
    classes = tuple(dict.fromkeys(file.label for file in files))
    numbers = {label: number for number, label in enumerate(classes)}
    labels = np.array([numbers[file.label] for file in files], np.int64)
    parts = parts_of_files([file.part for file in files], labels)
    images = _images([place / file.name for file in files], size, invert)
    source = f"pictures of the folder {place.resolve().name!r}"
    return Collection(images, labels, classes, parts, NAME, source, "")


def _images(paths: list[Path], size: int, invert: bool) -> np.ndarray:
    images = []
    for path in paths:  # reduced at once: what is kept is small, however large the pictures are
        image = read_picture(path, invert=invert)
        images.append(resize(image, *fit_side(image.shape, size)) if max(image.shape) > size else image)
    side = max(max(image.shape) for image in images)
    return centred([resize(image, *fit_side(image.shape, side)) for image in images])


_OPTIONS: dict[str, tuple[Any, str]] = {
    "size": (64, "pixels of the longer side, to which larger pictures are reduced"),
    "invert": (False, "black becomes 1 and white 0, for drawings on white"),
}

ENTRY = Entry(
    NAME,
    "a folder of pictures of your own: <class>/*.png, or train/, valid/ and test/ of such folders",
    "images",
    "",
    "",
    "",
    locate,
    image_folder,
    _OPTIONS,
    {"layers": "1/64 -> 8/16 -> 10"},  # as many classes as there are folders take the place of the 10
)

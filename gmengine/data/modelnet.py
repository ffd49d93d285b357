"""ModelNet10 and ModelNet40: CAD models in 10 and 40 classes, from a folder of the user's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gmengine.data._cloud_files import OPTIONS, read_clouds
from gmengine.data._parts import with_validation
from gmengine.data.collection import TEST, TRAIN, Collection
from gmengine.data.entry import Entry
from gmengine.data.formats._bytes import read_bytes
from gmengine.data.places import find
from gmengine.errors import DataError, FileFormatError

# fmt: off
CLASSES_40 = (
    "airplane", "bathtub", "bed", "bench", "bookshelf", "bottle", "bowl", "car", "chair", "cone", "cup",
    "curtain", "desk", "door", "dresser", "flower_pot", "glass_box", "guitar", "keyboard", "lamp", "laptop",
    "mantel", "monitor", "night_stand", "person", "piano", "plant", "radio", "range_hood", "sink", "sofa",
    "stairs", "stool", "table", "tent", "toilet", "tv_stand", "vase", "wardrobe", "xbox",
)
# fmt: on
CLASSES_10 = (
    "bathtub",
    "bed",
    "chair",
    "desk",
    "dresser",
    "monitor",
    "night_stand",
    "sofa",
    "table",
    "toilet",
)
LICENCE = "academic research only; the copyright of the models is their authors'"
_CLASSES = {"modelnet10": CLASSES_10, "modelnet40": CLASSES_40}
_PARTS = {"train": TRAIN, "test": TEST}
_MOST_BYTES = 2**24  # of a list of names
_NAME = re.compile(r"[a-z_]+_\d{4}", re.ASCII)


def _title(name: str) -> str:
    return name.replace("modelnet", "ModelNet")


def _source(name: str) -> str:
    return (
        f"{_title(name)}, Z. Wu et al., 3D ShapeNets: A Deep Representation for Volumetric Shapes, CVPR 2015, "
        "https://modelnet.cs.princeton.edu"
    )


def _advice(name: str) -> str:
    return (
        f"download {_title(name)}.zip from https://modelnet.cs.princeton.edu, unpack it, and name the folder: "
        f"{name}:/folder/{_title(name)}; the folder modelnet40_normal_resampled will do as well"
    )


def locate(name: str, folder: Path | None = None) -> Path:
    """Return the folder of `name`, which has the class folders or the lists of names; else DataError.

    Without `folder` it is one called ``modelnet10``, ``ModelNet10`` (or 40) or ``modelnet40_normal_resampled``
    in ``$GMENGINE_DATA_DIR``.
    """
    own = os.environ.get("GMENGINE_DATA_DIR")
    usual = [Path(own, title) for title in (_title(name), "modelnet40_normal_resampled")] if own else []
    return find(name, folder, usual, partial(_holds, name), _advice(name))


def _holds(name: str, folder: Path) -> bool:
    return _list_file(name, "train", folder).is_file() or (folder / _CLASSES[name][0]).is_dir()


def _list_file(name: str, part: str, folder: Path) -> Path:
    return folder / f"{name}_{part}.txt"


def modelnet10(
    folder: str | os.PathLike[str] | None = None,
    *,
    points: int = 1024,
    seed: int = 0,
    normalise: bool = True,
    workers: int = 1,
) -> Collection:
    """Return ModelNet10: 4,899 models of furniture in 10 classes as point clouds, 3,991 + 908 by its split.

    The folder may be the unpacked ModelNet10.zip, ``<class>/{train,test}/*.off``: points are drawn from the
    surfaces. Or ``modelnet40_normal_resampled`` of PointNet++, with the lists ``modelnet10_train.txt`` and
    ``modelnet10_test.txt`` and ``<class>/<name>.txt`` of lines ``x,y,z,nx,ny,nz``: of these points some are
    chosen. The official test part is kept; a tenth of each class of the training part is for validation,
    always the same.

    Parameters
    ----------
    folder : path-like or None
        By default it is looked for in ``$GMENGINE_DATA_DIR``.
    points, seed, normalise, workers
        As of `cloud_folder`.

    Raises
    ------
    ArgumentError
        If an option is out of range.
    DataError
        If there is no such folder (says where it can be had), or a class or a list is missing.
    FileFormatError
        If a file is damaged; names it.
    FileNotFoundError
        If a file is missing that a list names.
    """
    return _modelnet("modelnet10", folder, points=points, seed=seed, normalise=normalise, workers=workers)


def modelnet40(
    folder: str | os.PathLike[str] | None = None,
    *,
    points: int = 1024,
    seed: int = 0,
    normalise: bool = True,
    workers: int = 1,
) -> Collection:
    """Return ModelNet40: 12,311 models in 40 classes as point clouds, 9,843 + 2,468 by its official split.

    All else is as of `modelnet10`; the lists are ``modelnet40_train.txt`` and ``modelnet40_test.txt``.
    """
    return _modelnet("modelnet40", folder, points=points, seed=seed, normalise=normalise, workers=workers)


def _modelnet(name: str, folder: str | os.PathLike[str] | None, **options: Any) -> Collection:
    place = locate(name, None if folder is None else Path(folder))
    listed = _list_file(name, "train", place).is_file()
    found = [each for part in _PARTS for each in (_from_list if listed else _from_folders)(name, part, place)]
    found.sort(key=lambda each: each[0])  # stable: parts, and names in them, stay in order
    labels = np.array([label for label, _, _ in found], np.int64)
    parts = with_validation(labels, np.array([part for _, part, _ in found], np.int8))
    clouds = read_clouds(place, [file for _, _, file in found], **options)
    return Collection(clouds, labels, _CLASSES[name], parts, name, _source(name), LICENCE)


def _from_folders(name: str, part: str, place: Path) -> Sequence[tuple[int, int, str]]:
    """Label, part and file of the models of ``<class>/<part>/*.off``."""
    found = []
    for label, class_name in enumerate(_CLASSES[name]):
        files = sorted(file.name for file in (place / class_name / part).glob("*.off"))
        if not files:
            raise DataError(f"{place / class_name / part}: no .off files here; {name} has some of each class")
        found += [(label, _PARTS[part], f"{class_name}/{part}/{file}") for file in files]
    others = sorted(
        each.name for each in place.iterdir() if (each / part).is_dir() and each.name not in _CLASSES[name]
    )
    if others:
        raise DataError(f"{place}: holds the class {others[0]!r}, which {name} does not have")
    return found


def _from_list(name: str, part: str, place: Path) -> Sequence[tuple[int, int, str]]:
    """Label, part and file of the models that ``modelnet10_train.txt`` and the like name."""
    path = _list_file(name, part, place)
    if not path.is_file():
        raise DataError(f"{path} is missing")
    numbers = {class_name: number for number, class_name in enumerate(_CLASSES[name])}
    found = []
    for model in read_bytes(path, _MOST_BYTES).decode("latin-1").split():
        class_name = model[:-5]  # chair_0001
        if not _NAME.fullmatch(model) or class_name not in numbers:
            raise FileFormatError(f"{path}: {model[:60]!r} is not the name of a model of {name}")
        found.append((numbers[class_name], _PARTS[part], f"{class_name}/{model}.txt"))
    if not found:
        raise DataError(f"{path}: names no models")
    return found


def _entry(name: str, summary: str, read: Callable[..., Collection], layers: str) -> Entry:
    return Entry(
        name,
        f"{summary}, from a folder of yours",
        "clouds",
        LICENCE,
        _source(name),
        "",
        partial(locate, name),
        read,
        OPTIONS,
        {"layers": layers, "epochs": 20},
    )


# Networks that are small enough for a CPU.
ENTRY_10 = _entry(
    "modelnet10", "4,899 CAD models of furniture in 10 classes", modelnet10, "1/64 -> 8/16 -> 16/8 -> 10"
)
ENTRY_40 = _entry("modelnet40", "12,311 CAD models in 40 classes", modelnet40, "1/64 -> 8/16 -> 16/8 -> 40")

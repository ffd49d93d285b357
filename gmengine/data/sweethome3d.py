"""Furniture of Sweet Home 3D."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gmengine.data._drawn import check_count, drawn_cloud, seeded
from gmengine.data._sweethome3d_names import MODELNET10, NAMES, class_by_name
from gmengine.data.collection import TEST, TRAIN, VALID, Collection
from gmengine.data.entry import Entry
from gmengine.data.formats.mesh import Mesh
from gmengine.data.formats.sh3f import read_sh3f
from gmengine.data.places import find
from gmengine.data.split import FRACTIONS, SPLIT_SEED, split
from gmengine.data.synth_furniture import CLASS_NAMES as TEN_NAMES
from gmengine.errors import ArgumentError, DataError
from gmengine.fitting.clouds import Clouds

NAME, NAME_10 = "sweethome3d", "sweethome3d-10"
CLASS_NAMES = tuple(sorted({name for name in NAMES.values() if name is not None}))
SOURCE = (
    "Furniture libraries of Sweet Home 3D, https://www.sweethome3d.com/importModels.jsp: models by Scopia, "
    "Andrew Kator & Jennifer Legaz, Reallusion and the contributors of Blend Swap (each model's author is "
    "named in its library)"
)
LICENCE = (
    "CC-BY-3.0 (Scopia.sh3f, KatorLegaz.sh3f, Reallusion.sh3f, BlendSwap-CC-BY.sh3f; attribution required), "
    "CC0 (BlendSwap-CC-0.sh3f)"
)
INSTALL = "apt-get install sweethome3d-furniture"
_USUAL = ("/usr/share/sweethome3d/furniture",)
_CLASSES = {"names": (CLASS_NAMES, NAMES), "modelnet10": (TEN_NAMES, MODELNET10)}
_OPTIONS = {"points": (1024, "points per cloud"), "seed": (0, "of the points that are drawn")}


def locate(folder: Path | None = None) -> Path:
    """Return the folder of the libraries, or a library, a .sh3f file; DataError if there is none."""
    return _locate(NAME, folder)


def _locate(name: str, folder: Path | None) -> Path:
    advice = f"install them with '{INSTALL}', or name the folder of .sh3f files: {name}:/folder"
    return find(name, folder, _USUAL, lambda place: bool(_libraries(place)), advice)


def _libraries(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.glob("*.sh3f"))


def sweethome3d(
    folder: str | os.PathLike[str] | None = None,
    *,
    classes: str = "names",
    parts: str = "split",
    points: int = 1024,
    seed: int = 0,
) -> Collection:
    """Return furniture and other things of a house as point clouds, x to the right, y to the back, z upwards.

    A model stands as in a room of Sweet Home 3D, with the width, depth and height of its catalogue. Points are
    drawn from its surface; their mean is 0, the farthest is at distance 1. What a thing is follows from the
    last words of its English name (``_sweethome3d_names.py`` is the table); others are left out.

    Parameters
    ----------
    folder : path-like or None
        Of the libraries (.sh3f), or one of them; by default that of the Debian package.
    classes : str
        ``"names"``: 13 classes of what there is most of. ``"modelnet10"``: the classes of `synth_furniture`,
        in its order, also those of which there are no objects, so that a network trained on the one can be
        evaluated on the other.
    parts : str
        ``"split"``: 70/10/20 class by class. ``"test"``: everything is in the test part.
    points, seed : int
        Points per cloud, and what they are drawn with; the split does not depend on it.

    Raises
    ------
    DataError
        If there are no libraries (says the command that installs them), or nothing in them has a class.
    ArgumentError
        If an option is none.
    FileFormatError
        If a library is damaged; names it and the model.
    """
    for key, value, known in (("classes", classes, tuple(_CLASSES)), ("parts", parts, ("split", "test"))):
        if value not in known:
            raise ArgumentError(f"sweethome3d: expected {key} to be {' or '.join(known)}, got {value!r}")
    points = check_count("sweethome3d", "points", points, 1)
    seed = check_count("sweethome3d", "seed", seed, 0)
    names, endings = _CLASSES[classes]
    name = NAME if classes == "names" else NAME_10
    place = _locate(name, None if folder is None else Path(folder))
    labels, clouds = [], []
    for library in _libraries(place):
        for piece in read_sh3f(library, lambda piece, _: class_by_name(piece, endings) is not None):
            labels.append(names.index(str(class_by_name(piece.name, endings))))
            rng = seeded(seed, "sweethome3d", library.stem, piece.model)
            clouds.append(drawn_cloud(_upright(piece.mesh), points, rng))
    if not clouds:
        raise DataError(f"{place}: nothing in it has one of the classes {', '.join(names)}")
    label = np.array(labels, np.int64)
    return Collection(Clouds.pack(clouds), label, names, _parts(label, parts), name, SOURCE, LICENCE)


def sweethome3d_10(
    folder: str | os.PathLike[str] | None = None, *, parts: str = "test", points: int = 1024, seed: int = 0
) -> Collection:
    """Return `sweethome3d` with the classes of `synth_furniture`, by default as a test part alone."""
    return sweethome3d(folder, classes="modelnet10", parts=parts, points=points, seed=seed)


def _upright(mesh: Mesh) -> Mesh:
    """Return the mesh turned from y upwards, z to the front, to z upwards, y to the back."""
    x, y, z = mesh.vertices.T
    return Mesh(np.stack([x, -z, y], axis=1), mesh.triangles)


def _parts(labels: np.ndarray, how: str) -> np.ndarray:
    result = np.full(len(labels), TEST, np.int8)
    if how == "split":
        for number, piece in zip((TRAIN, VALID, TEST), split(labels, FRACTIONS, SPLIT_SEED), strict=True):
            result[piece] = number
    return result


ENTRY = Entry(
    NAME,
    "about 400 models of furniture and things of a house in 13 classes",
    "clouds",
    LICENCE,
    SOURCE,
    INSTALL,
    locate,
    sweethome3d,
    options=_OPTIONS,
    training={"layers": "1/64 -> 8/16 -> 13", "epochs": 40},
)

ENTRY_10 = Entry(
    NAME_10,
    "about 160 pieces of furniture in the ten classes of synth-furniture, to test on",
    "clouds",
    LICENCE,
    SOURCE,
    INSTALL,
    lambda folder: _locate(NAME_10, folder),
    sweethome3d_10,
    options={"parts": ("test", "'test': all in the test part; 'split': 70/10/20"), **_OPTIONS},
    training={"layers": "1/64 -> 8/16 -> 10", "epochs": 40},
)

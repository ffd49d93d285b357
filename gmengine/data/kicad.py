"""KiCad's models of electronic parts."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import numpy as np

from gmengine.data._drawn import check_count
from gmengine.data._kicad_files import part_clouds
from gmengine.data.collection import TEST, TRAIN, VALID, Collection
from gmengine.data.entry import Entry
from gmengine.data.places import find
from gmengine.data.split import FRACTIONS, SPLIT_SEED, split, split_groups
from gmengine.errors import ArgumentError, DataError
from gmengine.threads import available_cores

NAME = "kicad"
LIBRARIES = {
    "button": ("Button_Switch_",),
    "capacitor": ("Capacitor_",),
    "connector": (
        "Connector_Dsub",
        "Connector_FFC-FPC",
        "Connector_IDC",
        "Connector_JST",
        "Connector_Molex",
        "Connector_Stocko",
    ),
    "crystal": ("Crystal",),
    "diode": ("Diode_",),
    "dip": ("Package_DIP",),
    "flat_package": ("Package_BGA", "Package_DFN_QFN", "Package_LGA", "Package_QFP", "Package_SON"),
    "inductor": ("Inductor_",),
    "led": ("LED_",),
    "mounting": ("Mounting_Wuerth",),
    "pin_header": ("Connector_PinHeader_",),
    "pin_socket": ("Connector_PinSocket_",),
    "resistor": ("Resistor_",),
    "small_outline": ("Package_SO",),
    "terminal_block": ("Connector_Phoenix_", "TerminalBlock_"),
    "transistor": ("Package_TO_SOT_",),
}
"""Class name -> the libraries of its parts; a name that ends in ``_`` stands for all that begin with it."""

CLASS_NAMES = tuple(LIBRARIES)
SOURCE = "KiCad packages3D, the KiCad community, https://gitlab.com/kicad/libraries/kicad-packages3D"
LICENCE = "CC-BY-SA-4.0 with the KiCad exception; a few files GPL-3+ (see the package's copyright file)"
INSTALL = "apt-get install kicad-packages3d"
_USUAL = ("/usr/share/kicad/3dmodels", "/usr/share/kicad/modules/packages3d")
_ADVICE = (
    f"install them with '{INSTALL}', or fetch the package alone (380 MB) with "
    f"'apt-get download kicad-packages3d' and name the file: {NAME}:/folder/kicad-packages3d_6.0.10-1_all.deb"
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def locate(folder: Path | None = None) -> Path:
    """Return the folder of the libraries (``*.3dshapes``) or the .deb file; DataError if there is none.

    A folder may also hold the package: of several the last by name is taken.
    """
    place = find(NAME, folder, _USUAL, lambda place: bool(_sources(place)), _ADVICE)
    return _sources(place)[-1]


def _sources(place: Path) -> list[Path]:
    if place.is_file():
        return [place] if place.suffix == ".deb" else []
    if any(place.glob("*.3dshapes")):
        return [place]
    return sorted(place.glob("kicad-packages3d_*.deb"))


def class_of(part: str) -> int | None:
    """Return the class of ``library.3dshapes/name.wrl``, None if it is in none."""
    library = part.split("/")[0].removesuffix(".3dshapes")
    for index, libraries in enumerate(LIBRARIES.values()):
        if any(library == one or (one.endswith("_") and library.startswith(one)) for one in libraries):
            return index
    return None


def family_of(part: str) -> str:
    """Return the part's name with every number masked, whatever library it is in.

    ``PinHeader_1x05_P2.54mm_Vertical`` and ``PinHeader_2x17_P1.00mm_Vertical`` are one family: they differ in
    the number of pins and in a scale, which no network should be asked to tell from each other.

    Examples
    --------
    >>> family_of("Package_QFP.3dshapes/LQFP-48_7x7mm_P0.5mm.wrl")
    'LQFP-#_#x#mm_P#mm'
    """
    return _NUMBER.sub("#", part.split("/")[-1].removesuffix(".wrl"))


def kicad(
    folder: str | os.PathLike[str] | None = None,
    *,
    split: str = "family",
    points: int = 1024,
    seed: int = 0,
    workers: int | None = None,
) -> Collection:
    """Return electronic parts of 16 classes as point clouds, x and y in the plane of the board, z upwards.

    Points are drawn from the surface of the VRML models; their mean is 0, the farthest is at distance 1.
    Parsing takes a minute or two; `RawData` keeps what was read in ``GMENGINE_CACHE_DIR``.

    Parameters
    ----------
    folder : path-like or None
        Of the libraries, or the package kicad-packages3d itself, a .deb file, which need not be installed.
    split : str
        ``"family"``: all parts whose names differ in numbers alone are in the same part of the collection,
        70/10/20 as near as families allow. ``"random"``: 70/10/20 within each class; this warns, because
        nearly every test object then has a sibling in the training part.
    points, seed : int
        Points per cloud, and what they are drawn with; the split does not depend on it.
    workers : int or None
        Processes that parse, which are spawned: a script that calls this must guard its main part by
        ``if __name__ == "__main__":``. None: one per core that this process may use.

    Raises
    ------
    DataError
        If there are no parts (says the command that installs them).
    ArgumentError
        If an option is none.
    FileFormatError, OSError
        If the package is damaged or cannot be read. A single model that cannot be read is passed over; a
        warning is logged.
    """
    if split not in ("family", "random"):
        raise ArgumentError(f"kicad: expected split to be 'family' or 'random', got {split!r}")
    points, seed = check_count("kicad", "points", points, 1), check_count("kicad", "seed", seed, 0)
    workers = available_cores() if workers is None else check_count("kicad", "workers", workers, 1)
    place = locate(None if folder is None else Path(folder))
    every, clouds = part_clouds(place, points, seed, workers)
    known = [(index, part) for index, part in enumerate(every) if class_of(part) is not None]
    if not known:
        raise DataError(f"{place}: no models of parts of known classes; {_ADVICE}")
    parts = [part for _, part in known]
    labels = np.array([class_of(part) for part in parts], np.int64)
    pieces, clouds = _pieces(parts, labels, split), clouds[[index for index, _ in known]]
    return Collection(clouds, labels, CLASS_NAMES, pieces, NAME, SOURCE, LICENCE)


def _pieces(parts: list[str], labels: np.ndarray, how: str) -> np.ndarray:
    if how == "family":
        # A family of one name in two classes would be two: what it is called does not say what it is.
        families = np.array([f"{label} {family_of(part)}" for label, part in zip(labels, parts, strict=True)])
        pieces = split_groups(labels, families, FRACTIONS, SPLIT_SEED)
    else:
        warnings.warn(
            "kicad: a random split puts members of one family, which differ in the number of pins alone, into "
            "the training and the test part: accuracies come out too high; split='family' keeps them together",
            UserWarning,
            stacklevel=3,
        )
        pieces = split(labels, FRACTIONS, SPLIT_SEED)
    result = np.empty(len(labels), np.int8)
    for number, piece in zip((TRAIN, VALID, TEST), pieces, strict=True):
        result[piece] = number
    return result


ENTRY = Entry(
    NAME,
    "5,632 electronic parts in 16 classes, CAD models in 3D",
    "clouds",
    LICENCE,
    SOURCE,
    INSTALL,
    locate,
    kicad,
    options={
        "split": ("family", "'family' keeps parts together that differ in numbers alone; 'random' leaks"),
        "points": (1024, "points per cloud"),
        "seed": (0, "of the points that are drawn"),
        "workers": (None, "processes that parse the models; by default one per core"),
    },
    training={"layers": "1/64 -> 8/16 -> 16", "epochs": 10},
)

"""Furniture libraries of Sweet Home 3D: .sh3f, a zip file of models and a catalogue of them."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from gmengine.data.formats.mesh import Mesh, checked_mesh
from gmengine.data.formats.obj import parse_obj
from gmengine.data.formats.properties import parse_properties
from gmengine.errors import FileFormatError

_CATALOGUE = "PluginFurnitureCatalog.properties"
_KEY = re.compile(r"(\w+)#([0-9]{1,6})")
_MOST, _MOST_OF_ALL = 1 << 27, 1 << 32  # bytes of an entry and of all, inflated
_RATIO, _SMALL = 200, 1 << 20  # inflated bytes per byte, for entries that are not small


@dataclass(frozen=True, eq=False)
class Furniture:
    """A model of a library, as it stands in a room: x to the right, y upwards, z to the front, in centimetres."""

    name: str
    category: str
    model: str
    mesh: Mesh


def read_sh3f(path: str | os.PathLike[str], wanted: Callable[[str, str], bool]) -> Iterator[Furniture]:
    """Yield the furniture of a library, in the catalogue's order.

    A model is turned by its ``modelRotation`` and stretched to the width, height and depth of the catalogue,
    as Sweet Home 3D does.

    Parameters
    ----------
    path : path-like
        A .sh3f file.
    wanted : callable
        ``wanted(name, category)`` says whether a model is read.

    Raises
    ------
    FileFormatError
        Names the library, and the model: no zip file, truncated, damaged, encrypted; an entry is called by an
        absolute name or one with ``..``, is larger than 128 MiB or 200 times what it is packed into, or all
        are larger than 4 GiB; the catalogue or a wanted model is missing or damaged.
    OSError
        If the library is missing or cannot be read.
    """
    name = os.fspath(path)
    with open(path, "rb") as handle, _naming(name):
        archive = zipfile.ZipFile(handle)
        entries = _checked(archive)
        for piece in _catalogue(archive, entries):
            if wanted(piece["name"], piece["category"]):
                mesh = _model(archive, entries, piece)
                yield Furniture(piece["name"], piece["category"], piece["model"], mesh)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {error}") from None
    except zipfile.BadZipFile as error:
        raise FileFormatError(f"{name}: truncated, damaged or not a zip file ({error})") from None
    except MemoryError:
        raise
    # zipfile and zlib do not say what they raise on damaged bytes: it is almost anything.
    except Exception as error:
        raise FileFormatError(f"{name}: damaged ({type(error).__name__}: {error})") from error


def _checked(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by name; FileFormatError if one of them, or all together, are not to be trusted."""
    entries = {}
    total = 0
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename or ":" in info.filename:
            raise FileFormatError(f"refused: an entry is called {info.filename!r}")
        if info.flag_bits & 1:
            raise FileFormatError(f"refused: {info.filename!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileFormatError(f"refused: {info.filename!r} is packed by method {info.compress_type}")
        total += info.file_size
        ratio = info.file_size / max(1, info.compress_size)
        if info.file_size > _MOST or total > _MOST_OF_ALL or (info.file_size > _SMALL and ratio > _RATIO):
            raise FileFormatError(
                f"refused: {info.filename!r} inflates from {info.compress_size} to {info.file_size} bytes, "
                f"and all entries until then to {total}"
            )
        entries[str(path)] = info
    return entries


def _catalogue(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> Iterator[dict[str, str]]:
    """Yield what the catalogue says of every piece of furniture, by key without ``#number``."""
    if _CATALOGUE not in entries:
        raise FileFormatError(f"no {_CATALOGUE} in it")
    numbered: dict[int, dict[str, str]] = {}
    for key, value in parse_properties(archive.read(entries[_CATALOGUE]), _CATALOGUE).items():
        match = _KEY.fullmatch(key)
        if match:
            numbered.setdefault(int(match[2]), {})[match[1]] = value
    if not numbered:
        raise FileFormatError(f"{_CATALOGUE} lists no furniture")
    for number in sorted(numbered):
        yield {"number": str(number), "name": "", "category": "", **numbered[number]}


def _model(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], piece: dict[str, str]) -> Mesh:
    said = piece.get("model")
    if said is None:
        raise FileFormatError(f"{_CATALOGUE}: furniture {piece['number']} has no model")
    info = entries.get(said.lstrip("/"))
    if info is None:
        raise FileFormatError(f"{said}: missing, although {_CATALOGUE} lists it")
    if not said.lower().endswith(".obj"):
        raise FileFormatError(f"{said}: only models of the format OBJ are read")
    mesh = parse_obj(archive.read(info), said)
    size = _numbers(piece, ("width", "height", "depth"))
    if not (size > 0).all():
        raise FileFormatError(f"{_CATALOGUE}: furniture {piece['number']} has a size that is not positive")
    vertices = mesh.vertices
    if "modelRotation" in piece:
        turned = np.array([float(x) for x in piece["modelRotation"].split()])
        if turned.shape != (9,) or not np.isfinite(turned).all():
            raise FileFormatError(f"{_CATALOGUE}: furniture {piece['number']} has a damaged modelRotation")
        vertices = vertices @ turned.reshape(3, 3).T
    corners = vertices[mesh.triangles]
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    extent = np.where(high > low, high - low, size)  # a flat model is flat in any size
    return checked_mesh((vertices - (low + high) / 2) * (size / extent), mesh.triangles, said)


def _numbers(piece: dict[str, str], keys: tuple[str, ...]) -> np.ndarray:
    try:
        numbers = np.array([float(piece[key]) for key in keys])
    except (KeyError, ValueError):
        numbers = np.full(len(keys), np.nan)
    if not np.isfinite(numbers).all():
        raise FileFormatError(f"{_CATALOGUE}: furniture {piece['number']} lacks a number: {', '.join(keys)}")
    return numbers

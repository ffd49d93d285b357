"""Wavefront OBJ: the vertices and faces of it."""

from __future__ import annotations

import re
from itertools import chain

import numpy as np

from gmengine.data.formats._text import chunks, coordinates, gathered, plain, table
from gmengine.data.formats.mesh import Mesh, checked_mesh, fan
from gmengine.errors import FileFormatError

_VERTEX = re.compile(rb"^[ \t]*v[ \t]+([^\n]*)", re.MULTILINE)
_FACE = re.compile(rb"^[ \t]*f[ \t]+([^\n]*)", re.MULTILINE)
_CONTINUED = re.compile(rb"\\[ \t]*\n")
_TEXTURE_AND_NORMAL = re.compile(rb"/\S*")


def parse_obj(data: bytes, name: str) -> Mesh:
    """Return the mesh in the text of an OBJ file.

    Read are ``v`` lines (the first three numbers; a weight or colours may follow) and ``f`` lines (``1``,
    ``1/2``, ``1//3`` or ``1/2/3``; negative numbers count from the last vertex so far). Polygons are cut into
    fans. All groups and objects are one mesh; everything else is passed over.

    Parameters
    ----------
    data : bytes
        The file's content.
    name : str
        The file, as errors name it.

    Raises
    ------
    FileFormatError
        If a number is damaged or missing, or `checked_mesh` refuses the result.
    """
    data = plain(data)
    if b"\\" in data:
        data = _CONTINUED.sub(b" ", data)
    vertices, starts = _vertices(data, name)
    corners, sizes, faces = _corners(data, name)
    corners = _from_zero(corners, np.searchsorted(starts, faces), sizes)
    if (corners < 0).any():
        raise FileFormatError(f"{name}: a face refers to a vertex before the first")
    return checked_mesh(vertices, fan(corners, sizes), name)


def _from_zero(corners: np.ndarray, before: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return numbers from 0, of those from 1 and of the negative ones, which count back from `before`."""
    if not (corners < 0).any():
        return corners - 1
    return np.where(corners < 0, corners + np.repeat(before, sizes), corners - 1)


def _vertices(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the vertices, and where each is written."""
    blocks: list[np.ndarray] = []
    places, count = [np.empty(0, np.int64)], 0
    for chunk in chunks(_VERTEX.finditer(data), name):
        blocks.append(coordinates([match[1] for match in chunk], count, name, "vertex"))
        places.append(np.array([match.start() for match in chunk], np.int64))
        count += len(chunk)
    return gathered(blocks), np.concatenate(places)


def _corners(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the corners of all polygons as they are written, corners per polygon, and where it is written."""
    corners, sizes, places = ([np.empty(0, np.int64)] for _ in range(3))
    for chunk in chunks(_FACE.finditer(data), name):
        text = b"\n".join([match[1] for match in chunk])
        if b"/" in text:
            text = _TEXTURE_AND_NORMAL.sub(b"", text)
        found = _polygons(text.split(b"\n"), name)
        corners.append(found[0])
        sizes.append(found[1])
        places.append(np.array([match.start() for match in chunk], np.int64))
    return np.concatenate(corners), np.concatenate(sizes), np.concatenate(places)


def _polygons(lines: list[bytes], name: str) -> tuple[np.ndarray, np.ndarray]:
    fast = table(lines, np.int64)  # if all have one size
    if fast is not None:
        return fast.ravel(), np.full(len(fast), fast.shape[1], np.int64)
    rows = [line.split() for line in lines]
    try:
        corners = np.array(list(map(int, chain.from_iterable(rows))), np.int64)
    except (ValueError, OverflowError):
        raise FileFormatError(f"{name}: a face has a corner that is not a number of a vertex") from None
    return corners, np.fromiter(map(len, rows), np.int64, len(rows))

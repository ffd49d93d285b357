"""The Object File Format of Geomview, in which ModelNet is distributed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import numpy as np

from gmengine.data.formats._text import NOT_BLANK, chunks, coordinates, gathered, plain, table
from gmengine.data.formats.mesh import Mesh, checked_mesh, fan
from gmengine.errors import FileFormatError

_HEADER = re.compile(rb"(?:ST)?C?N?(4?n?)OFF([^\n\d]*)\s*([^\n]*)")


def parse_off(data: bytes, name: str) -> Mesh:
    """Return the mesh in the text of an OFF file.

    One vertex or face a line. Normals, colours and texture coordinates (``COFF``, ``NOFF``, ``STOFF``) follow
    the coordinates and are passed over, as are colours of faces. The counts may stand on the line of the word
    OFF and even touch it, as in many files of ModelNet: ``OFF123 45 0``. Polygons are cut into fans.

    Parameters
    ----------
    data : bytes
        The file's content.
    name : str
        The file, as errors name it.

    Raises
    ------
    FileFormatError
        If the word OFF is missing, the file is binary or not three-dimensional, is shorter than its counts
        say, a number is damaged, or `checked_mesh` refuses the result.
    """
    data = plain(data)
    begin = NOT_BLANK.search(data)
    header = _HEADER.match(data, begin.start() if begin else 0)
    if header is None:
        raise FileFormatError(f"{name}: not an OFF file (it does not begin with OFF)")
    if header[1] or b"BINARY" in header[2]:
        raise FileFormatError(f"{name}: only OFF files of three dimensions in text are read")
    vertices, faces = _counts(header[2] + header[3], name)
    # The shortest vertex is "0 0 0", the shortest face "0", each with the end of the line before it.
    if 6 * vertices + 2 * faces > len(data) - header.end():
        raise FileFormatError(
            f"{name}: truncated: {vertices} vertices and {faces} faces cannot be in {len(data)} bytes"
        )
    lines = NOT_BLANK.finditer(data, header.end())
    places = _vertices(lines, vertices, name)
    corners, sizes = _faces(lines, faces, name)
    return checked_mesh(places, fan(corners, sizes), name)


def _counts(line: bytes, name: str) -> tuple[int, int]:
    words = line[:80].split()
    # Some writers leave the number of edges out; nobody reads it.
    if len(words) not in (2, 3) or not all(word.isdigit() and len(word) < 19 for word in words):
        found = line.decode("latin-1")[:60]
        raise FileFormatError(f"{name}: expected the numbers of vertices, faces and edges, got {found!r}")
    return int(words[0]), int(words[1])


def _vertices(lines: Iterator[re.Match[bytes]], count: int, name: str) -> np.ndarray:
    blocks: list[np.ndarray] = []
    read = 0
    for chunk in chunks(islice(lines, count), name):
        blocks.append(coordinates([match[0] for match in chunk], read, name, "vertex"))
        read += len(chunk)
    if read < count:
        raise FileFormatError(f"{name}: truncated after {read} of {count} vertices")
    return gathered(blocks)


def _faces(lines: Iterator[re.Match[bytes]], count: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of all polygons and corners per polygon."""
    corners, sizes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    read = 0
    for chunk in chunks(islice(lines, count), name):
        found = _polygons([match[0] for match in chunk], read, name)
        corners.append(found[0])
        sizes.append(found[1])
        read += len(chunk)
    if read < count:
        raise FileFormatError(f"{name}: truncated after {read} of {count} faces")
    return np.concatenate(corners), np.concatenate(sizes)


def _polygons(lines: list[bytes], first: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return corners and sizes of a chunk of faces, of which the first has the number `first`."""
    fast = table(lines, np.int64)  # if all have one size, and no colours
    if fast is not None and (fast[:, 0] == fast.shape[1] - 1).all():
        return fast[:, 1:].ravel(), fast[:, 0]
    corners: list[int] = []
    sizes = np.empty(len(lines), np.int64)
    for index, line in enumerate(lines):
        row = line.split()
        try:
            size = int(row[0])
            if not 0 <= size < len(row):
                raise FileFormatError(f"{name}: face {first + index} has {len(row) - 1} of {size} corners")
            sizes[index] = size
            corners += map(int, row[1 : size + 1])
        except FileFormatError:
            raise
        except ValueError:
            raise FileFormatError(f"{name}: face {first + index} has a damaged number") from None
    try:
        return np.array(corners, np.int64), sizes
    except OverflowError:
        raise FileFormatError(f"{name}: a face refers to a vertex of an absurd number") from None

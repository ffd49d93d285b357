"""Point clouds as lines of numbers, or as arrays."""

from __future__ import annotations

import re

import numpy as np

from gmengine.data.formats._text import NOT_BLANK, chunks, coordinates, gathered, plain
from gmengine.data.formats.mesh import check_vertices
from gmengine.errors import FileFormatError

_COMMENT = re.compile(rb"//[^\n]*")
_TO_SPACES = bytes.maketrans(b",;", b"  ")
_NOTHING_BETWEEN = re.compile(rb"(?:^|[,;])[ \t]*[,;]", re.MULTILINE)


def parse_xyz(data: bytes, name: str) -> np.ndarray:
    """Return the points (P, 3), float64, in a text of one point a line.

    Columns are separated by white space, commas or semicolons; the first three are used, such as those of
    ModelNet's ``x,y,z,nx,ny,nz``. Comments begin with ``#`` or ``//``. A first line without a number among
    its first three words names the columns and is passed over.

    Parameters
    ----------
    data : bytes
        The file's content.
    name : str
        The file, as errors name it.

    Raises
    ------
    FileFormatError
        If there is no point, a point has fewer coordinates, one is damaged or beyond float32, a column is
        empty, or commas and semicolons are mixed (one of them would be a decimal point).
    """
    data = plain(data)
    if b"//" in data:
        data = _COMMENT.sub(b"", data)
    if b"," in data and b";" in data:
        raise FileFormatError(f"{name}: commas and semicolons; decimal commas are not read")
    if b"," in data or b";" in data:
        if _NOTHING_BETWEEN.search(data):
            raise FileFormatError(f"{name}: a column is empty")
        data = data.translate(_TO_SPACES)
    lines = NOT_BLANK.finditer(data)
    head = NOT_BLANK.search(data)
    if head is not None and _names_columns(head[0]):
        next(lines)
    blocks: list[np.ndarray] = []
    count = 0
    for chunk in chunks(lines, name):
        blocks.append(coordinates([match[0] for match in chunk], count, name, "point"))
        count += len(chunk)
    return checked_points(gathered(blocks), name)


def _names_columns(line: bytes) -> bool:
    words = line[:1024].split(None, 3)[:3]
    return len(words) == 3 and not any(map(_is_number, words))


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def checked_points(points: np.ndarray, name: str) -> np.ndarray:
    """Return points (P, 3) as float64; FileFormatError if there is none, or names one beyond float32."""
    if not len(points):
        raise FileFormatError(f"{name}: no points")
    return check_vertices(points, name, "point")


def points_of_array(array: np.ndarray, name: str) -> np.ndarray:
    """Return the points (P, 3), float64, in an array (P, 3 or more) of real numbers, such as a .npy file's.

    Raises
    ------
    FileFormatError
        If the array is another; if there is no point, or one is beyond float32.
    """
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] < 3:
        raise FileFormatError(f"{name}: expected real numbers (P, 3), got {array.dtype} {array.shape}")
    return checked_points(array[:, :3].astype(np.float64), name)

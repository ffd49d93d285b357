"""PLY files, in text and binary: tables of numbers and of lists of numbers (Turk's Polygon File Format 1.0)."""

from __future__ import annotations

import os
from typing import Any

from gmengine.data.formats._bytes import read_bytes
from gmengine.data.formats._ply_header import parse_header
from gmengine.data.formats._ply_rows import parse_rows
from gmengine.data.formats._ply_write import write_ply
from gmengine.data.formats.ragged import Ragged
from gmengine.errors import FileFormatError

__all__ = ["Ragged", "parse_ply", "read_ply", "write_ply"]


def read_ply(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Return the tables of a PLY file: element -> property -> column, in the file's order.

    A column is an array (rows,) of the dtype that the file says, in native byte order, or a `Ragged` for a
    property of lists. Numbers are handed on as they are, NaN and infinities included. A file that is gzipped is
    inflated on the way.

    Raises
    ------
    FileFormatError
        Names the file and the reason: another format, damaged, truncated, rows that the file cannot hold,
        unknown types, names that come twice, numbers that do not fit their type, bytes after the last row.
    OSError
        If the file is missing (FileNotFoundError) or cannot be read.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> file = pathlib.Path(tempfile.mkdtemp(), "points.ply")
    >>> write_ply(file, {"vertex": {"x": np.array([1.0, 2.0]), "y": np.array([0.5, 0.25])}})
    >>> read_ply(file)
    {'vertex': {'x': array([1., 2.]), 'y': array([0.5 , 0.25])}}
    """
    return parse_ply(read_bytes(path), os.fspath(path))


def parse_ply(data: bytes, name: str) -> dict[str, dict[str, Any]]:
    """Return the tables of the bytes of a PLY file, as `read_ply` does; errors call it `name`."""
    try:
        return parse_rows(data, parse_header(data))
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {error}") from None

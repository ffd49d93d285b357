"""IDX files: the format of MNIST and of what came after it."""

from __future__ import annotations

import math
import os
import struct

import numpy as np

from gmengine.data.formats._bytes import read_bytes
from gmengine.errors import FileFormatError

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 32  # NumPy has a limit of its own, above this


def read_idx(path: str | os.PathLike[str], most: int = 2**31) -> np.ndarray:
    """Return the array of an IDX file, gzip or not.

    Two zero bytes; one byte for the type of the elements; one for the number of axes; for each axis its
    length, 32 bits; then the elements. Everything is big-endian. Source: Y. LeCun, C. Cortes and C. J. C.
    Burges, "The MNIST database of handwritten digits", section "File formats".

    Parameters
    ----------
    path : path-like
        The file.
    most : int
        Bytes that are read at most, after inflation.

    Returns
    -------
    array
        Of uint8, int8, int16, int32, float32 or float64, in the machine's byte order; writable.

    Raises
    ------
    FileFormatError
        If the file is not IDX, damaged, or its length is not what its header says; names the file.
    OSError
        If it is missing or cannot be read.
    """
    data = read_bytes(path, most)
    try:
        return _parse(data)
    except FileFormatError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from None


def _parse(data: bytes) -> np.ndarray:
    if len(data) < 4:
        raise FileFormatError(f"not an IDX file: {len(data)} bytes are no header")
    zero, code, axes = struct.unpack_from(">HBB", data)
    if zero != 0 or code not in _DTYPES:
        raise FileFormatError(f"not an IDX file: it begins with the bytes {data[:4].hex(' ')}")
    if axes > _MOST_AXES or len(data) < 4 + 4 * axes:
        raise FileFormatError(f"damaged: {axes} axes in a file of {len(data)} bytes")
    shape = struct.unpack_from(f">{axes}I", data, 4)
    dtype = np.dtype(_DTYPES[code])
    found, said = len(data) - 4 - 4 * axes, math.prod(shape) * dtype.itemsize
    if found != said:
        state = "truncated" if found < said else "longer than its header says"
        raise FileFormatError(f"{state}: {shape} of {dtype.name} are {said} bytes, found {found}")
    try:
        elements = np.frombuffer(data, dtype, offset=4 + 4 * axes).reshape(shape)
    except ValueError:  # lengths of 0 beside lengths that overflow
        raise FileFormatError(f"damaged: no array has the shape {shape}") from None
    return elements.astype(dtype.newbyteorder("="))

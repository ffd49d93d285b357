"""NumPy's own files, read without trust."""

from __future__ import annotations

import io
import math
import os

import numpy as np

from gmengine.data.formats._bytes import read_bytes
from gmengine.errors import FileFormatError

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(path: str | os.PathLike[str], most: int = 2**31) -> np.ndarray:
    """Return the array of booleans or real numbers in a .npy file, gzip or not.

    Parameters
    ----------
    path : path-like
        The file.
    most : int
        Bytes that are read at most, after inflation.

    Returns
    -------
    array
        In C order and the machine's byte order; writable.

    Raises
    ------
    FileFormatError
        If the file is not .npy, holds other things, or its length is not what its header says; names it.
    OSError
        If it is missing or cannot be read.
    """
    data = read_bytes(path, most)
    try:
        return _parse(data)
    except FileFormatError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from None


def _parse(data: bytes) -> np.ndarray:
    stream = io.BytesIO(data)
    try:
        shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except MemoryError:
        raise
    # The header is a Python literal: a damaged one raises almost anything.
    except Exception as error:
        raise FileFormatError(f"not a .npy file, or damaged ({type(error).__name__}: {error})") from None
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise FileFormatError(f"expected booleans or real numbers, got the dtype {dtype}")
    found, said = len(data) - stream.tell(), math.prod(shape) * dtype.itemsize
    if found != said or min(shape, default=0) < 0:
        state = "truncated" if found < said else "longer than its header says"
        raise FileFormatError(f"{state}: {shape} of {dtype.name} are {said} bytes, found {found}")
    try:
        flat = np.frombuffer(data, dtype, offset=stream.tell())
        array = flat.reshape(shape, order="F" if fortran else "C")
    except ValueError:  # lengths of 0 beside lengths that overflow
        raise FileFormatError(f"damaged: no array has the shape {shape}") from None
    return array.astype(dtype.newbyteorder("="), order="C")

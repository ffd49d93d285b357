"""Netpbm's gray and colour pictures, .pgm and .ppm."""

from __future__ import annotations

import re

import numpy as np

from gmengine.errors import FileFormatError

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])++"
_HEADER = re.compile(rb"P([2356])" + (_GAP + rb"(\d{1,9})") * 3 + rb"\s")
_LONGEST_HEADER = 1 << 16  # comments included


def parse_pnm(data: bytes, most_pixels: int) -> tuple[np.ndarray, int]:
    """Return the intensities (H, W, 1 or 3), uint8 or uint16, of a P2, P3, P5 or P6 file, and their maximum.

    Of a file with several pictures the first is returned. Source: the manual pages pgm(5) and ppm(5).

    Raises
    ------
    FileFormatError
        If the file is of another kind, damaged, or has more than `most_pixels` pixels.
    """
    header = _HEADER.match(data[:_LONGEST_HEADER])
    if header is None:
        raise FileFormatError("not a PGM or PPM file (P2, P3, P5 or P6)")
    kind, width, height, top = (int(number) for number in header.groups())
    if not 0 < width * height <= most_pixels:
        raise FileFormatError(f"{width} x {height} pixels; at most {most_pixels} are read, and at least one")
    if not 0 < top < 2**16:
        raise FileFormatError(f"damaged: intensities up to {top}")
    shape = (height, width, 3 if kind in (3, 6) else 1)
    read = _plain if kind in (2, 3) else _raw
    values = read(memoryview(data)[header.end() :], height * width * shape[2], top)
    if values.max() > top:
        raise FileFormatError(f"damaged: an intensity of {values.max()}, where {top} is the maximum")
    return values.reshape(shape), top


def _raw(data: memoryview, count: int, top: int) -> np.ndarray:
    dtype = np.dtype(">u2" if top > 255 else "u1")
    if len(data) < count * dtype.itemsize:
        raise FileFormatError(f"truncated: expected {count * dtype.itemsize} bytes, found {len(data)}")
    return np.frombuffer(data, dtype, count).astype(dtype.newbyteorder("="), copy=False)


def _plain(data: memoryview, count: int, top: int) -> np.ndarray:
    text = bytes(data)
    if text.translate(None, b"0123456789 \t\r\n\v\f"):
        raise FileFormatError("damaged: expected whole numbers")
    # Without this, an empty text would be read as one number.
    values = np.fromstring(text, np.int64, sep=" ") if text.strip() else np.empty(0, np.int64)
    if len(values) < count:
        raise FileFormatError(f"truncated: expected {count} numbers, found {len(values)}")
    return np.minimum(values[:count], 2**16 - 1).astype(np.uint16)

"""Picture files as gray images."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from gmengine.data.formats._bytes import read_bytes
from gmengine.data.formats.npy import read_npy
from gmengine.data.formats.pnm import parse_pnm
from gmengine.errors import DataError, FileFormatError

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".npy"))
_PILLOW_READS = ("PNG", "JPEG", "BMP", "GIF", "TIFF")  # nothing that starts other programs, as EPS does
_MOST_BYTES = 2**29
_MOST_PIXELS = 2**26
_HIGHEST = 1e35  # of a float: as much as float32 holds of its thousandfold, and more than anybody needs
_LUMINANCE = (299, 587, 114)  # thousandths, ITU-R BT.601


def read_picture(path: str | os.PathLike[str], *, invert: bool = False) -> np.ndarray:
    """Return the gray image (H, W), float32, of a picture file; the suffix decides how it is read.

    Intensities of 8 and 16 bits are divided by the format's maximum, floats are taken as they are. Colours
    become 0.299 R + 0.587 G + 0.114 B, and what is transparent becomes 0. Pictures are turned as their EXIF
    data say. Of animations and multi-page files the first picture is read.

    Parameters
    ----------
    path : path-like
        A file with one of the `SUFFIXES`. All but .npy, .pgm and .ppm are read by Pillow.
    invert : bool
        Black becomes 1 and white 0, for ink on paper. Transparent pixels are 0 all the same.

    Raises
    ------
    FileFormatError
        If the file is damaged, not what its suffix says, has no pixel or more than 2**26, or a float that is
        not finite, negative, or above 1 where it is to be inverted; names the file.
    DataError
        If Pillow is needed and missing; says the command that installs it.
    OSError
        If the file is missing or cannot be read.
    """
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".npy":
            return _gray(*_of_array(read_npy(path, _MOST_BYTES)), invert)
        data = read_bytes(path, _MOST_BYTES)
        if suffix in (".pgm", ".ppm"):
            return _gray(*parse_pnm(data, _MOST_PIXELS), invert)
        return _gray(*_by_pillow(data), invert)
    except ImportError:
        advice = "install it with: pip install 'gmengine[images]'"
        raise DataError(f"{os.fspath(path)}: reading {suffix} files needs Pillow; {advice}") from None
    except FileFormatError as error:
        prefix = f"{os.fspath(path)}: "
        raise FileFormatError(prefix + str(error).removeprefix(prefix)) from None


def _gray(channels: np.ndarray, top: float, invert: bool) -> np.ndarray:
    """Luminance times opacity of (H, W, C) channels from 0 to `top`.

    C is 1 (gray), 2 (gray, alpha), 3 or 4 (colours, alpha). Computed in integers where they come in, so that
    white is exactly 1, and exactly 0 when inverted: a weight of 0 is an absent component.
    """
    count = channels.shape[2]
    if channels.dtype.kind == "f":
        _check_floats(channels, top if invert or count in (2, 4) else _HIGHEST)
    wide: Any = np.uint32 if channels.dtype.kind == "u" else np.float64
    light, full = channels[..., 0].astype(wide), top
    if count > 2:
        light, full = light * wide(_LUMINANCE[0]), top * 1000
        for channel in (1, 2):
            light += channels[..., channel] * wide(_LUMINANCE[channel])
    if invert:
        light = wide(full) - light
    image = light.astype(np.float32) / np.float32(full)
    if count in (2, 4):
        image *= channels[..., -1].astype(np.float32) / np.float32(top)
    return image


def _check_floats(channels: np.ndarray, highest: float) -> None:
    with np.errstate(all="ignore"):
        least, most = channels.min(), channels.max()
    if not (least >= 0 and most <= highest):  # NaN compares false
        raise FileFormatError(
            f"intensities from {least} to {most}; expected finite ones from 0 to {highest:g}"
        )


def _of_array(array: np.ndarray) -> tuple[np.ndarray, float]:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise FileFormatError(f"expected an image (H, W) or (H, W, 1 to 4 channels), got {array.shape}")
    if not 0 < array.shape[0] * array.shape[1] <= _MOST_PIXELS:
        raise FileFormatError(f"{array.shape}: expected at least one pixel and at most {_MOST_PIXELS}")
    if array.dtype == np.bool_:
        return array.astype(np.uint8), 1
    if array.dtype in (np.uint8, np.uint16):
        return array, np.iinfo(array.dtype).max
    if array.dtype.kind != "f":
        raise FileFormatError(f"expected booleans, unsigned 8 or 16 bits, or floats, got {array.dtype}")
    return array, 1.0


def _by_pillow(data: bytes) -> tuple[np.ndarray, float]:
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata, which do not matter
            with Image.open(io.BytesIO(data), formats=_PILLOW_READS) as picture:
                picture.verify()  # the checksums of PNG, which are not looked at when pixels are read
            with Image.open(io.BytesIO(data), formats=_PILLOW_READS) as picture:
                if not 0 < picture.width * picture.height <= _MOST_PIXELS:
                    raise FileFormatError(f"{picture.size} pixels; at most {_MOST_PIXELS} are read")
                return _of_pillow(ImageOps.exif_transpose(picture))
    except FileFormatError:
        raise
    # Pillow does not say what it raises on damaged bytes: it is almost anything. A MemoryError, too, for the
    # pixels have been counted.
    except Exception as error:
        raise FileFormatError(f"not a picture, or damaged ({type(error).__name__}: {error})") from None


def _of_pillow(picture: Any) -> tuple[np.ndarray, float]:
    mode = picture.mode
    if mode == "F":
        return np.asarray(picture)[..., None], 1.0
    if mode == "I" or mode.startswith("I;16"):
        values = np.asarray(picture)[..., None]
        if values.min() < 0 or values.max() >= 2**16:
            raise FileFormatError(f"intensities from {values.min()} to {values.max()} are not 16 bits")
        return values.astype(np.uint16), 2**16 - 1
    if mode == "L" and "transparency" not in picture.info:
        return np.asarray(picture)[..., None], 255
    if mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        picture = picture.convert("RGB")
    clear = mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    return np.asarray(picture.convert("RGBA" if clear else "RGB")), 255

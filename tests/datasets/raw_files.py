"""Raw data files as tests write them, and damage to them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gmengine.errors import DataError, FileFormatError

IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    """The array as an IDX file."""
    header = bytes([0, 0, IDX_CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def toy_images(count: int, seed: int, side: int = 4) -> np.ndarray:
    """Random bytes (count, side, side + 1), with some zeros."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side + 1), np.uint8)


def write_idx_folder(
    folder: Path, train: int = 40, test: int = 10, classes: int = 10
) -> dict[str, np.ndarray]:
    """Write four small IDX files and return what is in them."""
    arrays = {
        "train-images-idx3-ubyte": toy_images(train, 0),
        "train-labels-idx1-ubyte": np.arange(train, dtype=np.uint8) % classes,
        "t10k-images-idx3-ubyte": toy_images(test, 1),
        "t10k-labels-idx1-ubyte": np.arange(test, dtype=np.uint8) % classes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        (folder / name).write_bytes(idx_bytes(array))
    return arrays


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes with up to four changed, perhaps a piece cut out, perhaps others at the end."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        # Most damage is done near the beginning, where headers are.
        limit = draw(st.sampled_from([16, 64, len(content)]))
        content[draw(st.integers(0, min(limit, len(content)) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(content)))
        del content[start : draw(st.integers(start, len(content)))]
    return bytes(content) + draw(st.binary(max_size=6))


def noise_or_damage(*wholes: bytes) -> st.SearchStrategy[bytes]:
    """Random bytes, or one of the files damaged."""
    return st.one_of(st.binary(max_size=300), *(damaged(whole) for whole in wholes))


def attempt(read: Callable[[Path], Any], path: Path) -> Any:
    """What `read` makes of the file, or None if it refuses it, which takes an error that names it once."""
    try:
        return read(path)
    except (FileFormatError, DataError) as error:
        message = str(error)
    assert message.count(str(path)) == 1, message
    return None

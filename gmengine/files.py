"""Files that are whole or absent: atomic writing, and .npz archives with a JSON header in place of pickle."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import secrets
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gmengine.errors import ArgumentError, FileFormatError

_HEADER = "header"
_KINDS = "biufc"  # booleans and numbers; text belongs into the header, objects nowhere


def atomic_write(path: str | os.PathLike[str], writer: Callable[[BinaryIO], object]) -> None:
    """Let `writer` fill a temporary file beside `path`, flush it to the disk, and rename it to `path`.

    A reader sees the old file or the new one, never a part. A link is followed, not replaced.

    Raises
    ------
    OSError
        If the folder is missing or not writable, or the disk is full; `path` is then untouched and the
        temporary file is gone. Whatever `writer` raises is passed on in the same way.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as handle:
            writer(handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    # Makes the rename itself durable. Windows cannot open folders and some network file systems refuse: the
    # file is complete either way.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_npz(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    header: Mapping[str, Any],
    arrays: Mapping[str, Any],
    *,
    compressed: bool = False,
) -> None:
    """Write `arrays` and a JSON `header` atomically into one .npz file.

    The same content gives the same bytes. ``numpy.load(path)`` opens the file without gmengine; its member
    ``header`` is a string: ``{"format": kind, "version": 1, "arrays": {name: [dtype, shape]},
    "header": ...}``, in JSON.

    Parameters
    ----------
    path : path-like
        The file's exact name; no suffix is added.
    kind : str
        What the file holds, e.g. ``"gmengine.Mixture"``; `read_npz` insists on it.
    version : int
        Version of the layout of `header` and `arrays`.
    header : mapping
        What JSON can carry: dicts with string keys, lists, strings, booleans, None, integers of any size and
        floats (NaN and infinities included, in Python's spelling).
    arrays : mapping of str to ndarray
        Arrays of booleans or numbers, any shape and memory order; every name except ``"header"``.
    compressed : bool
        Deflate the arrays.

    Raises
    ------
    ArgumentError
        If the header is not JSON, or an array has another dtype; it names the array.
    OSError
        As `atomic_write`.
    """
    native = {name: _storable(name, array) for name, array in arrays.items()}
    listing = {name: [a.dtype.str, list(a.shape)] for name, a in native.items()}
    content = {"format": kind, "version": version, "arrays": listing, "header": dict(header)}
    try:
        text = json.dumps(content)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{kind}: the header cannot be written as JSON: {error}") from None
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    atomic_write(path, lambda handle: _pack(handle, {_HEADER: np.array(text), **native}, method))


def _storable(name: str, array: Any) -> np.ndarray:
    result = np.asarray(array)
    if name == _HEADER or not isinstance(name, str):
        raise ArgumentError(f"expected array names that are strings other than {_HEADER!r}, got {name!r}")
    if result.dtype.kind not in _KINDS:
        raise ArgumentError(f"array {name!r}: expected booleans or numbers, got the dtype {result.dtype}")
    # Little-endian everywhere, so that the bytes of a file do not depend on the machine.
    return np.asarray(result, dtype=result.dtype.newbyteorder("<"), order="C")


def _pack(handle: BinaryIO, arrays: Mapping[str, np.ndarray], method: int) -> None:
    with zipfile.ZipFile(handle, "w", compression=method) as archive:
        for name, array in arrays.items():
            with archive.open(_member(name, method), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)


def _member(name: str, method: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, whatever the clock says
    info.compress_type = method
    return info


def read_npz(
    path: str | os.PathLike[str], kind: str, version: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the arrays of a file of `write_npz`; the arrays are writable.

    Every byte that matters is covered by a checksum; nothing in the file is executed.

    Raises
    ------
    FileFormatError
        Names the file and the reason: not an archive, truncated, damaged, another kind or version, pickled
        objects.
    OSError
        If the file is missing (FileNotFoundError) or cannot be opened.
    """
    with open(path, "rb") as handle:
        try:
            return _unpack(handle, kind, version)
        except FileFormatError as error:
            raise FileFormatError(f"{os.fspath(path)}: {error}") from None
        except zipfile.BadZipFile as error:
            reason = f"truncated, damaged or not an .npz archive ({error})"
            raise FileFormatError(f"{os.fspath(path)}: {reason}") from None
        except MemoryError:
            raise
        # zipfile and zlib do not say what they raise on damaged bytes: it is almost anything.
        except Exception as error:
            raise FileFormatError(f"{os.fspath(path)}: damaged ({type(error).__name__}: {error})") from error


def _unpack(handle: BinaryIO, kind: str, version: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    size = os.fstat(handle.fileno()).st_size
    with zipfile.ZipFile(handle) as archive:
        members = archive.infolist()
        for member in members:
            # A damaged length must not make us ask for memory that the file cannot fill (deflate: 1032 to 1).
            if member.compress_size > size or member.file_size > 1032 * size:
                raise FileFormatError(f"damaged (member {member.filename!r} is longer than the file)")
        names = sorted(member.filename for member in members)
        content = _read_header(archive, names, kind, version)
        listing = content["arrays"]
        if names != sorted(f"{name}.npy" for name in (_HEADER, *listing)):
            raise FileFormatError(f"expected the arrays {sorted(listing)}, got the members {names}")
        arrays = {name: _read_array(archive, name, *entry) for name, entry in listing.items()}
    return content["header"], arrays


def _read_header(archive: zipfile.ZipFile, names: list[str], kind: str, version: int) -> dict[str, Any]:
    if f"{_HEADER}.npy" not in names:
        raise FileFormatError("not a file of gmengine (it has no header)")
    text = np.load(io.BytesIO(archive.read(f"{_HEADER}.npy")), allow_pickle=False)
    if text.ndim != 0 or text.dtype.kind != "U":
        raise FileFormatError("not a file of gmengine (its header is not a string)")
    content = json.loads(text.item())
    if not isinstance(content, dict) or content.get("format") != kind:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise FileFormatError(f"expected the format {kind!r}, got {found!r}")
    if content.get("version") != version:
        raise FileFormatError(f"expected version {version} of {kind!r}, got {content.get('version')!r}")
    if not isinstance(content.get("header"), dict) or not isinstance(content.get("arrays"), dict):
        raise FileFormatError("the header lacks its parts 'header' and 'arrays'")
    return content


def _read_array(archive: zipfile.ZipFile, name: str, dtype: str, shape: list[int]) -> np.ndarray:
    stream = io.BytesIO(
        archive.read(f"{name}.npy")
    )  # the whole member: only at its end is the checksum compared
    if np.lib.format.read_magic(stream) != (1, 0):
        raise FileFormatError(f"array {name!r}: expected version 1.0 of the .npy format")
    found_shape, fortran, found_dtype = np.lib.format.read_array_header_1_0(stream)
    if found_dtype.kind not in _KINDS:
        raise FileFormatError(f"array {name!r}: expected booleans or numbers, got the dtype {found_dtype}")
    if fortran or found_dtype.str != dtype or list(found_shape) != shape:
        raise FileFormatError(
            f"array {name!r}: expected {dtype} {shape}, got {found_dtype} {list(found_shape)}"
        )
    data = stream.read()
    if len(data) != math.prod(found_shape) * found_dtype.itemsize:
        raise FileFormatError(f"array {name!r}: expected {shape}, got {len(data)} bytes of {found_dtype}")
    array = np.frombuffer(data, found_dtype).reshape(found_shape)
    return array.astype(found_dtype.newbyteorder("="), copy=True)

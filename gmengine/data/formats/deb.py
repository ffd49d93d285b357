"""Debian packages: the files in one, without installing it."""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from gmengine.data.formats._tar import Source, tar_members
from gmengine.errors import FileFormatError

_MAGIC = b"!<arch>\n"
_HEADER = 60
_MEMORY = 1 << 29  # bytes that a stream may have its decompressor keep; xz -9 asks for 65 MiB
_RATIO, _LEAST = 200, 1 << 26  # inflated bytes per byte of the package, or altogether if that is more
_PIECE = 1 << 18


def deb_members(
    path: str | os.PathLike[str], wanted: Callable[[str], bool], most: int = 1 << 26
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the regular files that a Debian package installs, in its order.

    The package is read once, from beginning to end, and only one file of it is in memory at a time.

    Parameters
    ----------
    path : path-like
        A .deb file (deb(5), format 2.0) whose data.tar is compressed by xz or gzip, or not.
    wanted : callable
        ``wanted(name)`` says whether a file is yielded; names are relative, with slashes.
    most : int
        Bytes of the largest wanted file that is read.

    Raises
    ------
    FileFormatError
        Names the package: no package, truncated, damaged, compressed in another way, inflates to more than
        200 times its size, holds a name that is absolute or has a ``..``, or a wanted file beyond `most`.
    OSError
        If the package is missing or cannot be read.
    """
    try:
        with open(path, "rb") as handle:
            total = os.fstat(handle.fileno()).st_size
            size, suffix = _find_data(handle, total)
            pieces = _inflated(_pieces(handle, size), suffix)
            yield from tar_members(Source(pieces, max(_LEAST, _RATIO * total)), wanted, most)
    except FileFormatError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from None
    except (lzma.LZMAError, zlib.error) as error:
        raise FileFormatError(f"{os.fspath(path)}: damaged ({error})") from None


def _find_data(handle: BinaryIO, total: int) -> tuple[int, str]:
    """Leave `handle` at the beginning of data.tar; return its size and the suffix that says how it is packed."""
    if handle.read(len(_MAGIC)) != _MAGIC:
        raise FileFormatError("not a Debian package (an ar archive begins with '!<arch>')")
    name, size = _next_member(handle, total)
    if name != "debian-binary" or handle.read(size)[:2] != b"2.":
        raise FileFormatError("not a Debian package of format 2 (it begins with another member)")
    handle.seek(size % 2, os.SEEK_CUR)
    while True:
        name, size = _next_member(handle, total)
        if name.startswith("data.tar"):
            suffix = name.removeprefix("data.tar")
            if suffix not in ("", ".xz", ".gz"):
                raise FileFormatError(f"{name}: only .xz and .gz are inflated; dpkg-deb can repack it")
            return size, suffix
        handle.seek(size + size % 2, os.SEEK_CUR)


def _next_member(handle: BinaryIO, total: int) -> tuple[str, int]:
    header = handle.read(_HEADER)
    if len(header) < _HEADER or header[58:] != b"`\n":
        raise FileFormatError("truncated or damaged: expected the header of a member, such as data.tar.xz")
    size = header[48:58].strip()
    if not size.isdigit() or int(size) > total - handle.tell():
        raise FileFormatError(f"truncated or damaged: a member of {size.decode('latin-1')!r} bytes")
    return header[:16].decode("latin-1").rstrip().rstrip("/"), int(size)


def _pieces(handle: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (piece := handle.read(min(size, _PIECE))):
        size -= len(piece)
        yield piece


def _inflated(pieces: Iterator[bytes], suffix: str) -> Iterator[bytes]:
    if suffix == "":
        yield from pieces
    elif suffix == ".gz":
        yield from _gunzipped(pieces)
    else:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
        for piece in pieces:
            yield unpacker.decompress(piece, _PIECE)
            while not unpacker.needs_input and not unpacker.eof:
                yield unpacker.decompress(b"", _PIECE)
            if unpacker.eof:
                return


def _gunzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    for piece in pieces:
        yield unpacker.decompress(piece, _PIECE)
        while unpacker.unconsumed_tail:
            yield unpacker.decompress(unpacker.unconsumed_tail, _PIECE)
        if unpacker.eof:
            return

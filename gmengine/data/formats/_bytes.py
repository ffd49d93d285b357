"""The content of a file, inflated if it is a gzip file, and never more of it than was bargained for."""

from __future__ import annotations

import io
import os
import stat
import zlib
from typing import BinaryIO

from gmengine.errors import FileFormatError

_MAGIC = b"\x1f\x8b"
# What is inflated at a time. Small, because the rest of a piece is copied at the end of every gzip member: a
# file of empty members must not take time quadratic in the piece.
_PIECE = 1 << 15


def read_bytes(path: str | os.PathLike[str], most: int = 2**31) -> bytes:
    """Return the bytes of a file, inflated if it begins like a gzip file (RFC 1952), whatever its name.

    A gzip file may have several members; their contents are joined. Checksums and lengths are compared.

    Parameters
    ----------
    path : path-like
        A regular file.
    most : int
        Bytes to return at most. Inflation stops there, so that a small file cannot exhaust the memory.

    Raises
    ------
    FileFormatError
        If there are more bytes than `most`, `path` is no regular file (a pipe or device might never end), or
        the gzip file is truncated, damaged, or followed by other bytes; names the file.
    OSError
        If the file is missing or cannot be read.
    """
    try:
        _check_regular(os.stat(path))  # opening a pipe would wait for a writer
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            packed = handle.read(len(_MAGIC)) == _MAGIC
            handle.seek(0)
            if packed:
                return _inflate(handle, most)
            data = handle.read() if size <= most else b""
    except FileFormatError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from None
    if max(size, len(data)) > most:
        raise FileFormatError(f"{os.fspath(path)}: {size} bytes; at most {most} are read")
    return data


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # open() refuses folders
        raise FileFormatError("not a regular file")


def _inflate(handle: BinaryIO, most: int) -> bytes:
    content = io.BytesIO()  # hands out its bytes without a copy
    member = zlib.decompressobj(wbits=31)
    while data := handle.read(_PIECE):
        while data:
            if member.eof:
                if not data.startswith(_MAGIC[: len(data)]):
                    raise FileFormatError("other bytes follow the end of the gzip data")
                member = zlib.decompressobj(wbits=31)
            try:
                content.write(member.decompress(data, most - content.tell() + 1))
            except zlib.error as error:
                raise FileFormatError(f"damaged gzip file ({error})") from None
            if content.tell() > most:
                raise FileFormatError(f"inflates to more than the {most} bytes that are read at most")
            data = member.unused_data
    if not member.eof:
        raise FileFormatError("truncated gzip file")
    return content.getvalue()

"""tar archives that come as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from gmengine.errors import FileFormatError

_BLOCK = 512
_LONGEST = 1 << 16  # bytes of a name, or of an extended header
_REGULAR = (b"0", b"\0", b"7")


class Source:
    """Bytes that come in pieces, read in other pieces; at most `most` of them."""

    def __init__(self, pieces: Iterator[bytes], most: int) -> None:
        self._pieces, self._rest, self._left = pieces, memoryview(b""), most
        self._most = most

    def read(self, count: int) -> bytes:
        """Return exactly so many bytes; FileFormatError if the source ends before."""
        return b"".join(self._take(count))

    def skip(self, count: int) -> None:
        """Pass over exactly so many bytes."""
        for _ in self._take(count):
            pass

    def _take(self, count: int) -> Iterator[memoryview]:
        self._left -= count
        if self._left < 0:
            raise FileFormatError(
                f"holds or promises more than the {self._most} bytes that are inflated at most"
            )
        while count:
            while not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    raise FileFormatError("truncated")
                self._rest = memoryview(piece)
            part, self._rest = self._rest[:count], self._rest[count:]
            count -= len(part)
            yield part


def tar_members(source: Source, wanted: Callable[[str], bool], most: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the wanted regular files of a tar archive (ustar, GNU or pax).

    Links, devices and folders are passed over.

    Raises
    ------
    FileFormatError
        If the archive is truncated or damaged, a name is absolute or has a ``..``, or a wanted file has more
        than `most` bytes.
    """
    said: dict[str, str] = {}  # of the next member, by members before it
    while True:
        header = source.read(_BLOCK)
        if not header.strip(b"\0"):
            return
        size, kind = _check(header), header[156:157]
        if kind in b"Lx":
            text = _extension(source, size)
            said |= {"path": _text(text)} if kind == b"L" else _pax(text)
            continue
        if "size" in said:
            size = int(said["size"])
        name = _safe(said.get("path") or _own_name(header))
        padding = -size % _BLOCK
        if kind in _REGULAR and wanted(name):
            if size > most:
                raise FileFormatError(f"{name}: {size} bytes; at most {most} are read")
            yield name, source.read(size)
            source.skip(padding)
        else:
            source.skip(size + padding)
        said = said if kind in (b"g", b"K") else {}


def _check(header: bytes) -> int:
    """Return the size that a header states, if its sum is right."""
    if sum(header) - sum(header[148:156]) + 8 * ord(" ") != _number(header[148:156]):
        raise FileFormatError("damaged: the checksum of a member's header is wrong")
    return _number(header[124:136])


def _number(digits: bytes) -> int:
    if digits[:1] == b"\x80":  # GNU's way to write what has more than eleven octal digits
        return int.from_bytes(digits[1:], "big")
    digits = digits.split(b"\0")[0].strip(b" ")
    if digits.translate(None, b"01234567"):
        raise FileFormatError("damaged: a number in a member's header")
    return int(digits or b"0", 8)


def _own_name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500])
    return f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name


def _text(name: bytes) -> str:
    return name.split(b"\0")[0].decode("utf-8", "replace")


def _extension(source: Source, size: int) -> bytes:
    if size > _LONGEST:
        raise FileFormatError(f"damaged: a name or an extended header of {size} bytes")
    text = source.read(size)
    source.skip(-size % _BLOCK)
    return text


def _pax(text: bytes) -> dict[str, str]:
    """Return path and size of the records ``length key=value newline``."""
    found: dict[str, str] = {}
    while text:
        length, _, rest = text.partition(b" ")
        if not length.isdigit() or len(length) > 9 or not len(length) + 2 < int(length) <= len(text):
            raise FileFormatError("damaged: a record of an extended header")
        key, _, value = rest[: int(length) - len(length) - 2].partition(b"=")
        if key == b"path":
            found["path"] = _text(value)
        elif key == b"size":
            if not value.isdigit() or len(value) > 18:
                raise FileFormatError("damaged: the size in an extended header")
            found["size"] = value.decode()
        text = text[int(length) :]
    return found


def _safe(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise FileFormatError(f"refused: a member is called {name!r}")
    return str(path)

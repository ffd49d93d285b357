"""The rows of a PLY file: counted against what is left of the file before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from gmengine.data.formats._ply_header import Element, Header, Property
from gmengine.data.formats.ragged import Ragged
from gmengine.errors import FileFormatError

_PIECE = 1 << 20  # bytes of text parsed at a time

Table = dict[str, np.ndarray | Ragged]


class _Numbers:
    """The rows of a text file as one array of float64, which holds every type of the format exactly.

    A unit is a number; where lines end does not matter.
    """

    def __init__(self, data: bytes, header: Header) -> None:
        self.units = _parsed(data, header.size)

    def width(self, dtype: np.dtype) -> int:
        return 1

    def counter(self, dtype: np.dtype) -> Callable[[int], int]:
        number_at, most = self.units.item, int(np.iinfo(dtype).max)

        def count(at: int) -> int:
            number = number_at(at)
            if not 0 <= number <= most or number != int(number):
                raise FileFormatError(f"expected the length of a list, of type {dtype.name}, got {number!r}")
            return int(number)

        return count

    def view(self, dtype: np.dtype, at: int, shape: tuple[int, int], stride: int) -> np.ndarray:
        """Return numbers as they are stored, the first row at `at` and every other `stride` units further."""
        return np.ndarray(shape, np.float64, self.units, 8 * at, (8 * stride, 8))

    def typed(self, units: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return units that lie one after the other as numbers."""
        return _cast(units, dtype)


class _Bytes:
    """The rows of a binary file; a unit is a byte."""

    def __init__(self, data: bytes, header: Header) -> None:
        self.units = np.frombuffer(data, np.uint8)[header.size :]
        self.big = header.order == ">"

    def width(self, dtype: np.dtype) -> int:
        return dtype.itemsize

    def counter(self, dtype: np.dtype) -> Callable[[int], int]:
        data, size, signed = self.units.data, dtype.itemsize, dtype.kind == "i"
        if dtype == np.uint8:
            return data.__getitem__
        order: Literal["big", "little"] = "big" if self.big else "little"
        return lambda at: int.from_bytes(data[at : at + size], order, signed=signed)

    def view(self, dtype: np.dtype, at: int, shape: tuple[int, int], stride: int) -> np.ndarray:
        """Return numbers as they are stored, the first row at `at` and every other `stride` units further."""
        return np.ndarray(shape, self._stored(dtype), self.units, at, (stride, dtype.itemsize))

    def typed(self, units: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return units that lie one after the other as numbers."""
        return units.view(self._stored(dtype)).astype(dtype)

    def _stored(self, dtype: np.dtype) -> np.dtype:
        return dtype.newbyteorder(">" if self.big else "<")


def parse_rows(data: bytes, header: Header) -> dict[str, Table]:
    """Return the tables after the header; FileFormatError gives the reason, without the file's name."""
    source = _Bytes(data, header) if header.order else _Numbers(data, header)
    at, tables = 0, {}
    for element in header.elements:
        # A row takes a unit at least, so that a count beyond what is left is refused before it costs anything.
        least = sum(source.width(p.count or p.dtype) for p in element.properties)
        _check_left(source, element, at + least * element.rows)
        if not element.rows:
            tables[element.name] = {p.name: _empty(p) for p in element.properties}
            continue
        found = _even_rows(source, element, at) or _uneven_rows(source, element, at)
        tables[element.name], at = found
    rest = source.units[at:]
    if len(rest) and not (header.order and not rest.tobytes().strip()):
        unit = "bytes" if header.order else "numbers"
        raise FileFormatError(f"{len(rest)} {unit} follow the last row")
    return tables


def _check_left(source: _Numbers | _Bytes, element: Element, end: int) -> None:
    if end > len(source.units):
        name = element.name[:60]
        raise FileFormatError(f"the file ends before the {element.rows} rows of element {name!r}")


def _empty(prop: Property) -> np.ndarray | Ragged:
    values = np.empty(0, prop.dtype)
    return values if prop.count is None else Ragged(values, np.zeros(1, np.int64))


def _even_rows(source: _Numbers | _Bytes, element: Element, at: int) -> tuple[Table, int] | None:
    """Return the columns and where they end, if every row is laid out like the first; else None."""
    places, width = [], 0
    for prop in element.properties:
        length = 1
        if prop.count is not None:
            if at + width + source.width(prop.count) > len(source.units):
                return None
            length = source.counter(prop.count)(at + width)
            width += source.width(prop.count)
        places.append((width, length))
        width += length * source.width(prop.dtype)
        if length < 0 or at + width * element.rows > len(source.units):
            return None
    described = list(zip(element.properties, places, strict=True))
    for prop, (place, length) in described:  # all lists before any number is looked at
        if prop.count is not None:
            head = at + place - source.width(prop.count)
            if (source.view(prop.count, head, (element.rows, 1), width) != length).any():
                return None
    columns: Table = {}
    for prop, (place, length) in described:
        values = np.empty(0, prop.dtype)
        if length:
            found = source.view(prop.dtype, at + place, (element.rows, length), width)
            values = _converted(found, prop.dtype).reshape(-1)
        offsets = np.arange(element.rows + 1, dtype=np.int64) * length
        columns[prop.name] = values if prop.count is None else Ragged(values, offsets)
    return columns, at + width * element.rows


def _uneven_rows(source: _Numbers | _Bytes, element: Element, at: int) -> tuple[Table, int]:
    """Return the columns and where they end: one walk over the rows, then every column is gathered."""
    starts, lengths, end = _walk(source, element, at)
    columns: Table = {}
    for i, prop in enumerate(element.properties):
        size, begin = source.width(prop.dtype), starts[i]
        if prop.count is None:
            values = source.typed(source.units[begin[:, None] + np.arange(size)].reshape(-1), prop.dtype)
            columns[prop.name] = values
        else:
            stops = begin + lengths[i] * size
            pieces = [source.units[a:b] for a, b in zip(begin.tolist(), stops.tolist(), strict=True)]
            values = source.typed(np.concatenate(pieces), prop.dtype)
            offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[i])])
            columns[prop.name] = Ragged(values, offsets)
    return columns, end


def _walk(source: _Numbers | _Bytes, element: Element, at: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return where the numbers of every property begin in every row, how many there are, and where rows end.

    Both arrays are (properties, rows). Nothing lies beyond the end of the file.
    """
    steps = []
    for prop in element.properties:
        head = 0 if prop.count is None else source.width(prop.count)
        count = None if prop.count is None else source.counter(prop.count)
        steps.append((count, head, source.width(prop.dtype)))
    total = len(source.units)
    starts = np.empty((len(steps), element.rows), np.int64)
    lengths = np.ones((len(steps), element.rows), np.int64)
    for row in range(element.rows):
        for i, (count, head, size) in enumerate(steps):
            length = 1
            if count is not None:
                _check_left(source, element, at + head)
                lengths[i, row] = length = count(at)
                if length < 0:
                    name = element.properties[i].name[:60]
                    raise FileFormatError(f"property {name!r} of row {row} has the length {length}")
            starts[i, row] = at + head
            at += head + length * size
            if at > total:
                _check_left(source, element, at)
    return starts, lengths, at


def _parsed(data: bytes, start: int) -> np.ndarray:
    """Return the numbers of the text from `start` on."""
    parts = [np.empty(0)]
    while start < len(data):
        stop = min(start + _PIECE, len(data))
        piece = data[start:stop]
        if stop < len(data):  # up to the last blank, so that no number is cut
            piece = piece[: max(piece.rfind(blank) for blank in (b" ", b"\n", b"\t", b"\r")) + 1]
            if not piece:
                raise FileFormatError(f"expected numbers, got a word of more than {_PIECE} bytes")
        start += len(piece)
        words = piece.split()
        try:
            if b"_" in piece:  # Python's own spelling of numbers
                raise ValueError
            parts.append(np.fromiter(map(float, words), np.float64, len(words)))
        except ValueError:
            bad = next(word for word in words if not _is_number(word))
            raise FileFormatError(f"expected a number, got {bad[:40].decode('latin-1')!r}") from None
    return np.concatenate(parts)


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return b"_" not in word


def _converted(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return _cast(numbers, dtype) if numbers.dtype.newbyteorder("=") != dtype else numbers.astype(dtype)


def _cast(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return float64 numbers in the type that the header says; FileFormatError where they do not fit."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond float32: infinite, as any reader has it
            return numbers.astype(dtype)
    limits = np.iinfo(dtype)
    bad = ~((numbers >= limits.min) & (numbers <= limits.max) & (numbers == np.floor(numbers)))
    if bad.any():
        raise FileFormatError(f"expected a whole number of type {dtype.name}, got {float(numbers[bad][0])!r}")
    return numbers.astype(dtype)

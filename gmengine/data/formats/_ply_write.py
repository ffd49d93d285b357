"""Writing PLY files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gmengine.data.formats._ply_header import TYPES
from gmengine.data.formats.ragged import Ragged
from gmengine.errors import ArgumentError, DTypeError, ShapeError
from gmengine.files import atomic_write

_SPELLING = {np.dtype(code): word for word, code in reversed(TYPES.items())}
_PIECE = 1 << 16  # rows of text joined at a time

Columns = list[tuple[str, np.ndarray | Ragged]]


def write_ply(
    path: str | os.PathLike[str],
    elements: Mapping[str, Mapping[str, Any]],
    *,
    text: bool = False,
    comments: Sequence[str] = (),
    separator: str = " ",
) -> None:
    """Write tables into a PLY file, whole or not at all; the same content gives the same bytes.

    Parameters
    ----------
    path : path-like
        The file's exact name; no suffix is added.
    elements : mapping of str to (mapping of str to column)
        Element -> property -> column: an array (rows,), or lists as a `Ragged` or an array (rows, k). Of the
        format's types: 8, 16 and 32 bit integers, float32 and float64.
    text : bool
        Write text, in which every number comes back to the bit; else binary, little endian.
    comments : sequence of str
        One line each.
    separator : str
        Blanks between the numbers of a line of text.

    Raises
    ------
    DTypeError
        If a column's dtype is not one of the format's; names the column.
    ShapeError
        If the columns of an element differ in their rows.
    ArgumentError
        If a name or a comment cannot stand in a header.
    OSError
        As `files.atomic_write`.
    """
    tables = {name: _columns(name, columns) for name, columns in elements.items()}
    lines = ["ply", f"format {'ascii' if text else 'binary_little_endian'} 1.0"]
    lines += [f"comment {_line(comment)}" for comment in comments]
    for name, columns in tables.items():
        lines.append(f"element {_word(name)} {len(columns[0][1]) if columns else 0}")
        lines += [_declared(key, column) for key, column in columns]
    head = ("\n".join([*lines, "end_header"]) + "\n").encode()

    def body() -> Iterable[bytes]:
        yield head
        for columns in tables.values():
            yield from _text(columns, separator) if text else _binary(columns)

    atomic_write(path, lambda handle: handle.writelines(body()))


def _columns(element: str, given: Mapping[str, Any]) -> Columns:
    columns: Columns = []
    for name, column in given.items():
        found = _column(column)
        numbers = found.values if isinstance(found, Ragged) else found
        if numbers.dtype.newbyteorder("=") not in _SPELLING:
            raise DTypeError(f"write_ply: {element}.{name}: PLY has no type for {numbers.dtype}; convert it")
        columns.append((name, found))
    if len({len(column) for _, column in columns}) > 1:
        rows = ", ".join(f"{name} {len(column)}" for name, column in columns)
        raise ShapeError(f"write_ply: the columns of {element!r} differ in their rows: {rows}")
    return columns


def _column(column: Any) -> np.ndarray | Ragged:
    if isinstance(column, Ragged):
        return column
    array = np.asarray(column)
    if array.ndim == 1:
        return array
    if array.ndim != 2:
        raise ShapeError(f"write_ply: expected a column (rows,) or (rows, k), got {array.shape}")
    return Ragged(array.reshape(-1), np.arange(len(array) + 1) * array.shape[1])


def _word(name: str) -> str:
    if not name.isascii() or not name.isprintable() or len(name.split()) != 1 or name != name.strip():
        raise ArgumentError(f"write_ply: expected a name of printable ASCII without blanks, got {name!r}")
    return name


def _line(comment: str) -> str:
    if len(comment.splitlines()) > 1 or "\n" in comment or "\r" in comment:
        raise ArgumentError(f"write_ply: expected comments of one line each, got {comment!r}")
    return comment


def _count_type(column: Ragged) -> np.dtype:
    return np.dtype("u1") if column.lengths.max(initial=0) < 256 else np.dtype("i4")


def _declared(name: str, column: np.ndarray | Ragged) -> str:
    if isinstance(column, Ragged):
        count = _SPELLING[_count_type(column)]
        return f"property list {count} {_SPELLING[column.values.dtype.newbyteorder('=')]} {_word(name)}"
    return f"property {_SPELLING[column.dtype.newbyteorder('=')]} {_word(name)}"


def _binary(columns: Columns) -> Iterable[bytes]:
    """Yield the rows: every part of a row is written into its place of one array of bytes, by a mask."""
    parts = [part for _, column in columns for part in _parts(column)]
    if not columns or not len(columns[0][1]):
        return
    widths = np.stack([width for _, width in parts], axis=1)
    if (widths == widths[0]).all():
        # Every row is alike: a table whose columns are written side by side.
        rows = np.empty((len(widths), int(widths[0].sum())), np.uint8)
        ends = np.cumsum(widths[0])
        for (numbers, _), end, width in zip(parts, ends, widths[0], strict=True):
            rows[:, end - width : end] = numbers.view(np.uint8).reshape(len(rows), width)
        yield rows.tobytes()
        return
    out = np.empty(int(widths.sum()), np.uint8)
    for i, (numbers, _) in enumerate(parts):
        wanted = np.broadcast_to(np.arange(len(parts)) == i, widths.shape)
        out[np.repeat(wanted.reshape(-1), widths.reshape(-1))] = numbers.view(np.uint8)
    yield out.tobytes()


def _parts(column: np.ndarray | Ragged) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what a column puts into a row, one after the other: numbers, little endian, and bytes per row."""
    if isinstance(column, Ragged):
        count, values = _count_type(column), _stored(column.values)
        lengths = _stored(column.lengths.astype(count))
        return [
            (lengths, np.full(len(column), count.itemsize)),
            (values, column.lengths * values.itemsize),
        ]
    values = _stored(column)
    return [(values, np.full(len(values), values.itemsize))]


def _stored(numbers: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("<"))


def _text(columns: Columns, separator: str) -> Iterable[bytes]:
    rows = len(columns[0][1]) if columns else 0
    for start in range(0, rows, _PIECE):
        stop = min(start + _PIECE, rows)
        words = [_words(column, start, stop, separator) for _, column in columns]
        yield ("\n".join(separator.join(row) for row in zip(*words, strict=True)) + "\n").encode()


def _words(column: np.ndarray | Ragged, start: int, stop: int, separator: str) -> list[str]:
    if isinstance(column, Ragged):
        lists = [_spelled(column[row]) for row in range(start, stop)]
        return [separator.join([str(len(words)), *words]) for words in lists]
    return _spelled(column[start:stop])


def _spelled(numbers: np.ndarray) -> list[str]:
    # The shortest text that gives the same number in this dtype, at most 26 characters.
    return (
        [str(number) for number in numbers] if numbers.dtype.kind == "f" else list(map(str, numbers.tolist()))
    )

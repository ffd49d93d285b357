"""Large text files as arrays: only a chunk of lines at a time exists as Python objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from gmengine.errors import FileFormatError

_COMMENT = re.compile(rb"#[^\n]*")
_MARK = b"\xef\xbb\xbf"  # which some editors put before UTF-8
_CHUNK = 1 << 14
_LINE = 1 << 20  # bytes of the longest line that is believed to be one

_SIGNS = {np.float64: b"0123456789+-.eE \t", np.int64: b"0123456789+- \t"}

NOT_BLANK = re.compile(rb"[^\s][^\n]*")
"""A line with something on it, from its first sign on."""


def plain(data: bytes) -> bytes:
    """Return the text with line feeds as the only line ends and without what follows a ``#`` on a line."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return _COMMENT.sub(b"", data.removeprefix(_MARK)) if b"#" in data else data.removeprefix(_MARK)


def chunks(matches: Iterable[re.Match[bytes]], name: str) -> Iterator[list[re.Match[bytes]]]:
    """Yield matches, each within a line, some thousand at a time; FileFormatError if a line is too long."""
    matches = iter(matches)
    while chunk := list(islice(matches, _CHUNK)):
        if max(match.end() - match.start() for match in chunk) > _LINE:
            raise FileFormatError(f"{name}: a line is longer than {_LINE} bytes")
        yield chunk


def table(lines: Sequence[bytes], dtype: Any, columns: Sequence[int] | None = None) -> np.ndarray | None:
    """Return the numbers, float64 or int64, in lines, or in some columns of them.

    None where they are not a table of plain numbers: this is NumPy's reader, which is fast and says little.
    """
    text = b"".join(lines)
    if text.translate(None, _SIGNS[dtype]) or not text.strip():
        return None
    try:
        found = np.loadtxt(lines, dtype, comments=None, usecols=columns, ndmin=2)
    except ValueError:
        return None
    return found if len(found) == len(lines) else None


def coordinates(lines: Sequence[bytes], first: int, name: str, what: str) -> np.ndarray:
    """Return the first three numbers of every line, (n, 3) float64.

    Raises
    ------
    FileFormatError
        If there are fewer, or one is damaged; names the line as the `what` of its index, of which the first
        is `first`.
    """
    fast = table(lines, np.float64, (0, 1, 2))
    if fast is not None:
        return fast
    found = np.empty((len(lines), 3))
    for index, line in enumerate(lines):
        row = line.split(None, 3)[:3]
        if len(row) < 3:
            raise FileFormatError(f"{name}: {what} {first + index} has less than three coordinates")
        try:
            found[index] = list(map(float, row))
        except ValueError:
            shown = b" ".join(row).decode("latin-1")[:60]
            raise FileFormatError(
                f"{name}: {what} {first + index} has a damaged coordinate: {shown!r}"
            ) from None
    return found


def gathered(blocks: list[np.ndarray]) -> np.ndarray:
    """Return the points (P, 3) of all blocks, of which there may be none."""
    return np.concatenate([np.empty((0, 3)), *blocks])

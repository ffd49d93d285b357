"""The header of a PLY file: which elements there are, how many, and the types of their properties."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gmengine.errors import FileFormatError

LONGEST = 1 << 20
"""Bytes that a header may have: some writers keep a whole history in comments."""

_OLD = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"}
_NEW = {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
TYPES = _OLD | {"float": "f4", "double": "f8"} | _NEW | {"float32": "f4", "float64": "f8"}
"""Both spellings of every type, and NumPy's; the first spelling of each is the one that is written."""

Order = Literal["<", ">", ""]
"""Of the bytes of a number; "" for text."""

FORMATS: dict[str, Order] = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """A column: `dtype` of its numbers; of the lengths of its lists (`count`), or None for one number a row."""

    name: str
    dtype: np.dtype
    count: np.dtype | None = None


@dataclass(frozen=True)
class Element:
    """A table of `rows` rows."""

    name: str
    rows: int
    properties: tuple[Property, ...]


@dataclass(frozen=True)
class Header:
    """`size` is where the rows begin, in bytes."""

    order: Order
    elements: tuple[Element, ...]
    size: int


def parse_header(data: bytes) -> Header:
    """Return the header at the beginning of a file's bytes; FileFormatError gives the reason, without the name."""
    lines, size = _lines(data)
    order: Order | None = None
    elements: dict[str, tuple[int, dict[str, Property]]] = {}
    columns: dict[str, Property] = {}  # of the last element
    for line in lines:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) == 3 and order is None:
            if words[1] not in FORMATS or words[2] != "1.0":
                raise FileFormatError(f"unknown format {_shown(line)}")
            order = FORMATS[words[1]]
        elif words[0] == "element" and len(words) == 3:
            if words[1] in elements:
                raise FileFormatError(f"two elements are called {_shown(words[1])}")
            columns = {}
            elements[words[1]] = _rows(words[2]), columns
        elif words[0] == "property" and elements:
            found = _property(words, line)
            if found.name in columns:
                raise FileFormatError(f"two properties are called {_shown(found.name)}")
            columns[found.name] = found
        else:
            raise FileFormatError(f"unexpected line {_shown(line)} in the header")
    if order is None:
        raise FileFormatError("the header does not say the format")
    for name, (rows, found_columns) in elements.items():
        if rows and not found_columns:
            raise FileFormatError(f"element {_shown(name)} has {rows} rows without properties")
    tables = tuple(Element(name, rows, tuple(p.values())) for name, (rows, p) in elements.items())
    return Header(order, tables, size)


def _lines(data: bytes) -> tuple[list[str], int]:
    """Return the lines between "ply" and "end_header", and where the line after that begins."""
    first = re.match(rb"ply[ \t]*(\r\n|\n|\r)", data[:256])
    if first is None:
        raise FileFormatError("not a PLY file (it does not begin with the line 'ply')")
    # The first line says how lines end; a bare "\r" could not be told from "\r\n" before binary rows.
    newline = first[1]
    last = re.compile(rb"(?:\r\n|\n|\r)end_header[ \t\r]*?(" + newline + rb"|\Z)")
    found = last.search(data, first.start(1), min(len(data), LONGEST))
    if found is None or (found.end() == LONGEST < len(data) and not found[1]):
        raise FileFormatError(f"the header does not end within {min(len(data), LONGEST)} bytes")
    text = data[first.end() : max(first.end(), found.start())]
    # Latin-1 maps every byte to a character: comments may hold anything.
    return re.split("\r\n|\n|\r", text.decode("latin-1")), found.end()


def _rows(word: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", word):
        raise FileFormatError(f"expected a number of rows, got {_shown(word)}")
    return int(word)


def _property(words: list[str], line: str) -> Property:
    types = words[2:-1] if words[1:2] == ["list"] else words[1:-1]
    if len(words) != (5 if words[1:2] == ["list"] else 3):
        raise FileFormatError(f"unexpected line {_shown(line)} in the header")
    for word in types:
        if word not in TYPES:
            raise FileFormatError(f"unknown type {_shown(word)}")
    dtypes = [np.dtype(TYPES[word]) for word in types]
    if len(dtypes) == 1:
        return Property(words[-1], dtypes[0])
    if dtypes[0].kind == "f":
        raise FileFormatError(f"property {_shown(words[-1])}: the length of a list cannot be a {types[0]}")
    return Property(words[-1], dtypes[1], dtypes[0])


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")

"""Whether raw data are still what they were, without reading them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np


def stamp(name: str, place: Path | None, options: Mapping[str, Any]) -> str:
    """Return 32 hexadecimal digits that change whenever reading could give something else.

    They are of the names, sizes and times of all files at `place`, of the options of the reader (but `workers`,
    which changes no result), of the source code of all readers, and of NumPy's version, on which random numbers
    depend.

    Raises
    ------
    OSError
        If a folder cannot be listed.
    """
    counting = sorted((key, value) for key, value in options.items() if key != "workers")
    digest = hashlib.sha256(json.dumps([name, np.__version__, _readers(), counting]).encode())
    for each in () if place is None else _files(os.path.realpath(place)):
        digest.update(json.dumps(each).encode())
    return digest.hexdigest()[:32]


@cache
def _readers() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(place: str) -> Iterator[tuple[str, int, int]]:
    """Yield path, size and time of all files, links followed, every folder once."""
    pending, seen = [place], set()
    while pending:
        path = pending.pop()
        status = os.stat(path)
        if not os.path.isdir(path):
            yield path, status.st_size, status.st_mtime_ns
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(path) as entries:
            found = sorted((entry.path for entry in entries), reverse=True)
        pending += [each for each in found if os.path.exists(each)]  # not a link into the void

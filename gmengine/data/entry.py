"""What the catalogue knows of a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gmengine.data.collection import Collection


@dataclass(frozen=True)
class Entry:
    """A data set by name: what it is, what makes it available, how it is read.

    Parameters
    ----------
    name : str
        As typed: ``gmengine train <name>``, or ``<name>:<folder>`` where the raw data lie elsewhere.
    summary : str
        One line: how many of what.
    kind : str
        ``"images"`` or ``"clouds"``.
    licence, source : str
        The terms, and whom or what to cite; empty where they are the user's own.
    install : str
        The one command that makes the data available; empty if they are part of the package or a folder of
        the user's own.
    locate : callable
        ``locate(folder)`` returns the file or folder that the raw data are in (None if they are part of the
        package), looked for in `folder`, or in the usual places if that is None; DataError if there are
        none: it says where it looked, and `install`.
    read : callable
        ``read(folder, **options)`` returns the `Collection`; DataError and FileFormatError name the file.
    options : mapping of str to (default, text)
        The options that `read` takes, as ``gmengine data build NAME --option NAME=VALUE`` declares them.
    training : mapping
        Fields of `training.RunConfig` that suit the data, such as ``{"layers": "1/64 -> 8/16 -> 10"}``.
    """

    name: str
    summary: str
    kind: str
    licence: str
    source: str
    install: str
    locate: Callable[[Path | None], Path | None]
    read: Callable[..., Collection]
    options: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

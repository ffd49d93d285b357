"""Data sets by name, for the command line and for configurations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from gmengine.data.entry import Entry
from gmengine.errors import DataError

# Module and attribute: a data set's module is imported when somebody asks for it.
_ENTRIES = {
    "digits": ("digits", "ENTRY"),
    "fashion-mnist": ("fashion_mnist", "ENTRY"),
    "mnist": ("mnist", "ENTRY"),
    "mnist-5k": ("mnist_5k", "ENTRY"),
    "images": ("image_folder", "ENTRY"),
    "clouds": ("cloud_folder", "ENTRY"),
    "modelnet10": ("modelnet", "ENTRY_10"),
    "modelnet40": ("modelnet", "ENTRY_40"),
    "synth-furniture": ("synth_furniture", "ENTRY"),
    "sweethome3d": ("sweethome3d", "ENTRY"),
    "sweethome3d-10": ("sweethome3d", "ENTRY_10"),
    "kicad": ("kicad", "ENTRY"),
}


class _Catalogue(Mapping[str, Entry]):
    """The names are at hand, an entry is fetched from its module."""

    def __getitem__(self, name: str) -> Entry:
        module, attribute = _ENTRIES[name]
        entry: Entry = getattr(import_module(f"gmengine.data.{module}"), attribute)
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(_ENTRIES)

    def __len__(self) -> int:
        return len(_ENTRIES)

    def __contains__(self, name: object) -> bool:
        return name in _ENTRIES


DATASETS: Mapping[str, Entry] = _Catalogue()
"""Every data set that has a name."""


class Spec(NamedTuple):
    """A data set as it is typed: ``name``, or ``name:folder`` where its raw data lie elsewhere."""

    entry: Entry
    folder: Path | None


def names_data_set(text: str) -> bool:
    """Return whether `text` begins with the name of a data set; anything else is a path, or a mistake."""
    return text.partition(":")[0] in DATASETS


def parse_spec(text: str) -> Spec:
    """Return the data set that ``name`` or ``name:folder`` means.

    Raises
    ------
    DataError
        If the name is unknown (lists the known ones), or no folder follows the colon.

    Examples
    --------
    >>> parse_spec("mnist:/data/mnist").folder
    PosixPath('/data/mnist')
    """
    name, colon, folder = text.partition(":")
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    if colon and not folder:
        raise DataError(f"{text!r}: expected a folder after the colon")
    return Spec(DATASETS[name], Path(os.path.expanduser(folder)) if folder else None)

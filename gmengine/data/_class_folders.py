"""Files arranged in folders of classes and of parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from gmengine.data.collection import TEST, TRAIN, VALID
from gmengine.errors import DataError

PARTS = {"train": TRAIN, "valid": VALID, "val": VALID, "validation": VALID, "test": TEST}
"""The names that folders of parts may have."""

_NOTES = (".txt", ".csv")  # what else than data often lies beside folders of classes


class Listed(NamedTuple):
    """A file: its class, its part (None: not said), and its path within the folder, with ``/``."""

    label: str
    part: int | None
    name: str


def listed_files(folder: Path, accepts: Callable[[Path], bool], only_class: str) -> list[Listed]:
    """Return the files of a folder that `accepts` says yes to, by class, part and name.

    Understood are ``<class>/files``, ``<class>/{train,test}/files``, ``{train,test}/<class>/files``, both with
    ``valid`` (or ``val``, ``validation``) if there is one, and files in the folder itself, of the class
    `only_class`. What is hidden is passed over; folders deeper down belong to the class. The order of names
    is that of their bytes, the same everywhere.

    Raises
    ------
    DataError
        If the arrangement is none of these, or there are no files: says where.
    """
    found = list(_by_part(folder, accepts, only_class))
    if not found:
        raise DataError(f"{folder}: no files here that could be read, and no folders of such files")
    if len({each.part is None for each in found}) > 1:
        odd = next(each for each in found if each.part is None)
        raise DataError(f"{folder / odd.name}: neither in train nor in test, as other files are")
    found.sort(key=lambda each: (os.fsencode(each.label), each.part or TRAIN))  # stable: names stay in order
    _check_text(folder, found)
    if found[0].part is not None:
        _check_parts(folder, found)
    return found


def _by_part(folder: Path, accepts: Callable[[Path], bool], only_class: str) -> Iterator[Listed]:
    names = {place.name for place in _visible(folder) if place.is_dir()}
    if not names or not names <= PARTS.keys():
        if {"train", "test"} <= names:
            odd = sorted(names - PARTS.keys())[0]
            raise DataError(f"{folder}: beside train and test there is {odd!r}, which is no part of a split")
        yield from _by_class(folder, folder, accepts, only_class, None)
        return
    for name in sorted(names):
        yield from _by_class(folder, folder / name, accepts, only_class, PARTS[name])


def _by_class(
    root: Path, folder: Path, accepts: Callable[[Path], bool], only_class: str, part: int | None
) -> Iterator[Listed]:
    places = _visible(folder)
    classes = [place for place in places if place.is_dir()]
    files = [place for place in places if not place.is_dir() and accepts(place)]
    if classes and part is None:
        files = [file for file in files if file.suffix.lower() not in _NOTES]
    if classes and files:
        raise DataError(f"{files[0]}: a file beside folders of classes, such as {classes[0].name!r}")
    yield from (Listed(only_class, part, file.relative_to(root).as_posix()) for file in files)
    for place in classes:
        inner = {each.name for each in _visible(place) if each.is_dir()}
        pieces: list[tuple[Path, int | None]]
        if part is None and inner and inner <= PARTS.keys():
            pieces = [(place / name, PARTS[name]) for name in sorted(inner)]
        else:
            pieces = [(place, part)]
        for piece, its_part in pieces:
            below = list(_below(piece, accepts))
            if not below:
                raise DataError(f"{piece}: no files here that could be read")
            yield from (Listed(place.name, its_part, file.relative_to(root).as_posix()) for file in below)


def _below(folder: Path, accepts: Callable[[Path], bool]) -> Iterator[Path]:
    """Every file in a folder and the folders within, which may not be links: they could lead in circles."""
    pending = _visible(folder)[::-1]
    while pending:  # no recursion: folders may be nested deeper than Python's calls
        place = pending.pop()
        if not place.is_dir():
            if accepts(place):
                yield place
        elif not place.is_symlink():
            pending += _visible(place)[::-1]


def _visible(folder: Path) -> list[Path]:
    places = (place for place in folder.iterdir() if not place.name.startswith((".", "__MACOSX")))
    return sorted(places, key=lambda place: os.fsencode(place.name))


def _check_text(folder: Path, found: list[Listed]) -> None:
    for label in {each.label for each in found}:
        try:
            label.encode()
        except UnicodeEncodeError:
            raise DataError(f"{folder}: the folder's name {label!a} is not valid text") from None


def _check_parts(folder: Path, found: list[Listed]) -> None:
    """There is something to train on and to test with, of every class that is tested."""
    for part, name in ((TRAIN, "train"), (TEST, "test")):
        if not any(each.part == part for each in found):
            raise DataError(f"{folder}: folders of parts, but none is called {name}")
    trained = {each.label for each in found if each.part == TRAIN}
    for each in found:
        if each.label not in trained:
            raise DataError(f"{folder / each.name}: there is nothing of the class {each.label!r} to train on")

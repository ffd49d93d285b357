"""Raw data by name, and what is kept of them in the cache: reading thousands of files takes minutes."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from gmengine.data._stamp import stamp
from gmengine.data._summary import Summary
from gmengine.data.cache import cache_folder
from gmengine.data.catalogue import Spec, parse_spec
from gmengine.data.collection import Collection
from gmengine.errors import ArgumentError, FileFormatError, GmengineError
from gmengine.files import atomic_write, read_npz, write_npz
from gmengine.fitting.clouds import Clouds

_KIND, _VERSION = "gmengine.Collection", 1
_SLOW = 5.0  # seconds: what took longer to read is kept
_log = logging.getLogger("gmengine")


class RawData:
    """The raw data of a data set, read when their content is asked for and not known from an earlier time.

    Parameters
    ----------
    spec : str
        ``name`` or ``name:folder``.
    options : mapping
        Of the reader, see `Entry.options`.

    Raises
    ------
    DataError
        If the name is unknown, or the raw data are not there: says the command that makes them available.
    ArgumentError
        If the data set's reader has no such option, or it cannot have such a value.
    """

    def __init__(self, spec: str, options: Mapping[str, Any] | None = None) -> None:
        self.spec: Spec = parse_spec(spec)
        self.options = {name: default for name, (default, _) in self.spec.entry.options.items()}
        for name, value in (options or {}).items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise ArgumentError(f"{self.name}: unknown option {name!r}; known are {known}")
            self.options[name] = value
            self._check(name, value)
        self.place: Path | None = self.spec.entry.locate(self.spec.folder)
        self._collection: Collection | None = None

    def _check(self, name: str, value: Any) -> None:
        """Refuse what cannot be the option's value: the reader, which knows more, is not always asked."""
        kind = type(self.spec.entry.options[name][0])
        if name == "workers":
            right, expected = _is_integer(value) and value >= 1, "an integer >= 1"
        elif kind is bool:
            right, expected = isinstance(value, bool), "true or false"
        elif kind is int:
            right, expected = _is_integer(value), "an integer"
        else:
            right, expected = kind is type(None) or isinstance(value, kind), f"of the kind {kind.__name__}"
        if not right:
            raise ArgumentError(f"{self.name}: expected {name} to be {expected}, got {value!r}")

    @property
    def name(self) -> str:
        """The data set's."""
        return self.spec.entry.name

    @cached_property
    def summary(self) -> Summary:
        """What the data are; reads them only if they have changed since they were last read."""
        known = self._known()
        return known if known is not None else Summary.of(self.collection())

    def collection(self, *, keep: bool = False) -> Collection:
        """Return the data: of the cache if they are there and unchanged, else of their own files.

        What takes more than five seconds to read is kept in the cache; `keep` keeps it in any case.

        Raises
        ------
        DataError, FileFormatError, OSError
            As the reader says.
        """
        if self._collection is None:
            self._collection = self._kept() or self._read(keep)
        return self._collection

    @property
    def kept_at(self) -> Path | None:
        """The file of the cache in which the data are kept, if they are."""
        folder, known = _folder(), self._known()
        if folder is None or known is None:
            return None
        path = self._path(folder, known)
        return path if path.exists() else None

    @property
    def is_known(self) -> bool:
        """Whether `summary` can be had without reading the data."""
        return "summary" in self.__dict__ or self._known() is not None

    def _read(self, keep: bool) -> Collection:
        began = time.perf_counter()
        found = self.spec.entry.read(self.spec.folder, **self.options)
        keep = keep or time.perf_counter() - began > _SLOW
        summary = Summary.of(found)
        self.__dict__["summary"] = summary
        folder = _folder()
        if folder is None:
            return found
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if keep:
                save_collection(self._path(folder, summary), found)
            text = json.dumps(summary.to_json()).encode()
            atomic_write(folder / f"{self._stamp}.json", lambda handle: handle.write(text))
        except OSError as error:
            _log.warning("what was read is not kept (%s); GMENGINE_CACHE_DIR names another folder", error)
        return found

    def _kept(self) -> Collection | None:
        path = self.kept_at
        if path is None:
            return None
        try:
            found = load_collection(path)
            if found.checksum() != self.summary.checksum:
                raise FileFormatError(f"{path}: not what its name says")
        except (FileFormatError, OSError) as error:
            _log.warning("raw data are read again (%s)", error)
            return None
        return found

    def _known(self) -> Summary | None:
        folder = _folder()
        if folder is None:
            return None
        path = folder / f"{self._stamp}.json"
        try:
            return Summary.from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            _log.warning("raw data are read again (%s: %s)", path, error)
            return None

    @cached_property
    def _stamp(self) -> str:
        return stamp(self.name, self.place, self.options)

    def _path(self, folder: Path, summary: Summary) -> Path:
        return folder / f"{file_name(self.name)}-{summary.checksum[:16]}.npz"


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def file_name(text: str) -> str:
    """Return `text` as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text)


def save_collection(path: str | os.PathLike[str], collection: Collection) -> None:
    """Write a collection to one .npz file, whole or not at all."""
    objects = collection.objects
    content = (
        {"points": objects.points, "offsets": objects.offsets}
        if isinstance(objects, Clouds)
        else {"images": objects}
    )
    texts = {key: getattr(collection, key) for key in ("name", "source", "licence")}
    header = {"class_names": list(collection.class_names), **texts}
    arrays = {**content, "labels": collection.labels, "parts": collection.parts}
    write_npz(path, _KIND, _VERSION, header, arrays)


def load_collection(path: str | os.PathLike[str]) -> Collection:
    """Read a collection that `save_collection` wrote.

    Raises
    ------
    FileFormatError
        Names the file and the reason: damaged, of another kind, or inconsistent.
    OSError
        If it cannot be read.
    """
    header, arrays = read_npz(path, _KIND, _VERSION)
    try:
        objects = Clouds(arrays["points"], arrays["offsets"]) if "points" in arrays else arrays["images"]
        texts = (header[key] for key in ("name", "source", "licence"))
        return Collection(objects, arrays["labels"], tuple(header["class_names"]), arrays["parts"], *texts)
    except KeyError as error:
        raise FileFormatError(f"{os.fspath(path)}: it lacks {error}") from None
    except GmengineError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from None


def _folder() -> Path | None:
    cache = cache_folder()
    return None if cache is None else cache / "raw"

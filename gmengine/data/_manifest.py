"""What a folder of mixtures holds, and how they were made: ``store.json``."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gmengine.data._summary import Summary
from gmengine.errors import DataError, FileFormatError
from gmengine.files import atomic_write

STORE, FORMAT, VERSION = "store.json", "gmengine.store", 1
_LARGEST = 2**24  # bytes of a store.json: a shard's entry has about a hundred


@dataclass(frozen=True)
class Manifest:
    """What a store holds, as its ``store.json`` says it.

    Parameters
    ----------
    collection : Summary
        Of the raw data.
    fit : dict
        How the mixtures were made: method, components, seed and the fit's other options.
    dtype : str
        ``"float32"`` or ``"float64"``.
    shard_objects : int
        Objects per shard.
    checksums : tuple of str
        SHA-256 of every shard; empty while the store is being made.
    """

    collection: Summary
    fit: dict[str, Any]
    dtype: str
    shard_objects: int
    checksums: tuple[str, ...] = ()

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return sum(self.collection.sizes)

    @property
    def dim(self) -> int:
        """K."""
        return self.collection.dim

    @property
    def components(self) -> int:
        """N."""
        return int(self.fit["components"])

    @property
    def n_shards(self) -> int:
        """How many shards there are once the store is finished."""
        return -(-self.objects // self.shard_objects)

    @property
    def identity(self) -> str:
        """SHA-256 of all that decides about the mixtures: shards of one identity may lie in one folder."""
        return hashlib.sha256(json.dumps(self._decisive(), sort_keys=True).encode()).hexdigest()

    def size_of(self, index: int) -> int:
        """Return how many objects are in shard `index`."""
        return min(self.shard_objects, self.objects - index * self.shard_objects)

    def differences(self, other: Manifest) -> list[str]:
        """Return where the two would hold other mixtures: ``["method 'kmeans', not 'kmeans+em'"]``."""
        mine, others = self._decisive(), other._decisive()
        return [
            f"{name} {mine.get(name)!r}, not {others.get(name)!r}"
            for name in mine | others
            if mine.get(name) != others.get(name)
        ]

    def write(self, folder: Path) -> None:
        """Write ``store.json``, whole or not at all."""
        shards = [{"objects": self.size_of(i), "sha256": each} for i, each in enumerate(self.checksums)]
        content = {"format": FORMAT, "version": VERSION, **self._said(), "shards": shards or None}
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        atomic_write(folder / STORE, lambda handle: handle.write(text.encode()))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read ``store.json``; FileFormatError names it and the reason, FileNotFoundError if there is none."""
        path = folder / STORE
        with open(path, "rb") as handle:
            text = handle.read(_LARGEST + 1)
        try:
            if len(text) > _LARGEST:
                raise ValueError("it is too long")
            return cls._from(json.loads(text.decode()))
        except KeyError as error:
            raise FileFormatError(f"{path}: it lacks {error}") from None
        # ValueError is what JSON and UTF-8 raise too; RecursionError comes of ten thousand brackets.
        except (ValueError, TypeError, RecursionError) as error:
            raise FileFormatError(f"{path}: not the description of a store: {error}") from None

    @classmethod
    def _from(cls, content: Any) -> Manifest:
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"expected the format {FORMAT!r}")
        if content["version"] != VERSION:
            raise ValueError(f"expected version {VERSION}, got {content['version']!r}")
        collection, fit, size = (
            Summary.from_json(content["collection"]),
            content["fit"],
            content["shard_objects"],
        )
        _demand(isinstance(fit, dict), "fit is no object")
        for number in (fit["components"], size):
            _demand(type(number) is int and 0 < number < 2**48, "a count is out of range")
        _demand(sum(collection.sizes) > 0, "it has no objects")
        _demand(content["dtype"] in ("float32", "float64"), f"unknown dtype {content['dtype']!r}")
        shards = [] if content["shards"] is None else content["shards"]
        found = cls(collection, fit, content["dtype"], size, tuple(each["sha256"] for each in shards))
        sizes = [each["objects"] for each in shards]
        _demand(
            not shards
            or (len(shards) == found.n_shards and sizes == [found.size_of(i) for i in range(len(sizes))]),
            "its shards do not add up",
        )
        return found

    def _said(self) -> dict[str, Any]:
        own = {"fit": self.fit, "dtype": self.dtype, "shard_objects": self.shard_objects}
        return {"collection": self.collection.to_json(), **own}

    def _decisive(self) -> dict[str, Any]:
        data = f"{self.collection.name} ({self.collection.checksum[:16]})"
        return {"data": data, **self.fit, "dtype": self.dtype, "shard_objects": self.shard_objects}


def shard_path(folder: Path, index: int) -> Path:
    """Return where shard `index` lies."""
    return folder / f"shard-{index:05d}.npz"


def is_store(folder: str | os.PathLike[str]) -> bool:
    """Return whether there is a store in this folder, finished or not."""
    return Path(folder, STORE).is_file()


def finished_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """Return the manifest of a finished store.

    Raises
    ------
    DataError
        If there is no store in the folder, or it is not finished.
    FileFormatError, OSError
        If ``store.json`` is damaged or cannot be read.
    """
    try:
        manifest = Manifest.read(Path(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{os.fspath(folder)}: no store of mixtures there (it has no {STORE})") from None
    if not manifest.checksums and manifest.n_shards:
        done = len(list(Path(folder).glob("shard-*.npz")))
        raise DataError(
            f"{os.fspath(folder)}: the store is not finished ({done} of {manifest.n_shards} shards); "
            "the command or call that began it goes on with it"
        )
    return manifest


def _demand(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)

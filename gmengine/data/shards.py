"""The mixture store: a folder of many fitted mixtures, read when they are asked for.

``store.json`` says what the mixtures are and of how many shards the store is made; shard i is
``shard-<i>.npz``, a file of `gmengine.files`, with `shard_objects` objects (the last one the rest):

=============  =======================  ==========================================================
array          shape                    content
=============  =======================  ==========================================================
weights        (n, N)
means          (n, N, K)
covariances    (n, N, K (K + 1) / 2)    rows of the lower triangle: C00, C10, C11, C20, ...
labels         (n,) int64               class of every object
parts          (n,) int8                0 training, 1 validation, 2 test
=============  =======================  ==========================================================
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gmengine.data._manifest import Manifest, finished_manifest, shard_path
from gmengine.data._manifest import is_store as is_store
from gmengine.data.dataset import Dataset
from gmengine.errors import ArgumentError, FileFormatError
from gmengine.files import read_npz, write_npz
from gmengine.mixture import Mixture
from gmengine.threads import get_num_threads

PARTS = ("train", "valid", "test")
_SHARD, _VERSION = "gmengine.store.shard", 1
_SHAPES = {"weights": "SN", "means": "SNK", "covariances": "SNT", "labels": "S", "parts": "S"}


class Shard(NamedTuple):
    """Objects of a store: mixtures of batch (n,), their labels and parts."""

    mixtures: Mixture
    labels: np.ndarray
    parts: np.ndarray


class Store:
    """A finished store of mixtures; nothing but its description is in memory until it is asked for.

    Made by `open_store` and `build`.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @property
    def name(self) -> str:
        """What the collection is called."""
        return self.manifest.collection.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.manifest.collection.class_names

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many objects the training, validation and test part have."""
        return self.manifest.collection.sizes

    def __len__(self) -> int:
        return self.manifest.objects

    def shard(self, index: int) -> Shard:
        """Read one shard, in [0, ``manifest.n_shards``).

        Raises
        ------
        ArgumentError
            If there is no such shard.
        FileFormatError
            Names the shard and what is wrong with it.
        """
        if not 0 <= index < self.manifest.n_shards:
            raise ArgumentError(f"shard: expected 0 to {self.manifest.n_shards - 1}, got {index!r}")
        found = read_shard(self.folder, self.manifest, index)
        if shard_checksum(self.folder, index) != self.manifest.checksums[index]:
            raise FileFormatError(
                f"{shard_path(self.folder, index)}: not the shard that the store was made with"
            )
        return found

    def part(self, name: str) -> Dataset:
        """Read one part, ``"train"``, ``"valid"`` or ``"test"``; its objects are in the collection's order.

        Raises
        ------
        ArgumentError
            If the name is another.
        FileFormatError
            Names the shard that is damaged.
        """
        if name not in PARTS:
            raise ArgumentError(f"part: expected one of {', '.join(PARTS)}, got {name!r}")
        (found,) = self._read((PARTS.index(name),))
        return found

    def load(self) -> tuple[Dataset, Dataset, Dataset]:
        """Read all; return the training, validation and test part. Errors as of `part`."""
        train, valid, test = self._read(range(3))
        return train, valid, test

    def _read(self, numbers: Any) -> list[Dataset]:
        with ThreadPoolExecutor(get_num_threads()) as pool:  # checksums and copies leave the GIL alone
            shards = list(pool.map(self.shard, range(self.manifest.n_shards)))
        collection = self.manifest.collection
        found = []
        for number in numbers:
            chosen = [shard.parts == number for shard in shards]
            columns = zip(*((*s.mixtures.arrays, s.labels) for s in shards), strict=True)
            *arrays, labels = (
                np.concatenate([a[mask] for a, mask in zip(column, chosen, strict=True)])
                for column in columns
            )
            if len(labels) != self.sizes[number]:
                raise FileFormatError(
                    f"{self.folder}: the shards hold {len(labels)} objects of a part of {self.sizes[number]}"
                )
            found.append(
                Dataset(
                    Mixture(*(a[:, None] for a in arrays)),
                    labels,
                    self.class_names,
                    self.name,
                    collection.source,
                    collection.licence,
                )
            )
        return found

    def __repr__(self) -> str:
        m = self.manifest
        train, valid, test = self.sizes
        return (
            f"Store({os.fspath(self.folder)!r}: {self.name!r}, {train} + {valid} + {test} objects, "
            f"{m.components} components, dim={m.dim}, {m.dtype})"
        )


def open_store(folder: str | os.PathLike[str]) -> Store:
    """Return the store in `folder`; its shards are not touched.

    Raises
    ------
    DataError
        If there is no store, or it is not finished.
    FileFormatError
        If its ``store.json`` is damaged.

    Examples
    --------
    >>> store = open_store("fashion-mnist-64")                # doctest: +SKIP
    >>> train, valid, test = store.load()                     # doctest: +SKIP
    """
    return Store(Path(folder), finished_manifest(folder))


def write_shard(folder: Path, manifest: Manifest, index: int, shard: Shard) -> None:
    """Check and write a shard, whole or not at all; the same bytes for the same content.

    Raises
    ------
    NonFiniteError, NotPositiveDefinite
        If a mixture is invalid: what is in a store need not be checked again.
    OSError
        If the file cannot be written; no temporary file stays behind.
    """
    weights, means, covariances = shard.mixtures.check().arrays
    rows, columns = np.tril_indices(manifest.dim)
    arrays = {
        "weights": weights,
        "means": means,
        "covariances": covariances[..., rows, columns],
        "labels": shard.labels,
        "parts": shard.parts,
    }
    write_npz(shard_path(folder, index), _SHARD, _VERSION, _shard_header(manifest, index), arrays)


def read_shard(folder: Path, manifest: Manifest, index: int) -> Shard:
    """Read a shard and check that it is the one that the manifest means.

    Raises
    ------
    FileFormatError
        Names the file and the reason: damaged, truncated, missing, of another store, or numbers out of range.
    OSError
        If it cannot be read.
    """
    path = shard_path(folder, index)
    try:
        header, arrays = read_npz(path, _SHARD, _VERSION)
    except FileNotFoundError:
        raise FileFormatError(f"{path}: missing") from None
    if header != _shard_header(manifest, index):
        raise FileFormatError(f"{path}: a shard of another store")
    sizes = {
        "S": manifest.size_of(index),
        "N": manifest.components,
        "K": manifest.dim,
        "T": manifest.dim * (manifest.dim + 1) // 2,
    }
    dtypes = dict.fromkeys(_SHAPES, manifest.dtype) | {"labels": "int64", "parts": "int8"}
    if set(arrays) != set(_SHAPES):
        raise FileFormatError(f"{path}: expected the arrays {', '.join(_SHAPES)}, got {', '.join(arrays)}")
    for name, axes in _SHAPES.items():
        shape, found = tuple(sizes[axis] for axis in axes), arrays[name]
        if found.shape != shape or found.dtype != dtypes[name]:
            raise FileFormatError(f"{path}: {name} is {found.dtype} {found.shape}, expected {shape}")
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise FileFormatError(f"{path}: {name} holds NaN or infinity")
    for name, limit in (("labels", len(manifest.collection.class_names)), ("parts", 3)):
        if sizes["S"] and not 0 <= arrays[name].min() <= arrays[name].max() < limit:
            raise FileFormatError(f"{path}: {name} are not all in [0, {limit})")
    mixtures = Mixture(arrays["weights"], arrays["means"], _square(arrays["covariances"], manifest.dim))
    return Shard(mixtures, arrays["labels"], arrays["parts"])


def shard_checksum(folder: Path, index: int) -> str:
    """Return the SHA-256 of the file of a shard, in hexadecimal."""
    with open(shard_path(folder, index), "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _shard_header(manifest: Manifest, index: int) -> dict[str, Any]:
    return {"store": manifest.identity, "shard": index}


def _square(packed: np.ndarray, dim: int) -> np.ndarray:
    """Return symmetric matrices of their lower triangles."""
    rows, columns = np.indices((dim, dim))
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    return np.take(packed, high * (high + 1) // 2 + low, axis=-1)

"""Fitting a whole collection, shard after shard, so that nothing finished is ever lost."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gmengine.data._manifest import STORE, Manifest, shard_path
from gmengine.data._summary import Summary
from gmengine.data.collection import Collection
from gmengine.data.shards import Shard, Store, read_shard, shard_checksum, write_shard
from gmengine.errors import ArgumentError, DataError, DTypeError, FileFormatError
from gmengine.fitting._methods import fitter
from gmengine.fitting.clouds import Clouds
from gmengine.fitting.fit import fit
from gmengine.fitting.images import fit_images
from gmengine.mixture import Mixture
from gmengine.threads import kernel_threads

Progress = Callable[[int, int, float], object]

SHARD_OBJECTS = 1024
_BLOCK = (
    64  # objects per fit; each block has its own random numbers, so shards of any size hold the same bits
)
_REVISION = 1  # to be raised whenever the same collection and options give other mixtures
_MOST = 2**31 - 1  # components: they are counted in 32 bits
_STALE = 60.0  # seconds after which a temporary file is of a process that is no more

_log = logging.getLogger("gmengine")


def build(
    collection: Collection,
    components: int,
    out: str | os.PathLike[str],
    *,
    method: str = "kmeans+em",
    steps: int | None = None,
    init: str = "kmeans++",
    tol: float | None = None,
    seed: int = 0,
    dtype: Any = "float32",
    shard_objects: int = SHARD_OBJECTS,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Fit a mixture to every object of a collection and keep them in a folder: a store.

    Objects are fitted by all threads, shard after shard; a shard is written whole or not at all. Whenever the
    work ends early (an exception, Ctrl-C, ``kill -9``, a full disk), the same call goes on after the last
    finished shard, and the result is, to the bit, what an undisturbed call gives, whatever the number of
    threads. A shard that was damaged since is made anew. Called for a finished store it only checks it.

    Parameters
    ----------
    collection : Collection
        Images, fitted by `fitting.fit_images` (the weights sum to the intensity), or point clouds, fitted by
        `gmengine.fit` (every cloud has mass 1).
    components : int
        N, of every mixture.
    out : path-like
        The folder: new, empty, or with a store of the same collection and options.
    method, steps, init, tol
        Of the fit, see `gmengine.fit`; by default k-means and one EM step.
    seed : int
        Of the fits. Objects 64 i to 64 i + 63 have random numbers of their own.
    dtype : dtype
        float32 or float64: what the mixtures are stored in.
    shard_objects : int
        Objects per shard, a multiple of 64.
    threads : int, optional
        At most so many threads (default: see `gmengine.threads`).
    progress : callable, optional
        Is called as ``progress(done, total, rate)``: objects in all, and per second since the call.

    Returns
    -------
    Store
        The same as ``open_store(out)``.

    Raises
    ------
    ArgumentError
        If an option is out of range, or `out` holds something else or a store of other data or options: says
        which. Nothing is overwritten.
    DataError
        If the collection is empty.
    OSError
        If `out` cannot be written to or the disk is full; names the shard.
    """
    how = {"method": method, "steps": steps, "init": init, "tol": tol}
    folder = Path(out)
    wanted = manifest_of(Summary.of(collection), components, how, seed, dtype, shard_objects)
    known = _known(folder, wanted)
    kept = [i for i in range(wanted.n_shards) if known is not None and _is_sound(folder, known, i)]
    watch = _Watch(sum(wanted.size_of(i) for i in kept), len(collection), progress)
    with nullcontext() if threads is None else kernel_threads(threads):
        for index in sorted(set(range(wanted.n_shards)) - set(kept)):
            shard = _fit_shard(collection, wanted, index, how, watch)
            _keep(folder, wanted, index, shard, known)
            known = known or wanted
    _sweep(folder)
    finished = replace(wanted, checksums=tuple(shard_checksum(folder, i) for i in range(wanted.n_shards)))
    if finished != known:
        finished.write(folder)
    return Store(folder, finished)


def manifest_of(
    summary: Summary,
    components: int,
    how: Mapping[str, Any],
    seed: int,
    dtype: Any,
    shard_objects: int = SHARD_OBJECTS,
) -> Manifest:
    """Return what a store will say of itself; the values that the fits do not check are checked."""
    if isinstance(components, int | np.integer) and components > _MOST:
        raise ArgumentError(f"build: expected at most {_MOST} components, got {components}")
    numbers = (("components", components, 1), ("seed", seed, 0), ("shard_objects", shard_objects, 1))
    for key, value, least in numbers:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ArgumentError(f"build: expected {key} to be an integer >= {least}, got {value!r}")
    if shard_objects % _BLOCK:
        raise ArgumentError(
            f"build: expected shard_objects to be a multiple of {_BLOCK}, got {shard_objects}"
        )
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise DTypeError(f"build: expected dtype float32 or float64, got {np.dtype(dtype)}")
    if not sum(summary.sizes):
        raise DataError(f"build: the collection {summary.name} is empty")
    options = fit_options(how)
    said = {"components": int(components), **options, "seed": int(seed), "revision": _REVISION}
    return Manifest(summary, said, np.dtype(dtype).name, int(shard_objects))


def fit_options(how: Mapping[str, Any]) -> dict[str, Any]:
    """Return method, steps, init and tol with the method's defaults filled in; ArgumentError if one is wrong."""
    given = {name: value for name, value in how.items() if name != "method"}
    chosen: Any = fitter("build", how["method"], **given)
    return {"method": how["method"], **chosen.keywords}


def _known(folder: Path, wanted: Manifest) -> Manifest | None:
    """Return the manifest that lies in the folder, if any; ArgumentError if the folder is not ours to write."""
    try:
        found = Manifest.read(folder)
    except FileNotFoundError:
        if folder.is_dir() and any(
            not re.match(r"\.|shard-\d+\.npz$", each.name) for each in folder.iterdir()
        ):
            raise ArgumentError(f"{folder} holds other files than a store; name another folder") from None
        return None
    differences = found.differences(wanted)
    if differences:
        raise ArgumentError(f"{folder} holds a store of {'; '.join(differences)}: name another folder")
    return found


def _is_sound(folder: Path, manifest: Manifest, index: int) -> bool:
    try:
        if manifest.checksums:
            Store(folder, manifest).shard(index)
        else:
            read_shard(folder, manifest, index)
    except FileFormatError as error:
        if shard_path(folder, index).exists():
            _log.warning("fitted again: %s", error)
        return False
    return True


def _fit_shard(
    collection: Collection, manifest: Manifest, index: int, how: Mapping[str, Any], watch: _Watch
) -> Shard:
    start = index * manifest.shard_objects
    whole = collection[start : start + manifest.size_of(index)]
    fitted = []
    for piece, rng in _blocks(whole, start, manifest.fit["seed"]):
        fitted.append(_fit(piece, manifest.components, how, rng))
        watch.add(len(piece))
    arrays = (np.concatenate(column) for column in zip(*(m.arrays for m in fitted), strict=True))
    return Shard(Mixture(*arrays).astype(manifest.dtype), whole.labels, whole.parts)


def _blocks(objects: Collection, start: int, seed: int) -> Iterator[tuple[Collection, np.random.Generator]]:
    for first in range(0, len(objects), _BLOCK):
        yield objects[first : first + _BLOCK], np.random.default_rng([seed, (start + first) // _BLOCK])


def _fit(piece: Collection, components: int, how: Mapping[str, Any], rng: np.random.Generator) -> Mixture:
    """Return mixtures of batch (n,) in float64."""
    objects = piece.objects
    if isinstance(objects, Clouds):
        return fit(Clouds(objects.points.astype(np.float64), objects.offsets), components, rng=rng, **how)
    return fit_images(objects, components, rng=rng, **how)


def _keep(folder: Path, wanted: Manifest, index: int, shard: Shard, known: Manifest | None) -> None:
    """Write a shard, after ``store.json`` if that is not there yet."""
    try:
        if known is None:  # not before the first fit: a mistake in the options leaves no folder behind
            folder.mkdir(parents=True, exist_ok=True)
            wanted.write(folder)
        write_shard(folder, wanted, index, shard)
    except OSError as error:
        raise OSError(
            error.errno, error.strerror, error.filename or str(shard_path(folder, index))
        ) from error


def _sweep(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while writing."""
    for left_over in (*folder.glob(".shard-*.npz.*.tmp"), *folder.glob(f".{STORE}.*.tmp")):
        with contextlib.suppress(OSError):
            if time.time() - left_over.stat().st_mtime > _STALE:
                left_over.unlink()


class _Watch:
    """Counts objects and tells of them."""

    def __init__(self, done: int, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = done, total, progress
        self._kept, self._began = done, time.perf_counter()

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            rate = (self._done - self._kept) / max(time.perf_counter() - self._began, 1e-9)
            self._progress(self._done, self._total, rate)

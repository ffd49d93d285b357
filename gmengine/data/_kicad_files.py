"""The models of KiCad's packages as clouds, parsed by several processes, kept in the cache."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_handles
from pathlib import Path

import numpy as np

from gmengine.data._drawn import drawn_cloud, seeded
from gmengine.data.cache import cache_folder
from gmengine.data.formats._bytes import read_bytes
from gmengine.data.formats.deb import deb_members
from gmengine.data.formats.vrml import parse_vrml
from gmengine.errors import FileFormatError
from gmengine.files import read_npz, write_npz
from gmengine.fitting.clouds import Clouds

_KIND, _VERSION = "gmengine.KicadClouds", 1  # to be raised whenever the same files give other clouds
_MOST = 1 << 25  # bytes of a model; the largest has 8 MB
_TOGETHER = 1 << 20  # bytes of models that a process is handed at a time
_EDGE = 1 << 20  # bytes at both ends of a package that stand for all of it, with its size and time
_log = logging.getLogger("gmengine")

_Models = list[tuple[str, bytes]]
_Found = list[tuple[str, np.ndarray | str]]  # name of a part, and its cloud or why it has none
_Parts = tuple[list[str], np.ndarray]


def part_clouds(place: Path, points: int, seed: int, workers: int) -> tuple[list[str], Clouds]:
    """Return the names ``library.3dshapes/part.wrl`` of all parts, sorted, and their clouds.

    `place` is the folder of the libraries or a .deb file. A cloud depends on the part's model, its name and
    `seed` alone, not on the number of workers. Nothing is written before all are there.
    """
    folder = cache_folder()
    path = None if folder is None else folder / f"kicad-points{points}-seed{seed}-{_key(place)}.npz"
    found = None if path is None else _kept(path, points)
    if found is None:
        found = _parsed(place, points, seed, workers)
        if path is not None and found[0]:
            _keep(path, found)
    names, clouds = found
    return names, Clouds(clouds.reshape(-1, 3), np.arange(len(names) + 1) * points)


def _key(place: Path) -> str:
    digest = hashlib.blake2b(f"{_VERSION} {np.__version__}".encode(), digest_size=8)
    if place.is_file():
        status = place.stat()
        digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
        with open(place, "rb") as handle:
            digest.update(handle.read(_EDGE))
            handle.seek(max(0, status.st_size - _EDGE))
            digest.update(handle.read(_EDGE))
    else:
        for name, path in _files(place):
            status = path.stat()
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _kept(path: Path, points: int) -> _Parts | None:
    try:
        header, arrays = read_npz(path, _KIND, _VERSION)
        names, clouds = header.get("names"), arrays.get("clouds")
        if not isinstance(names, list) or clouds is None or clouds.shape != (len(names), points, 3):
            raise FileFormatError(f"{path}: not what its name says")
    except FileNotFoundError:
        return None
    except (FileFormatError, OSError) as error:
        _log.warning("models are parsed again (%s)", error)
        return None
    return names, clouds


def _keep(path: Path, found: _Parts) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(path, _KIND, _VERSION, {"names": found[0]}, {"clouds": found[1]})
    except OSError as error:
        _log.warning("parsed models are not kept (%s); GMENGINE_CACHE_DIR names another folder", error)


def _models(place: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of all models at `place`."""
    if place.is_file():
        for member, data in deb_members(place, _is_model, _MOST):
            yield "/".join(member.split("/")[-2:]), data
    else:
        for name, path in _files(place):
            yield name, read_bytes(path, _MOST)


def _is_model(member: str) -> bool:
    parts = member.split("/")
    return parts[-1].endswith(".wrl") and parts[-2:-1] != [] and parts[-2].endswith(".3dshapes")


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(place.glob("*.3dshapes/*.wrl")):
        yield f"{path.parent.name}/{path.name}", path


def _parsed(place: Path, points: int, seed: int, workers: int) -> _Parts:
    found: _Found = []
    try:
        if workers > 1:
            found = _by_processes(place, points, seed, workers)
    except BrokenProcessPool:
        _log.warning(
            "models are parsed by one process: others could not be started, or died. A script that has them "
            "started must guard its main part by if __name__ == '__main__'"
        )
    if not found:
        found = [each for batch in _batches(place) for each in _clouds(batch, points, seed)]
    found.sort(key=lambda each: each[0])
    for _, reason in found:
        if isinstance(reason, str):
            _log.warning("passed over: %s", reason)
    clouds = [(name, cloud) for name, cloud in found if not isinstance(cloud, str)]
    stacked = np.stack([cloud for _, cloud in clouds]) if clouds else np.empty((0, points, 3), np.float32)
    return [name for name, _ in clouds], stacked


def _by_processes(place: Path, points: int, seed: int, workers: int) -> _Found:
    found: _Found = []
    pending: set[Future[_Found]] = set()
    spawned = multiprocessing.get_context("spawn")  # a fork would copy the locks of the kernels' threads
    with ProcessPoolExecutor(workers, spawned, _obey_parent) as pool:
        try:
            for batch in _batches(place):
                pending.add(pool.submit(_clouds, batch, points, seed))
                if len(pending) > 2 * workers:  # the package must not be in memory as a whole
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for each in done:
                        found += each.result()
            for each in pending:
                found += each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _obey_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for_handles([sentinel])
    os._exit(1)


def _batches(place: Path) -> Iterator[_Models]:
    batch: _Models = []
    size = 0
    for name, data in _models(place):
        batch.append((name, data))
        size += len(data)
        if size >= _TOGETHER:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _clouds(batch: _Models, points: int, seed: int) -> _Found:
    found: _Found = []
    for name, data in batch:
        try:
            mesh = parse_vrml(data, name)
        except FileFormatError as error:
            found.append((name, str(error)))
        else:
            found.append((name, drawn_cloud(mesh, points, seeded(seed, "kicad", name))))
    return found

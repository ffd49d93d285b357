"""The models of KiCad's packages as clouds, parsed by several processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from gmengine.data._drawn import drawn_cloud, seeded
from gmengine.data._processes import UNGUARDED, readers
from gmengine.data.formats._bytes import read_bytes
from gmengine.data.formats.deb import deb_members
from gmengine.data.formats.vrml import parse_vrml
from gmengine.errors import FileFormatError
from gmengine.fitting.clouds import Clouds

_MOST = 1 << 25  # bytes of a model; the largest has 8 MB
_TOGETHER = 1 << 20  # bytes of models that a process is handed at a time
_log = logging.getLogger("gmengine")

_Models = list[tuple[str, bytes]]
_Found = list[tuple[str, np.ndarray | str]]  # name of a part, and its cloud or why it has none
_Parts = tuple[list[str], np.ndarray]


def part_clouds(place: Path, points: int, seed: int, workers: int) -> tuple[list[str], Clouds]:
    """Return the names ``library.3dshapes/part.wrl`` of all parts, sorted, and their clouds.

    `place` is the folder of the libraries or a .deb file. A cloud depends on the part's model, its name and
    `seed` alone, not on the number of workers.
    """
    names, clouds = _parsed(place, points, seed, workers)
    return names, Clouds(clouds.reshape(-1, 3), np.arange(len(names) + 1) * points)


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
        _log.warning(UNGUARDED)
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
    with readers(workers) as pool:
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

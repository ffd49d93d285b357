"""Many files of meshes and points as clouds, each with random numbers of its own."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gmengine.data._processes import UNGUARDED, readers
from gmengine.data.formats.mesh_files import read_cloud
from gmengine.errors import ArgumentError
from gmengine.fitting.clouds import Clouds

OPTIONS: dict[str, tuple[Any, str]] = {
    "points": (1024, "points per cloud at most; from meshes so many are drawn"),
    "seed": (0, "of the points that are drawn or chosen"),
    "normalise": (True, "centroid to 0, largest distance from it to 1"),
    "workers": (1, "processes that read files"),
}
"""What every reader of such files takes, as `Entry` declares it."""

_TOGETHER = 16  # files that a process is handed at a time
_log = logging.getLogger("gmengine")


def read_clouds(
    folder: Path,
    names: Sequence[str],
    *,
    points: int = 1024,
    seed: int = 0,
    normalise: bool = True,
    workers: int = 1,
) -> Clouds:
    """Return one cloud per file, by `read_cloud`.

    A file's random numbers come from `seed` and its name within the folder: they depend neither on the other
    files nor on the number of workers.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        Paths within the folder, with ``/`` between their parts; at least one.
    points, seed, normalise
        See `OPTIONS`.
    workers : int
        Parsing is Python, which one process does on one core alone. With more than one worker, processes are
        spawned: a script that calls this must guard its main part by ``if __name__ == "__main__":``.

    Raises
    ------
    ArgumentError
        If points or workers is not a positive integer, seed not an integer >= 0, or normalise no boolean.
    FileFormatError, DataError, OSError
        Of the first file, in the order of `names`, that cannot be read.
    """
    for key, value, least in (("points", points, 1), ("seed", seed, 0), ("workers", workers, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ArgumentError(f"expected {key} to be an integer >= {least}, got {value!r}")
    if not isinstance(normalise, bool | np.bool_):
        raise ArgumentError(f"expected normalise to be True or False, got {normalise!r}")
    read = partial(_read, folder, int(points), int(seed), bool(normalise))
    if min(workers, len(names)) > 1:
        try:
            return Clouds.pack(_by_processes(read, names, int(workers)))
        except BrokenProcessPool:
            _log.warning(UNGUARDED)
    return Clouds.pack([read(name) for name in names])


def _by_processes(read: Callable[[str], np.ndarray], names: Sequence[str], workers: int) -> list[np.ndarray]:
    with readers(min(workers, len(names))) as pool:
        try:
            return list(pool.map(read, names, chunksize=_TOGETHER))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _read(folder: Path, points: int, seed: int, normalise: bool, name: str) -> np.ndarray:
    words = np.frombuffer(
        hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=16).digest(), "<u4"
    )
    rng = np.random.default_rng([seed, *words.tolist()])
    return read_cloud(folder / name, points, rng, normalise=normalise)

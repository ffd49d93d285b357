"""Many files of meshes and points as clouds, each with random numbers of its own."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gmengine.data.collection import TRAIN, VALID
from gmengine.data.formats.mesh_files import read_cloud
from gmengine.data.split import SPLIT_SEED, split
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
        If points or workers is not a positive integer, or seed not an integer >= 0.
    FileFormatError, DataError, OSError
        Of the first file, in the order of `names`, that cannot be read.
    """
    for key, value, least in (("points", points, 1), ("seed", seed, 0), ("workers", workers, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ArgumentError(f"expected {key} to be an integer >= {least}, got {value!r}")
    read = partial(_read, folder, int(points), int(seed), bool(normalise))
    if min(workers, len(names)) == 1:
        return Clouds.pack([read(name) for name in names])
    spawned = multiprocessing.get_context("spawn")  # a fork would copy the locks of the kernels' threads
    with ProcessPoolExecutor(min(int(workers), len(names)), mp_context=spawned) as pool:
        try:
            return Clouds.pack(list(pool.map(read, names, chunksize=_TOGETHER)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _read(folder: Path, points: int, seed: int, normalise: bool, name: str) -> np.ndarray:
    words = np.frombuffer(
        hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=16).digest(), "<u4"
    )
    rng = np.random.default_rng([seed, *words.tolist()])
    return read_cloud(folder / name, points, rng, normalise=normalise)


def with_validation(labels: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the parts with a tenth of each class of the training part for validation, always the same."""
    train = np.flatnonzero(parts == TRAIN)
    result = parts.copy()
    result[train[split(labels[train], (0.9, 0.1), SPLIT_SEED)[1]]] = VALID
    return result

"""How kernels are compiled, cached and shared out among threads.

`helper` is for the serial functions that kernels are made of, `kernel` for what Python calls: parallel and
cached on disk. The number of space dimensions, the dtype and the number of amplitudes per component reach a
kernel as tuples of zeros (`zeros`): a tuple's length is part of its type, so one source is compiled for each
K with all loops over dimensions unrolled.
"""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from numba import get_num_threads, njit

# Sums may be regrouped, which lets LLVM vectorise them, and multiplications fused with additions. NaN and
# infinity keep their meaning: kernels must see them to report them.
FLAGS = {"fastmath": {"contract", "nsz", "reassoc"}, "error_model": "numpy"}

helper = njit(**FLAGS)


@cache
def _fingerprint():
    """Return a digest of all sources of this package: Numba watches only the file that holds the kernel."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def kernel(function):
    """Compile `function` on demand, parallel, and cache it on disk until any source of this package changes."""
    dispatcher = njit(parallel=True, cache=True, **FLAGS)(function)
    cache_file = getattr(dispatcher._cache, "_cache_file", None)
    if cache_file is not None:  # without it Numba's own stamp holds: time and size of the kernel's file
        cache_file._source_stamp = (cache_file._source_stamp, _fingerprint())
    return dispatcher


@cache
def zeros(n, dtype):
    """Return n zeros of `dtype` as a tuple."""
    return (np.dtype(dtype).type(0),) * n


def n_packed(dim):
    """Return the number of entries of a triangle, the diagonal included."""
    return dim * (dim + 1) // 2


def n_workers(tasks):
    """Return how many workers share `tasks`: one per thread, so that scratch is allocated once per thread."""
    return max(1, min(tasks, get_num_threads()))


def ready(array):
    """Return `array` as Numba compiles for: C-contiguous, aligned, writable (a copy only if it is not)."""
    return np.require(array, requirements=("C", "A", "W"))

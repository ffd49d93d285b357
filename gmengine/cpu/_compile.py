"""How kernels are compiled, cached and shared out among threads.

`helper` is for the functions that kernels are made of, `threaded` for what Python calls: it is cached on disk
and shares its tasks among threads. The number of space dimensions, the dtype and the number of amplitudes per
component reach a kernel as tuples of zeros (`zeros`): a tuple's length is part of its type, so one source is
compiled for each K, its loops over dimensions unrolled.
"""

import hashlib
import re
import sys
from functools import cache, wraps
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from gmengine.cpu._threads import share

# Sums may be regrouped, which lets LLVM vectorise them, and multiplications fused with additions. NaN and
# infinity keep their meaning: kernels must see them to report them.
FLAGS: Any = {"fastmath": {"contract", "nsz", "reassoc"}, "error_model": "numpy"}

# Helpers are called by compiled code alone; without wrappers for other callers a kernel compiles a fifth faster.
helper: Any = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **FLAGS)  # type: ignore[call-overload]

_IMPORT = re.compile(
    r"^from gmengine\.cpu(\.(?P<module>\w+) import| import (?P<names>[\w, ]+)$)", re.MULTILINE
)


def _sources(module, found):
    """Collect the source files of `module` and of the modules of this package that it imports from."""
    path = sys.modules[module].__file__
    if path not in found:
        found.add(path)
        for line in _IMPORT.finditer(Path(path).read_text()):
            of_package = (f"{__package__}.{name.strip()}" for name in (line["names"] or "").split(","))
            for name in [f"{__package__}.{line['module']}"] if line["module"] else of_package:
                if name in sys.modules:
                    _sources(name, found)
    return found


def _fingerprint(function):
    """Return a digest of all sources that a kernel is made of: Numba watches only the file that holds it."""
    digest = hashlib.sha256()
    for path in sorted(_sources(function.__module__, set())):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _cached(dispatcher, function):
    """Make the disk cache of `dispatcher` notice changes in any source of its kernel."""
    cache_file = getattr(dispatcher._cache, "_cache_file", None)
    if cache_file is not None:  # without it Numba's own stamp holds: time and size of the kernel's file
        cache_file._source_stamp = (cache_file._source_stamp, _fingerprint(function))
    return dispatcher


def threaded(function):
    """Compile ``function(worker, workers, *args)`` on demand, cached on disk until one of its sources changes.

    What comes back is called as ``function(tasks, *args)`` and shares the tasks out among threads.
    """
    compiled = _cached(njit(nogil=True, cache=True, **FLAGS)(function), function)

    @wraps(function)
    def run(tasks, *args):
        share(compiled, tasks, args)

    run.compiled = compiled
    return run


@cache
def zeros(n, dtype):
    """Return n zeros of `dtype` as a tuple."""
    return (np.dtype(dtype).type(0),) * n


# Mixtures are cut into slices of their points until this many tasks exist. A constant, not the number of threads:
# sums over points are grouped by slice, and their bits must not depend on the machine. Every slice prepares all
# components (about 30 ns each), which must stay little beside its pairs (about 0.4 ns each).
TASKS = 32
SLICE = 640
SCRATCH = 1 << 23  # float64 numbers, 64 MB


def n_slices(mixtures, points, scratch=0):
    """Return into how many slices the points of each mixture are cut; a slice needs `scratch` float64 numbers."""
    affordable = SCRATCH // max(1, mixtures * scratch)
    return max(1, min(-(-TASKS // max(mixtures, 1)), points // SLICE, affordable))


def ready(array):
    """Return `array` as Numba compiles for: C-contiguous, aligned, writable (a copy only if it is not)."""
    return np.require(array, requirements=("C", "A", "W"))

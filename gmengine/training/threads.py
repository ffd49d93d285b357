"""How many threads a run uses: Numba's kernels and the BLAS beneath NumPy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gmengine.errors import ArgumentError


def requested_threads(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return the thread count of ``GMENGINE_NUM_THREADS``, else of ``OMP_NUM_THREADS``, else None.

    Raises
    ------
    ArgumentError
        If the variable that counts is not a positive whole number (of OpenMP's lists, ``"4,2"``, the first
        counts).
    """
    for name in ("GMENGINE_NUM_THREADS", "OMP_NUM_THREADS"):
        text = environ.get(name, "").strip()
        if not text:
            continue
        first = text.partition(",")[0] if name == "OMP_NUM_THREADS" else text
        if not first.isdecimal() or int(first) < 1:
            raise ArgumentError(f"{name}: expected a positive whole number, got {text!r}")
        return int(first)
    return None


@contextmanager
def limited_threads(count: int | None = None) -> Iterator[int]:
    """Run a block with `count` threads and put back what was there; yield the number in use.

    Without a `count` the environment decides (`requested_threads`), else Numba's own default. A count above
    what Numba was started with (``NUMBA_NUM_THREADS``, else the cores of the machine) is lowered to it. The
    same count gives the same bits.
    """
    import numba
    from threadpoolctl import threadpool_limits

    if count is None:
        count = requested_threads()
    if count is not None and count < 1:
        raise ArgumentError(f"threads: expected at least 1, got {count}")
    before = numba.get_num_threads()
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    used = before if count is None else min(count, most)
    numba.set_num_threads(used)
    try:
        with threadpool_limits(limits=used, user_api="blas"):
            yield used
    finally:
        numba.set_num_threads(before)

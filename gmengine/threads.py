"""How many threads kernels use.

What counts, the first that is there: `kernel_threads` around the call, `set_num_threads`, the environment variable
``GMENGINE_NUM_THREADS``, then ``OMP_NUM_THREADS``, else the cores that the process may use (its affinity mask, and the
processor quota of its container, rounded up). No count exceeds the machine's cores. The environment is read when the
first kernel runs. Results do not depend on the count, to the bit.

`numba.set_num_threads` and ``NUMBA_NUM_THREADS`` govern Numba's own parallel loops, of which gmengine has none.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from operator import index
from pathlib import Path

from gmengine.errors import ArgumentError

_of_process: int | None = None
_of_context: ContextVar[int | None] = ContextVar("gmengine_threads", default=None)


def get_num_threads() -> int:
    """Return the most threads that a kernel called here and now would use; 0.1 microseconds.

    Raises
    ------
    ArgumentError
        If the environment decides and its variable is not a positive whole number.
    """
    return _of_context.get() or _of_process or _of_environment()


def set_num_threads(count: int | None) -> None:
    """Let kernels use `count` threads from now on, in all of the process; None gives the word back to the environment.

    Raises
    ------
    ArgumentError
        If `count` is not an integer of at least 1.
    """
    global _of_process
    _of_process = None if count is None else _checked(count)


@contextmanager
def kernel_threads(count: int) -> Iterator[int]:
    """Let kernels use `count` threads inside the block; yield the number in use.

    Only kernels that this thread calls (or this asynchronous task): other threads have limits of their own.

    Raises
    ------
    ArgumentError
        If `count` is not an integer of at least 1.
    """
    token = _of_context.set(_checked(count))
    try:
        yield get_num_threads()
    finally:
        _of_context.reset(token)


def asked_threads() -> int:
    """Return `get_num_threads`, but read the environment afresh."""
    return _of_context.get() or _of_process or _of_environment.__wrapped__()


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
        first = text.partition(",")[0].strip() if name == "OMP_NUM_THREADS" else text
        if not (first.isascii() and first.isdecimal()) or int(first) < 1:
            raise ArgumentError(f"{name}: expected a positive whole number, got {text!r}")
        return int(first)
    return None


@cache
def cores() -> int:
    """Return the number of the machine's cores: no count of threads exceeds it."""
    return os.cpu_count() or 1


def available_cores(control_groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores this process may use: those of its affinity mask, at most its container's quota."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores()
    quota = _quota(control_groups)
    return max(1, found if quota is None else min(found, math.ceil(quota)))


def _quota(folder: Path) -> float | None:
    """Return the processor time per time that Linux allows the container: of control groups version 2, else 1."""
    try:
        limit, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit, period = ((folder / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    try:
        quota = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or a file of another meaning
        return None
    return quota if quota > 0 else None  # -1: no limit


@cache
def _of_environment() -> int:
    count = requested_threads()
    return available_cores() if count is None else min(count, cores())


def _checked(count: int) -> int:
    try:
        number = index(count)
    except TypeError:
        raise ArgumentError(f"threads: expected a whole number, got {count!r}") from None
    if number < 1:
        raise ArgumentError(f"threads: expected at least 1, got {number}")
    return min(number, cores())

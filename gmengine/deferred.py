"""Checks of values that live on a GPU: at once, or all together at the end of a block.

To look at a value on a GPU is to wait for it. An op that refuses a value says so at once, as on the CPU, unless the
caller collects the checks of a block: then the GPU never waits for the host in between, and the first check that fails
raises at the end of the block.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from gmengine.backend import Array, to_device

Judge = Callable[[np.ndarray], None]

_here = threading.local()


def _pending() -> list[tuple[Array, Judge]] | None:
    return getattr(_here, "pending", None)


@contextmanager
def deferred_checks() -> Iterator[None]:
    """Let checks of values on a GPU wait until the end of the block; those on the CPU stay where they are.

    What is computed after a value that should have been refused is worthless, but is thrown away with the exception. In
    such a block an error names a component by its place among the flattened mixtures, ``[m, n]``. Blocks may be
    nested: the outermost one checks. If the block raises, the checks that wait come first: they may name the cause.

    Raises
    ------
    NonFiniteError, NotPositiveDefinite, ArgumentError
        At the end, whatever the first failing check would have raised.
    """
    if _pending() is not None:
        yield
        return
    _here.pending = []
    try:
        try:
            yield
        finally:
            waiting, _here.pending = _here.pending, None
            for values, judge in waiting:
                judge(to_device(values, "cpu"))
    finally:
        _here.pending = None


def check(values: Array, judge: Judge) -> None:
    """Call `judge`, which raises if it must, with `values` as a NumPy array: now, or at the end of the block.

    `judge` should hold no large array of the GPU: it would live as long as the block.
    """
    pending = _pending()
    on_cpu = type(values) is np.ndarray or isinstance(values, np.generic)
    if pending is None or on_cpu:
        judge(np.asarray(values) if on_cpu else to_device(values, "cpu"))
    else:
        pending.append((values, judge))

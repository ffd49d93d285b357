"""Checks of values that live on a GPU: at once, or all together later.

To look at a value on a GPU is to wait for it. An op that refuses a value says so at once, as on the CPU, unless the
caller collects the checks of a block: then the GPU never waits for the host in between, and the first check that fails
raises when they are settled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import numpy as np

from gmengine.backend import Array, to_device

Judge = Callable[[np.ndarray], None]

_here = threading.local()


class Checks:
    """The checks of one block that wait for their values."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Array, Judge]] = []
        self._arriving: list[tuple[Callable[[], np.ndarray], Judge]] = []

    def add(self, values: Array, judge: Judge) -> None:
        """Let one more wait."""
        self._waiting.append((values, judge))

    def fetch(self) -> None:
        """Start to copy the values to the host, behind what the GPU has been given so far, without waiting."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            start_copy = import_module("gmengine.cuda._transfer").start_copy
            self._arriving += [(start_copy(values), judge) for values, judge in waiting]

    def settle(self) -> None:
        """Wait for the values and call every judge, in the order of the calls of `check`; once.

        Raises
        ------
        NonFiniteError, NotPositiveDefinite, ArgumentError
            Whatever the first failing check would have raised.
        """
        self.fetch()
        arriving, self._arriving = self._arriving, []
        for values, judge in [(wait(), judge) for wait, judge in arriving]:
            judge(values)


@contextmanager
def collected_checks() -> Iterator[Checks]:
    """Let checks of values on a GPU wait until the caller settles them; those on the CPU stay where they are.

    What is computed after a value that should have been refused is worthless: settle before it is used. In such a block
    an error names a component by its place among the flattened mixtures, ``[m, n]``. If the block raises, its checks
    are settled first: they may name the cause.
    """
    outer, checks = getattr(_here, "checks", None), Checks()
    _here.checks = checks
    try:
        yield checks
    except Exception:
        checks.settle()
        raise
    finally:
        _here.checks = outer
    checks.fetch()


@contextmanager
def deferred_checks() -> Iterator[None]:
    """Let checks of values on a GPU wait until the end of the block; see `collected_checks`."""
    with collected_checks() as checks:
        yield
    checks.settle()


def check(values: Array, judge: Judge) -> None:
    """Call `judge`, which raises if it must, with `values` as a NumPy array: now, or when the block's are settled.

    `judge` should hold no large array of the GPU: it would live as long as the block.
    """
    checks = getattr(_here, "checks", None)
    if type(values) is np.ndarray or isinstance(values, np.generic):
        judge(np.asarray(values))
    elif checks is None:
        judge(to_device(values, "cpu"))
    else:
        checks.add(values, judge)

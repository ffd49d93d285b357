"""Where a training step's time goes: wraps the package's functions from outside, so that it holds no timing code."""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any

from gmengine.autograd import Primitive, Tape
from gmengine.cpu import _compile
from gmengine.nn import Network
from gmengine.training import loop

KERNELS = ("convolve", "relu", "tree_hem")
FORWARD, VJP = "forward", "vjp"


@dataclass(frozen=True)
class Key:
    """A row and a column of the table. A closed region's time is its own, whatever it calls."""

    row: str
    column: str
    closed: bool = False


class Stopwatch:
    """Seconds and calls of every key, each without those of the keys below it."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        self.calls: dict[tuple[str, str], int] = defaultdict(int)
        self._open: list[Key] = []
        self._inner: list[float] = []

    def timed(self, key: Key, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with its time counted under `key`."""

        @wraps(function, updated=())
        def run(*args: Any, **options: Any) -> Any:
            if self._open and self._open[-1].closed:
                return function(*args, **options)
            return self._measured(key, function, args, options)

        return run

    def within(self, share: Callable[..., Any]) -> Callable[..., Any]:
        """Return `share`, which runs a compiled function, counted as the loops of the key that calls it."""

        def run(*args: Any) -> Any:
            if not self._open or self._open[-1].closed:
                return share(*args)
            key = self._open[-1]
            return self._measured(Key(f"{key.row}: loops", key.column), share, args, {})

        return run

    def _measured(self, key: Key, function: Callable[..., Any], args: Any, options: Any) -> Any:
        self._open.append(key)
        self._inner.append(0.0)
        began = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            spent = time.perf_counter() - began
            self._open.pop()
            self.seconds[key.row, key.column] += spent - self._inner.pop()
            self.calls[key.row, key.column] += 1
            if self._inner:
                self._inner[-1] += spent


@contextmanager
def watching(watch: Stopwatch) -> Iterator[None]:
    """Wrap everything that the table tells apart, and put it back afterwards."""
    undo: list[tuple[Any, str, Any]] = []

    def wrap(owner: Any, name: str, key: Key | None) -> None:
        old = getattr(owner, name)
        undo.append((owner, name, old))
        setattr(owner, name, watch.within(old) if key is None else watch.timed(key, old))

    for primitive in [x for x in gc.get_objects() if isinstance(x, Primitive)]:
        of_array = primitive.forward.__module__.startswith("gmengine.autograd")
        row = "array functions" if of_array else primitive.name.removesuffix("_p")
        wrap(primitive, "forward", Key(row, FORWARD))
        wrap(primitive, "_vjp", Key(row, VJP))
    for name in KERNELS:
        module = import_module(f"gmengine.cpu.{name}")
        for function, column in (("forward", FORWARD), ("plan_and_forward", FORWARD), ("vjp", VJP)):
            if hasattr(module, function):
                wrap(module, function, Key(name, column))
    wrap(_compile, "share", None)
    wrap(Primitive, "__call__", Key("tape", FORWARD))
    wrap(Tape, "pull_back", Key("tape", VJP))
    wrap(Network, "apply", Key("network: checks, shapes, layers", FORWARD))
    wrap(loop.Adam, "update", Key("Adam", FORWARD, closed=True))
    for name in ("clip_by_global_norm", "_decayed"):
        wrap(loop, name, Key("clipping and weight decay", FORWARD, closed=True))
    wrap(loop, "batches", Key("data", FORWARD, closed=True))
    wrap(loop, "augmented", Key("data", FORWARD, closed=True))
    try:
        yield
    finally:
        for owner, name, old in reversed(undo):
            setattr(owner, name, old)

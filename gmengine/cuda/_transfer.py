"""Copies to the host that the GPU makes when it gets there, while the host goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

_in_flight: list[tuple[Any, Any]] = []
"""Events and the pinned memory that is theirs until they have happened, also if nobody waits for them."""


def start_copy(array: Any) -> Callable[[], np.ndarray]:
    """Start to copy a C-contiguous array into pinned memory; return what waits for it and returns it.

    The copy comes after all work that the current stream of the array's device has been given so far.
    """
    if array.size == 0:
        return lambda: np.empty(array.shape, array.dtype)
    with array.device:
        memory = cupy.cuda.alloc_pinned_memory(array.nbytes)
        target = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
        array.get(out=target, blocking=False)
        arrived = cupy.cuda.Event(disable_timing=True)
        arrived.record()
    _in_flight[:] = [(event, owned) for event, owned in _in_flight if not event.done]
    _in_flight.append((arrived, memory))

    def wait() -> np.ndarray:
        arrived.synchronize()
        return target.copy()  # pinned memory is scarce: it goes back with `target`

    return wait

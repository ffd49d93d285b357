"""Copies to the host that the GPU makes when it gets there, while the host goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

import cupy
import numpy as np

_lock = Lock()
_in_flight: deque[tuple[Any, Any]] = deque()
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
    with _lock:
        _in_flight.append((arrived, memory))
        while _in_flight and _in_flight[0][0].done:  # those of one stream happen in their order
            _in_flight.popleft()

    def wait() -> np.ndarray:
        arrived.synchronize()
        return target.copy()  # pinned memory is scarce: it goes back with `target`

    return wait

"""Copies to the host that the GPU makes when it gets there, while the host goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np


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

    def wait() -> np.ndarray:
        arrived.synchronize()
        return target.copy()  # pinned memory is scarce: it goes back with `target`

    return wait

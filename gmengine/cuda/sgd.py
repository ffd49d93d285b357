"""Updates of parameters by gradient descent, a kernel each, by CUDA."""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._faults import no_fault
from gmengine.cuda._launch import blocks_for, launch, on_device, ready

Arrays = tuple[Any, ...]


@on_device
def update(
    params: Arrays, grads: Arrays, velocity: Arrays, *, rate: float, momentum: float
) -> tuple[Arrays, Arrays, Any]:
    """Return new parameters and new velocities, none of them without momentum.

    The last result, (1,) int64, is the place of the first gradient that holds NaN or infinity; far beyond the last
    one if there is none.
    """
    fault = no_fault()
    moving = velocity if momentum else params  # without momentum never read
    new, faster = [], []
    for place, given in enumerate(zip(params, grads, moving, strict=True)):
        arrays = tuple(map(ready, given))
        shape, dtype, count = given[0].shape, given[0].dtype, arrays[0].size
        new.append(cupy.empty(shape, dtype))
        faster.append(cupy.empty(shape if momentum else 0, dtype))
        args = *arrays, new[-1], faster[-1], fault, place, count, rate, momentum
        launch("sgd", "sgd_update", blocks_for(count), args, dim=1, dtype=dtype)
    return tuple(new), tuple(faster) if momentum else (), fault

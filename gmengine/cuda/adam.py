"""Updates of parameters by Adam, a kernel each, by CUDA."""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._faults import no_fault
from gmengine.cuda._launch import blocks_for, launch, on_device, ready

Arrays = tuple[Any, ...]


@on_device
def update(
    params: Arrays,
    grads: Arrays,
    first: Arrays,
    second: Arrays,
    *,
    step: int,
    rate: float,
    betas: tuple[float, float],
    eps: float,
) -> tuple[Arrays, Arrays, Arrays, Any]:
    """Return new parameters, new first and new second moments after update number `step`, counted from 1.

    The last result, (1,) int64, is the place of the first gradient that holds NaN or infinity; far beyond the last
    one if there is none.
    """
    fault = no_fault()
    numbers = (rate, *betas, *(1.0 - beta**step for beta in betas), eps)
    results = []
    for place, given in enumerate(zip(params, grads, first, second, strict=True)):
        arrays = tuple(map(ready, given))
        out = tuple(cupy.empty(given[0].shape, given[0].dtype) for _ in range(3))
        args = *arrays, *out, fault, place, arrays[0].size, *map(float, numbers)
        blocks = blocks_for(arrays[0].size)
        launch("adam", "adam_update", blocks, args, dim=1, dtype=arrays[0].dtype)
        results.append(out)
    new = tuple(zip(*results, strict=True)) or ((), (), ())
    return new[0], new[1], new[2], fault

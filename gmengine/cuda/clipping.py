"""Bound the joint norm of gradients, by CUDA, without a look at it from the host."""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._faults import no_fault
from gmengine.cuda._launch import BLOCK, blocks_for, launch, on_device, ready

_EACH, _MOST = 8, 64  # numbers per thread that are worth a block, and blocks per gradient


@on_device
def clip(grads: tuple[Any, ...], max_norm: float) -> tuple[tuple[Any, ...], Any, Any]:
    """Return the gradients times ``min(1, max_norm / norm)``, and their joint norm, a 0-d float64 array.

    The last result, (1,) int64, is the place of the first gradient that holds NaN or infinity; far beyond the last
    one if there is none.
    """
    fault, norm, factor = no_fault(), cupy.empty((), cupy.float64), cupy.empty((), cupy.float64)
    shapes, grads = [g.shape for g in grads], tuple(map(ready, grads))
    shares = [min(_MOST, blocks_for(g.size, _EACH * BLOCK)) for g in grads]
    sums = cupy.empty((sum(shares), 3), cupy.float64)
    for place, (g, share) in enumerate(zip(grads, shares, strict=True)):
        args = g, sums, fault, place, g.size, sum(shares[:place])
        launch("clipping", "clipping_squares", share, args, dim=1, dtype=g.dtype)
    dtype = grads[0].dtype if grads else cupy.float64
    launch("clipping", "clipping_norm", 1, (sums, norm, factor, sum(shares), max_norm), dim=1, dtype=dtype)
    clipped = tuple(cupy.empty(shape, g.dtype) for shape, g in zip(shapes, grads, strict=True))
    for g, out in zip(grads, clipped, strict=True):
        launch(
            "clipping", "clipping_scale", blocks_for(g.size), (g, factor, out, g.size), dim=1, dtype=g.dtype
        )
    return clipped, norm, fault

"""Bound the size of an update."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gmengine.backend import Array, namespace
from gmengine.optim._checks import check_fault, check_finite, check_number
from gmengine.optim._device import cuda_house


def clip_by_global_norm(grads: Mapping[str, Array], max_norm: float) -> tuple[dict[str, Array], Any]:
    """Return the gradients, scaled down so that their joint norm is at most `max_norm`, and that norm.

    ``g * min(1, max_norm / norm)`` with ``norm = sqrt(sum over all entries of all g of g^2)`` before clipping
    (Pascanu et al., 2013, algorithm 1). Gradients that need no clipping are returned as they are.

    The norm is a float; that of gradients on a GPU is a 0-d float64 array there, for which nobody waits, and the
    gradients are always new arrays.

    Raises
    ------
    ArgumentError
        If `max_norm` is not a finite number > 0.
    NonFiniteError
        If a gradient holds NaN or infinity; names the parameter (on a GPU see `gmengine.deferred`).
    """
    check_number("clip_by_global_norm", "max_norm", max_norm, low=0.0, open_low=True)
    house = cuda_house("clipping", grads)
    if house is not None:
        clipped, length, fault = house.clip(tuple(grads.values()), float(max_norm))
        check_fault("clip_by_global_norm", grads, fault)
        return dict(zip(grads, clipped, strict=True)), length
    check_finite("clip_by_global_norm", grads)
    filled = [g for g in grads.values() if math.prod(g.shape)]
    # relative to the largest entry: squares of float32 gradients overflow from 1e19 and vanish below 1e-23
    largest = max((float(namespace(g).max(namespace(g).abs(g))) for g in filled), default=0.0)
    if largest == 0.0:
        return dict(grads), 0.0
    norm = largest * math.sqrt(sum(_sum_of_squares(g, largest) for g in filled))
    if norm <= max_norm:
        return dict(grads), norm
    factor = float(max_norm) / norm
    return {name: g * factor for name, g in grads.items()}, norm


def _sum_of_squares(g: Array, unit: float) -> float:
    xp = namespace(g)
    ratio = xp.astype(g, xp.float64) / unit
    return float(xp.sum(ratio * ratio))

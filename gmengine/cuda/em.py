"""One step of EM from the heaviest components by CUDA: the paper's MEM, in log space (paper eq. 15-16).

A plan is that of `gmengine.cpu.em`: either house can apply the other's.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from gmengine.cuda import _em_levels
from gmengine.cuda._em_faults import no_fault, raise_faults
from gmengine.cuda._launch import launch, on_device, ready

VIRTUAL_POINTS = 20.0


def list_by_sign(weights: Any, n: int, fault: Any) -> tuple[Any, Any]:
    """Return (order, ends) of weights (M, N); reports those that cannot be reduced to n components."""
    M, N = weights.shape
    order, ends = cupy.empty((M, N), cupy.int32), cupy.empty((M, 2), cupy.int32)
    args = weights, order, ends, fault, N, n
    launch("em", "em_list", M, args, dim=1, dtype=weights.dtype, block=_em_levels.threads_for(N))
    return order, ends


@on_device
def plan(weights: Any, n: int) -> tuple[Any, ...]:
    """Return the plan for `n` of the components of weights (M, N), which must be finite; 1 <= n < N."""
    weights, fault = ready(weights), no_fault()
    M, N = weights.shape
    order, ends = list_by_sign(weights, n, fault)
    left, chosen = cupy.empty((M, N), cupy.float64), cupy.empty((M, n), cupy.int32)
    parents, parent_ends = cupy.empty((M, n), cupy.int32), cupy.empty((M, 2), cupy.int32)
    args = weights, order, ends, left, chosen, parents, parent_ends, N, n, eps_of(weights)
    launch("em", "em_choose", M, args, dim=1, dtype=weights.dtype, block=_em_levels.threads_for(N))
    raise_faults(fault, N)
    return order, ends, parents, parent_ends


def eps_of(array: Any) -> float:
    """Return what ties are measured by: the distance from 1 to the next number of an array's dtype."""
    return float(np.finfo(array.dtype.name).eps)


@on_device
def forward(weights: Any, means: Any, covariances: Any, plan: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return ((weights, means, covariances) of the result, residuals) of mixtures (M, N) in K dimensions."""
    points = cupy.full(len(weights), VIRTUAL_POINTS, dtype=cupy.float64)
    no_masks = cupy.empty((*plan[2].shape, 0), cupy.uint64)
    return _em_levels.forward(weights, means, covariances, points, ((*plan, no_masks),))


@on_device
def vjp(
    residuals: Any, g_weights: Any, g_means: Any, g_covariances: Any, needs: tuple[bool, ...]
) -> tuple[Any, ...]:
    """Return the gradients of weights, means and covariances, with the plan held (None where not needed).

    The derivation is that of `gmengine.cpu.em.vjp`; here components and parents gather in a pass each, which compute
    the shares again.
    """
    return _em_levels.vjp(residuals, g_weights, g_means, g_covariances, needs)

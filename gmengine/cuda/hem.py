"""Hierarchical EM by CUDA: levels of EM, each to a third (Vasconcelos & Lippman; regularised as by Preiner et al.).

A plan is that of `gmengine.cpu.hem`: either house can apply the other's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cupy

from gmengine.cuda import _em_levels
from gmengine.cuda._em_faults import no_fault
from gmengine.cuda._launch import blocks_for, launch, on_device, ready
from gmengine.cuda.em import eps_of, list_by_sign

REDUCTION = 3
WORD = 64
_IN_SHARED = 4096  # keys that a block sorts in shared memory: 32 kB
_OF_MASKS = 256  # components of a block that writes masks


def level_sizes(N: int, n: int) -> list[int]:
    """Return how many components N become level by level: a third each time, rounded up, and `n` in the end."""
    sizes = [N]
    while sizes[-1] > n:
        sizes.append(max(n, -(-sizes[-1] // REDUCTION)))
    return sizes


@on_device
def plan_and_forward(weights: Any, means: Any, covariances: Any, n: int) -> tuple[Any, Any]:
    """Return ``(plan, values)``: the plan, and what `forward` would compute with it, in one pass.

    weights (M, N), means (M, N, K), covariances (M, N, K, K); 1 <= n < N. How many levels there are depends on the
    shapes alone, so that the GPU works through all of them without waiting for the host.
    """
    inputs, fault = tuple(map(ready, (weights, means, covariances))), no_fault()
    (_, N, K), dtype, eps = means.shape, weights.dtype, eps_of(weights)
    listing, ends = list_by_sign(inputs[0], n, fault)
    points = _virtual_points(ends)
    source, centres = _em_levels.load(inputs, listing, ends, fault)
    levels: list[tuple[Any, ...]] = []
    fits = []
    for P, size in pairwise(level_sizes(N, n)):
        level = _order_level(n, eps, source, None if levels else listing, ends, (P, size), K, dtype)
        prepared = _em_levels.prepare(n, source, level, K, dtype)
        _write_masks(n, eps, source, level, prepared[1], K, dtype)
        source = _em_levels.fit(n, source, points, level, prepared, K, dtype)
        levels.append(level)
        fits.append(source)
        ends = level[3]
    result = _em_levels.results(inputs, tuple(levels), source, centres, fault)
    return tuple(levels), (result, tuple(fits))


@on_device
def plan(weights: Any, means: Any, covariances: Any, n: int) -> tuple[tuple[Any, ...], ...]:
    """Return the plan: the integers that fix how `n` components come about."""
    return plan_and_forward(weights, means, covariances, n)[0]


@on_device
def forward(weights: Any, means: Any, covariances: Any, plan: Any, values: Any = None) -> tuple[Any, Any]:
    """Return ((weights, means, covariances) of the result, residuals): the inputs, the plan and the levels' fits."""
    return _em_levels.forward(weights, means, covariances, _virtual_points(plan[0][1]), plan, values)


@on_device
def vjp(
    residuals: Any, g_weights: Any, g_means: Any, g_covariances: Any, needs: tuple[bool, ...]
) -> tuple[Any, ...]:
    """Return the gradients of weights, means and covariances, with the plan held (None where not needed).

    Level by level from the last to the first, each is one step of EM, whose gradients `gmengine.cpu.em.vjp` derives.
    """
    return _em_levels.vjp(residuals, g_weights, g_means, g_covariances, needs)


def _virtual_points(ends: Any) -> Any:
    """Return one point for each component that is present, as in the original, which fits points."""
    return ready(ends[:, 1].astype(cupy.float64))


def _order_level(
    enough: int,
    eps: float,
    source: Any,
    listing: Any,
    before: Any,
    sizes: tuple[int, int],
    K: int,
    dtype: Any,
) -> tuple[Any, ...]:
    """Return a level's plan, its masks without a bit; without a listing its components are the first ones."""
    M, (P, n) = source.shape[0], sizes
    shapes = (M, P), (M, 2), (M, n), (M, 2)
    arrays = tuple(cupy.empty(shape, cupy.int32) for shape in shapes)
    padded, block = 1 << max(P - 1, 0).bit_length(), _em_levels.threads_for(P)
    length, shared = (0, 8 * padded) if padded <= _IN_SHARED else (padded, 0)
    keys, left = cupy.empty((M, length), cupy.uint64), cupy.empty((M, P), cupy.float64)
    names = arrays[0] if listing is None else listing
    args = source, names, before, keys, left, *arrays, P, n, length, listing is not None, enough, eps
    launch("hem", "hem_order", M, args, dim=K, dtype=dtype, block=block, shared=shared)
    return *arrays, cupy.zeros((M, n, blocks_for(P, WORD)), cupy.uint64)


def _write_masks(
    enough: int, eps: float, source: Any, level: tuple[Any, ...], models: Any, K: int, dtype: Any
) -> None:
    (M, P), (_, n, words) = level[0].shape, level[4].shape
    order, ends, _, parent_ends, masks = level
    args = source, order, ends, parent_ends, models, masks, P, n, words, enough, eps
    launch("hem", "hem_masks", M * (blocks_for(P, _OF_MASKS) + 1), args, dim=K, dtype=dtype)

"""TreeHEM by CUDA: fewer components by EM in the nodes of a Morton tree (paper section 4.1).

A plan is that of `gmengine.cpu.tree_hem`, on the device: either plan can drive either `forward`.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from gmengine.cuda._faults import no_fault
from gmengine.cuda._launch import launch, on_device, ready
from gmengine.cuda._tree_faults import raise_faults
from gmengine.cuda._tree_work import SHARED, Staging, chunks, row_length


@on_device
def plan_and_forward(
    weights: Any, means: Any, covariances: Any, n: int, per_node: int
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return ``(plan, outputs)``: the plan, and what `forward` would give with it, in one pass.

    weights (M, N), means (M, N, K), covariances (M, N, K, K); N >= 2, 1 <= n < N.
    """
    inputs = tuple(map(ready, (weights, means, covariances)))
    M, N = weights.shape
    plan = (
        cupy.empty((M, N), cupy.int32),
        cupy.empty((M,), cupy.int32),
        cupy.zeros((M, N - 1, 2), cupy.int32),
        cupy.zeros((M, N - 1), cupy.int32),
        cupy.empty((M, n), cupy.int32),
        cupy.empty((M, n + 1), cupy.int32),
        cupy.zeros((M, N - 1, 2 * per_node), cupy.uint8),
        cupy.zeros((M, N - 1, 2 * per_node), cupy.uint32),
    )
    fault = no_fault()
    _select(inputs, plan, per_node, fault)
    outputs = _fit("tree_hem_decide", inputs, plan)
    raise_faults(fault, N)
    return plan, outputs


def plan(weights: Any, means: Any, covariances: Any, n: int, per_node: int) -> tuple[Any, ...]:
    """Return the plan: the integers that fix how `n` components come about."""
    return plan_and_forward(weights, means, covariances, n, per_node)[0]


@on_device
def forward(
    weights: Any, means: Any, covariances: Any, plan: tuple[Any, ...], values: Any = None
) -> tuple[tuple[Any, ...], Any]:
    """Return ((weights, means, covariances) of the result, residuals); `values` are the result if known."""
    residuals = (weights, means, covariances, plan)
    if values is not None:
        return values, residuals
    inputs, plan = tuple(map(ready, residuals[:3])), tuple(map(ready, plan))
    (M, N, K), dtype, fault = means.shape, weights.dtype, no_fault()
    launch("_tree_plan", "tree_check", M, (*inputs, *plan[:2], fault, N), dim=K, dtype=dtype)
    outputs = _fit("tree_hem_forward", inputs, plan)
    raise_faults(fault, N)
    return outputs, residuals


@on_device
def vjp(residuals: Any, g_weights: Any, g_means: Any, g_covariances: Any, needs: tuple[bool, ...]) -> Any:
    """Return the gradients of weights, means and covariances, with the plan held (None where not needed).

    The derivation is that of `gmengine.cpu.tree_hem.vjp`. The nodes are fitted again bottom-up and kept; then every
    level, from the selected nodes down, turns the gradients of its outputs into those of its slots.
    """
    inputs, plan = tuple(map(ready, residuals[:3])), tuple(map(ready, residuals[3]))
    cotangents = tuple(map(ready, (g_weights, g_means, g_covariances)))
    (M, N, K), n, per_node, dtype = inputs[1].shape, plan[4].shape[1], plan[6].shape[2] // 2, inputs[0].dtype
    grads, row, staging = tuple(map(cupy.zeros_like, inputs)), row_length(K), Staging.of(K, per_node, True)
    for start, count in chunks(M, 8 * (N * (2 + per_node) * row + staging.numbers) + 12 * N):
        scratch = (
            cupy.empty((count, N, row), cupy.float64),
            cupy.empty((count, N - 1, per_node, row), cupy.float64),
            cupy.empty((count, N, row), cupy.float64),
            cupy.empty((count, N, 3), cupy.int32),
            staging.room(count),
        )
        args = *inputs, *plan, *scratch, *cotangents, *grads, start, N, n
        options = staging.options | {"per_node": per_node}
        launch("tree_hem", "tree_hem_vjp", count, args, dim=K, dtype=dtype, **options)
    return tuple(g if need else None for g, need in zip(grads, needs, strict=True))


def _select(inputs: tuple[Any, ...], plan: tuple[Any, ...], per_node: int, fault: Any) -> None:
    """Write what a plan decides before any EM."""
    (M, N, K), n, dtype = inputs[1].shape, plan[4].shape[1], inputs[0].dtype
    size = max(2, 1 << (N - 1).bit_length())  # of what is sorted
    in_shared = 8 * size <= SHARED
    for start, count in chunks(M, 8 * (2 * N + 2 * n + size)):
        scratch = (
            cupy.empty((1, 1) if in_shared else (count, size), cupy.uint64),
            cupy.empty((count, N, 2), cupy.int32),
            cupy.empty((count, n), cupy.int32),
            cupy.empty((count, N), cupy.float64),
            cupy.empty((count, n), cupy.float64),
        )
        eps = float(np.finfo(dtype).eps)
        args = *inputs, *plan[:6], *scratch, fault, start, N, n, size, per_node, in_shared, eps
        shared = 8 * size if in_shared else 0
        launch("_tree_plan", "tree_plan", count, args, dim=K, dtype=dtype, shared=shared)


def _fit(kernel: str, inputs: tuple[Any, ...], plan: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the result of a plan, `kernel` telling whether representatives and masks are part of it yet."""
    (M, N, K), n, per_node, dtype = inputs[1].shape, plan[4].shape[1], plan[6].shape[2] // 2, inputs[0].dtype
    outputs = tuple([cupy.empty((M, n, *shape), dtype) for shape in ((), (K,), (K, K))])
    row, staging, limits = row_length(K), Staging.of(K, per_node, False), np.finfo(dtype)
    for start, count in chunks(M, 8 * (N * row + staging.numbers) + 12 * N):
        scratch = (
            cupy.empty((count, N, row), cupy.float64),
            cupy.empty((count, N, 3), cupy.int32),
            staging.room(count),
        )
        args = *inputs, *plan, *scratch, *outputs, start, N, n, float(limits.eps), float(limits.tiny)
        launch("tree_hem", kernel, count, args, dim=K, dtype=dtype, per_node=per_node, **staging.options)
    return outputs

"""Values of mixtures at points by CUDA (paper eq. 1-2)."""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._faults import no_fault, raise_faults
from gmengine.cuda._launch import BLOCK, blocks_for, launch, on_device, ready
from gmengine.cuda._pairs import deal, n_moments, new_rows, points_per_thread


@on_device
def forward(weights: Any, means: Any, covariances: Any, points: Any) -> tuple[Any, Any]:
    """Evaluate mixtures (M, N) at their points (M, P, K); returns (values (M, P), residuals)."""
    inputs = tuple(map(ready, (weights, means, covariances, points)))
    (M, P, K), N, dtype = points.shape, weights.shape[1], weights.dtype
    fault = no_fault()
    rows, _ = _rows(inputs[0], inputs[1], inputs[2], fault)
    values = cupy.empty((M, P), dtype)
    each = points_per_thread(M, P, 4)
    blocks = M * blocks_for(P, each * BLOCK)
    launch(
        "evaluate", f"evaluate_forward_{each}", blocks, (rows, inputs[3], values, N, P), dim=K, dtype=dtype
    )
    raise_faults("evaluate", fault, N)
    return values, inputs


@on_device
def vjp(residuals: Any, g_values: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    """Return the gradients of weights, means, covariances and points, None where `needs` is False.

    The derivation is that of `gmengine.cpu.evaluate.vjp`; here points and components gather in a pass each, which
    recompute the exponentials.
    """
    weights, means, covariances, points = residuals
    (M, P, K), N, dtype = points.shape, weights.shape[1], weights.dtype
    g_values = ready(g_values)
    rows, peaks = _rows(weights, means, covariances, no_fault())
    grads: list[Any] = [None, None, None, None]
    args: tuple[Any, ...]
    if needs[3]:
        grads[3] = cupy.empty_like(points)
        args = rows, points, g_values, grads[3], N, P
        each = points_per_thread(M, P, 2)
        blocks = M * blocks_for(P, each * BLOCK)
        launch("evaluate", f"evaluate_vjp_points_{each}", blocks, args, dim=K, dtype=dtype)
    if any(needs[:3]):
        blocks, width, slices = deal(M, N, P)
        moments = cupy.empty((slices, M * N, n_moments(K, 1)), cupy.float64)
        grads[:3] = [cupy.empty_like(a) for a in (weights, means, covariances)]
        args = rows, points, g_values, moments, M, N, P, width, slices
        launch("evaluate", "evaluate_vjp_components", blocks, args, dim=K, dtype=dtype)
        args = weights, rows, peaks, moments, *grads[:3], M, N, slices
        launch("evaluate", "evaluate_finish", blocks_for(M * N), args, dim=K, dtype=dtype)
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _rows(weights: Any, means: Any, covariances: Any, fault: Any) -> tuple[Any, Any]:
    """Return the components as the pair loops read them, and their N(mu; mu, C)."""
    (M, N, K), dtype = means.shape, weights.dtype
    rows, peaks = new_rows(M, N, K, 1, dtype), cupy.empty((M, N), cupy.float64)
    args = weights, means, covariances, rows, peaks, fault, M, N
    launch("evaluate", "evaluate_prepare", blocks_for(M * N), args, dim=K, dtype=dtype)
    return rows, peaks

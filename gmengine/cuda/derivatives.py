"""Gradients and Hessians of mixtures with respect to the point, by CUDA."""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._faults import no_fault, raise_faults
from gmengine.cuda._launch import blocks_for, launch, on_device, ready
from gmengine.cuda._pairs import deal, n_moments, new_rows


@on_device
def forward(weights: Any, means: Any, covariances: Any, points: Any, *, order: int) -> tuple[Any, Any]:
    """Differentiate mixtures (M, N) at their points (M, P, K), `order` times, once or twice.

    Returns (gradients (M, P, K) or Hessians (M, P, K, K), residuals).
    """
    inputs = tuple(map(ready, (weights, means, covariances, points)))
    (M, P, K), N, dtype = points.shape, weights.shape[1], weights.dtype
    fault = no_fault()
    rows, _ = _rows(inputs[:3], order, fault)
    values = cupy.empty((M, P, *(K,) * order), dtype)
    args = rows, inputs[3], values, N, P
    launch("derivatives", f"derivatives_forward_{order}", M * blocks_for(P), args, dim=K, dtype=dtype)
    raise_faults("density_gradient" if order == 1 else "density_hessian", fault, N)
    return values, (*inputs, order)


@on_device
def vjp(residuals: Any, g_values: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    """Return the gradients of weights, means, covariances and points, None where `needs` is False.

    The derivation is that of `gmengine.cpu.derivatives.vjp`; here points and components gather in a pass each, which
    recompute the exponentials.
    """
    weights, means, covariances, points, order = residuals
    (M, P, K), N, dtype = points.shape, weights.shape[1], weights.dtype
    g_values = ready(g_values)
    rows, peaks = _rows((weights, means, covariances), order, no_fault())
    grads: list[Any] = [None, None, None, None]
    if needs[3]:
        grads[3] = cupy.empty_like(points)
        args = rows, points, g_values, grads[3], N, P
        launch("derivatives", f"derivatives_vjp_points_{order}", M * blocks_for(P), args, dim=K, dtype=dtype)
    if any(needs[:3]):
        blocks, width, slices = deal(M, N, P)
        sums = n_moments(K, 1) + (K * (K + 1) // 2 if order == 2 else 0)
        moments = cupy.empty((slices, M * N, sums), cupy.float64)
        grads[:3] = [cupy.empty_like(a) for a in (weights, means, covariances)]
        gathers: Any = rows, points, g_values, moments, M, N, P, width, slices
        launch("derivatives", f"derivatives_vjp_components_{order}", blocks, gathers, dim=K, dtype=dtype)
        finishes: Any = weights, rows, peaks, moments, *grads[:3], M, N, slices
        launch("derivatives", f"derivatives_finish_{order}", blocks_for(M * N), finishes, dim=K, dtype=dtype)
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _rows(mixture: Any, order: int, fault: Any) -> tuple[Any, Any]:
    """Return the components as the pair loops read them, and their N(mu; mu, C)."""
    (M, N, K), dtype = mixture[1].shape, mixture[0].dtype
    extra = 1 if order == 1 else 1 + K * (K + 1) // 2  # the amplitude, and the curvature at the mean
    rows, peaks = new_rows(M, N, K, extra, dtype), cupy.empty((M, N), cupy.float64)
    args = *mixture, rows, peaks, fault, M, N
    launch("derivatives", f"derivatives_prepare_{order}", blocks_for(M * N), args, dim=K, dtype=dtype)
    return rows, peaks

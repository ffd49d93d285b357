"""The dense fit of a rectified mixture by CUDA (paper section 4.2, with epsilons relative to the mixture)."""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._faults import no_fault, raise_faults
from gmengine.cuda._launch import BLOCK, blocks_for, launch, on_device, ready
from gmengine.cuda._pairs import deal, n_moments, new_points, new_rows, points_per_thread


@on_device
def forward(
    weights: Any, means: Any, covariances: Any, bias: Any, *, epsilons: tuple[float, ...], relative: bool
) -> tuple[Any, Any]:
    """Fit mixtures (M, N) in K dimensions after adding bias (M,).

    Returns (new weights (M, N), residuals); residuals are the inputs and the two evaluations (M, N).
    """
    inputs = tuple(map(ready, (weights, means, covariances, bias)))
    (M, N, K), dtype = means.shape, weights.dtype
    fault = no_fault()
    rows, _, coarse, scalars = _prepare(inputs, epsilons, relative, fault)
    out, v, u = (cupy.empty((M, N), dtype) for _ in range(3))
    each = points_per_thread(M, N, 4)
    args = rows, coarse, inputs[3], scalars, out, v, u, N
    launch("relu", f"relu_forward_{each}", M * blocks_for(N, each * BLOCK), args, dim=K, dtype=dtype)
    raise_faults("relu", fault, N)
    return out, (*inputs, v, u, epsilons, relative)


@on_device
def vjp(residuals: Any, g_out: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    """Return the gradients of weights, means, covariances and bias, None where `needs` is False.

    The derivation is that of `gmengine.cpu.relu.vjp`; here centres and components gather in a pass each, which
    recompute the exponentials.
    """
    *inputs, v, u, epsilons, relative = residuals
    weights, means, _, bias = inputs
    (M, N, K), dtype = means.shape, weights.dtype
    rows, peaks, coarse, scalars = _prepare(inputs, epsilons, relative, no_fault())
    points = new_points(M, N, K, 2, dtype)
    g_coarse, g_scalars = cupy.empty((M, N), cupy.float64), cupy.empty((M, 3), cupy.float64)
    args: tuple[Any, ...] = (
        weights,
        rows,
        coarse,
        bias,
        scalars,
        v,
        u,
        ready(g_out),
        points,
        g_coarse,
        g_scalars,
        N,
    )
    launch("relu", "relu_vjp_centres", M, args, dim=K, dtype=dtype)

    g_points = cupy.empty((M, N, K), cupy.float64)
    each = points_per_thread(M, N, 2)
    blocks = M * blocks_for(N, each * BLOCK)
    launch("relu", f"relu_vjp_points_{each}", blocks, (rows, points, g_points, N), dim=K, dtype=dtype)

    blocks, width, slices = deal(M, N, N)
    moments = cupy.empty((slices, M * N, n_moments(K, 2)), cupy.float64)
    args = rows, points, moments, M, N, width, slices
    launch("relu", "relu_vjp_components", blocks, args, dim=K, dtype=dtype)

    grads = tuple(cupy.empty_like(a) for a in inputs)
    args = weights, bias, rows, peaks, scalars, g_scalars, g_points, moments, g_coarse, *grads
    args = *args, M, N, slices, *epsilons, relative
    launch("relu", "relu_finish", M, args, dim=K, dtype=dtype)
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _prepare(inputs: Any, epsilons: tuple[float, ...], relative: bool, fault: Any) -> tuple[Any, ...]:
    """Return rows, N(mu; mu, C), coarse weights x0, and (number of components, e2, e3) of each mixture."""
    (M, N, K), dtype = inputs[1].shape, inputs[0].dtype
    rows = new_rows(M, N, K, 2, dtype)
    peaks, coarse, scalars = (cupy.empty(shape, cupy.float64) for shape in ((M, N), (M, N), (M, 3)))
    args = *inputs, rows, peaks, coarse, scalars, fault, N, *map(float, epsilons), relative
    launch("relu", "relu_prepare", M, args, dim=K, dtype=dtype)
    return rows, peaks, coarse, scalars

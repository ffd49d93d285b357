"""Keep the components of largest |weight|, by CUDA."""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._fields import lanes, threads
from gmengine.cuda._launch import blocks_for, launch, on_device, ready


@on_device
def plan(weights: Any, n: int) -> Any:
    """Return (M, n) indices of the heaviest components, heaviest first, ties by index; -1 for absent ones.

    weights (M, N); n <= N. It stays on the device.
    """
    weights = ready(weights)
    M, N = weights.shape
    indices = cupy.empty((M, n), cupy.int32)
    launch("top", "top_plan", M * blocks_for(N), (weights, indices, N, n), dim=1, dtype=weights.dtype)
    return indices


@on_device
def forward(weights: Any, means: Any, covariances: Any, indices: Any) -> tuple[Any, Any]:
    """Return ((weights, means, covariances) of the chosen components, residuals)."""
    inputs = tuple(map(ready, (weights, means, covariances)))
    indices = ready(cupy.asarray(indices))  # a plan made on the CPU serves too
    (M, n), (_, N, K), dtype = indices.shape, means.shape, weights.dtype
    out = tuple(cupy.empty((M, n, *(K,) * rank), dtype) for rank in range(3))
    args = *inputs, indices, *out, M * n, N, n
    launch("top", "top_forward", blocks_for(M * n, lanes(K)), args, dim=K, dtype=dtype, block=threads(K))
    return out, (*inputs, indices)


@on_device
def vjp(
    residuals: Any, g_weights: Any, g_means: Any, g_covariances: Any, needs: tuple[bool, ...]
) -> tuple[Any, ...]:
    """Return the gradients of weights, means and covariances (None where not needed).

    As `gmengine.cpu.top.vjp`: a kept component's gradient is its output's cotangent, that of a covariance symmetrised;
    all others are zero.
    """
    *inputs, indices = residuals
    (M, n), (_, N, K), dtype = indices.shape, inputs[1].shape, inputs[0].dtype
    grads = tuple(cupy.zeros(x.shape if need else 0, dtype) for x, need in zip(inputs, needs, strict=True))
    g = tuple(map(ready, (g_weights, g_means, g_covariances)))
    args = inputs[0], indices, *g, *grads, *needs, M * n, N, n
    launch("top", "top_vjp", blocks_for(M * n, lanes(K)), args, dim=K, dtype=dtype, block=threads(K))
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))

"""Convolution of mixtures by CUDA: weights multiply, means and covariances add (paper eq. 3-4)."""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._fields import entries, lanes, threads
from gmengine.cuda._launch import blocks_for, launch, on_device, ready
from gmengine.cuda._pairs import FULL

_PAIRS = 8  # of convolve.cu
_LEAST = 8  # kernel components that a slice should have: so much larger are the cotangents than its totals


@on_device
def forward(
    weights: Any,
    means: Any,
    covariances: Any,
    kernel_weights: Any,
    kernel_means: Any,
    kernel_covariances: Any,
) -> tuple[Any, Any]:
    """Convolve data (B, I, N) with kernels (O, I, M).

    Returns ((weights (B, O, I N M), means (..., K), covariances (..., K, K)), residuals).
    """
    data = tuple(map(ready, (weights, means, covariances)))
    kern = tuple(map(ready, (kernel_weights, kernel_means, kernel_covariances)))
    (B, I, N), (O, _, M), K = weights.shape, kernel_weights.shape, means.shape[-1]
    shape = (B, O, I * N * M)
    out = tuple(cupy.empty((*shape, *(K,) * rank), weights.dtype) for rank in range(3))
    tiles = blocks_for(I * N, lanes(K))
    slices = _slices(4 * FULL, B * tiles, O * M)
    blocks = B * tiles * slices if O * M else 0
    args = *data, *kern, *out, I, N, I * N, O * M, M, slices
    launch("convolve", "convolve_forward", blocks, args, dim=K, dtype=weights.dtype, block=threads(K))
    return out, (data[0], kern[0])


@on_device
def vjp(
    residuals: Any, g_weights: Any, g_means: Any, g_covariances: Any, needs: tuple[bool, ...]
) -> tuple[Any, ...]:
    """Return the gradients of the six inputs of `forward`, None where `needs` is False.

    The derivation is that of `gmengine.cpu.convolve.vjp`. Every cotangent is read once: what a block has read it adds
    up over kernel components for the data and over data components for the kernel.
    """
    w, kw = residuals
    (B, I, N), (O, _, M), K, dtype = w.shape, kw.shape, g_means.shape[-1], w.dtype
    of_data, of_kernel = any(needs[:3]), any(needs[3:])
    if not (of_data or of_kernel):
        return (None,) * 6
    g = tuple(map(ready, (g_weights, g_means, g_covariances)))
    tiles = max(1, blocks_for(B * N, _PAIRS * lanes(K)))
    slices = _slices(2 * FULL, I * tiles, O * M)
    data = _like(w, K, of_data)
    kern = _like(kw, K, of_kernel)
    of_slices = cupy.empty((slices, w.size * entries(K)) if of_data and slices > 1 else 0, cupy.float64)
    of_tiles = cupy.empty((tiles, kw.size * entries(K)) if of_kernel else 0, cupy.float64)
    args = w, kw, *g, *data, of_slices, of_tiles, B * N, I, N, O * M, M, tiles, slices, of_data, of_kernel
    launch("convolve", "convolve_vjp", I * tiles * slices, args, dim=K, dtype=dtype, block=threads(K))
    if of_data and slices > 1:
        _finish(of_slices, data, slices)
    if of_kernel:
        _finish(of_tiles, kern, tiles)
    return tuple(grad if need else None for grad, need in zip(data + kern, needs, strict=True))


def _slices(wanted: int, blocks: int, products: int) -> int:
    """Return into how many slices to cut the kernel components so that about `wanted` blocks come about."""
    return max(1, min(blocks_for(wanted, max(blocks, 1)), products // _LEAST))


def _like(weights: Any, K: int, wanted: bool) -> tuple[Any, ...]:
    """Return uninitialised weights, means and covariances of as many components, of none unless `wanted`."""
    shape = weights.shape if wanted else (0,)
    return tuple(cupy.empty((*shape, *(K,) * rank), weights.dtype) for rank in range(3))


def _finish(totals: Any, grads: tuple[Any, ...], parts: int) -> None:
    count, K = grads[0].size, grads[1].shape[-1]
    blocks = blocks_for(count * entries(K))
    launch("convolve", "convolve_finish", blocks, (totals, *grads, count, parts), dim=K, dtype=grads[0].dtype)

"""Values of mixtures on regular grids by CUDA, each tile of the grid drawing only the components that reach it."""

from __future__ import annotations

from math import prod
from typing import Any

import cupy
import numpy as np

from gmengine.cuda._faults import no_fault, raise_faults
from gmengine.cuda._launch import BLOCK, blocks_for, launch, on_device, ready
from gmengine.cuda._pairs import n_moments

# A component ends where it has fallen to 2^-CUTOFF of its peak, as on the CPU.
CUTOFF = {"float32": 30.0, "float64": 60.0}

LARGE = 1 << 18
"""Cells of a grid from which a thread takes 4 cells: its tiles are still enough to keep a large card busy."""

WARPS, QUANTUM = 1 << 18, 2048
"""Slices of components that a vjp may have in all (a constant: sums do not depend on the card), and cells of one."""


@on_device
def forward(
    weights: Any, means: Any, covariances: Any, *, shape: Any, low: Any, step: Any
) -> tuple[Any, Any]:
    """Evaluate mixtures (M, N) at the cell centres low + (i + 1/2) step; returns (values (M, *shape), residuals)."""
    inputs = tuple(map(ready, (weights, means, covariances)))
    (M, N, K), dtype = means.shape, weights.dtype
    values, fault = cupy.empty((M, *shape), dtype), no_fault()
    each, bits = _tiling(tuple(shape))
    tiles = [-(-n >> b) for n, b in zip(shape, bits, strict=True)]
    axes = _axes(shape, low, step, tiles, bits)
    cells, spans = _prepare(inputs, axes, fault)
    args = cells, spans, axes, values, N, prod(tiles), CUTOFF[dtype.name]
    launch("render", f"render_forward_{each}", M * prod(tiles), args, dim=K, dtype=dtype)
    raise_faults("render", fault, N)
    return values, (*inputs, axes)


@on_device
def vjp(residuals: Any, g_values: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    """Return the gradients of weights, means and covariances, None where `needs` is False.

    The derivation is that of `gmengine.cpu.render.vjp`: each component gathers its moments line by line.
    """
    *inputs, axes = residuals
    (M, N, K), dtype = inputs[1].shape, inputs[0].dtype
    grads = tuple(cupy.empty_like(a) for a in inputs)
    cells, _ = _prepare(inputs, axes, no_fault())
    slices = max(1, min(prod(g_values.shape[1:]) // QUANTUM, WARPS // max(M * N, 1)))
    moments = cupy.empty((slices, M * N, n_moments(K, 1)), cupy.float64)
    args = cells, axes, ready(g_values), moments, M, N, slices, CUTOFF[dtype.name]
    launch("render", "render_vjp", blocks_for(32 * M * N * slices), args, dim=K, dtype=dtype)
    args = *inputs, cells, moments, *grads, M, N, slices
    launch("render", "render_finish", blocks_for(M * N), args, dim=K, dtype=dtype)
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _prepare(inputs: Any, axes: Any, fault: Any) -> tuple[Any, Any]:
    """Return the components in units of cells, and the tiles that their boxes meet: ``Cell`` and ``Span``."""
    (M, N, K), dtype = inputs[1].shape, inputs[0].dtype
    size = 24 * K + dtype.itemsize * (K + K * (K + 1) // 2 + 2)
    cells = cupy.empty((M, N, -(-size // 16) * 2), cupy.float64)
    spans = cupy.empty((M, K, N, 2), cupy.int32)
    args = *inputs, axes, cells, spans, fault, M, N, CUTOFF[dtype.name]
    launch("render", "render_prepare", blocks_for(M * N), args, dim=K, dtype=dtype)
    return cells, spans


def _tiling(shape: tuple[int, ...]) -> tuple[int, list[int]]:
    """Return the cells per thread and the binary logarithms of a tile's sides.

    They depend on the grid alone, so that a mixture's values do not depend on its company. Tiles are compact, but
    somewhat longer along the last axis, whose cells lie side by side in memory, and no longer than the grid.
    """
    longest = [(n - 1).bit_length() for n in shape]
    each = 4 if prod(shape) >= LARGE and shape[-1] >= 16 else 1
    bits = [0] * len(shape)
    bits[-1] = min(4 if each == 4 else 3, longest[-1])
    for _ in range((each * BLOCK).bit_length() - 1 - bits[-1]):
        short = [k for k, b in enumerate(bits) if b < longest[k]]
        bits[min(short, key=lambda k: (bits[k], -k)) if short else -1] += 1
    return each, bits


def _axes(shape: Any, low: Any, step: Any, tiles: list[int], bits: list[int]) -> Any:
    """Return the grid as the kernels read it, an ``Axis`` for each axis. A small copy does not wait for the GPU."""
    axes = np.empty((len(shape), 6), np.int64)
    axes[:, :2] = np.array([low, step], np.float64).T.copy().view(np.int64)
    strides = [prod(shape[k + 1 :]) for k in range(len(shape))]
    axes[:, 2:] = np.array([shape, strides, tiles, bits], np.int64).T
    return cupy.asarray(axes)

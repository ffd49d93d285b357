"""From a mixture through one level or many of EM to fewer components by CUDA, and gradients back.

Plans, rows and fits are those of `gmengine.cpu._em_levels`, which says what they hold.
"""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._em_faults import no_fault, raise_faults
from gmengine.cuda._launch import BLOCK, blocks_for, launch, ready
from gmengine.cuda._pairs import FULL

_SLICE = 2 * BLOCK  # components of a slice, at least


def row_length(K: int) -> int:
    """Return how many numbers a component's row has: weight, mean and packed covariance."""
    return 1 + K + K * (K + 1) // 2


def threads_for(length: int) -> int:
    """Return how many threads a block has that takes a whole mixture."""
    return 512 if length > 2048 else BLOCK


def load(inputs: Any, order: Any, ends: Any, fault: Any) -> tuple[Any, Any]:
    """Return (rows (M, N, 1 + K + T), centres (M, K)), float64; only rows that `order` names are written."""
    weights, means, _ = inputs
    M, N, K = means.shape
    rows, centres = cupy.empty((M, N, row_length(K)), cupy.float64), cupy.empty((M, K), cupy.float64)
    args = *inputs, order, ends, rows, centres, fault, N
    launch("_em_levels", "em_load", M, args, dim=K, dtype=weights.dtype, block=threads_for(N))
    return rows, centres


def prepare(enough: int, source: Any, level: tuple[Any, ...], K: int, dtype: Any) -> tuple[Any, Any]:
    """Return the masses (M,) of a level's sources, and its parents as the passes over pairs read them."""
    (M, P), n = level[0].shape, level[2].shape[1]
    length = K + K * (K + 1) + 2
    masses, models = cupy.empty(M, cupy.float64), cupy.empty((M, n, length + length % 2), cupy.float64)
    args = source, *level[:4], masses, models, P, n, enough
    launch("_em_levels", "em_prepare", M, args, dim=K, dtype=dtype, block=threads_for(P))
    return masses, models


def slices_of(M: int, P: int, n: int) -> int:
    """Return into how many slices the components are cut that parents gather from."""
    return max(1, min(blocks_for(P, _SLICE), FULL // max(1, M * (blocks_for(n) + 1))))


def fit(
    enough: int,
    source: Any,
    points: Any,
    level: tuple[Any, ...],
    prepared: tuple[Any, Any],
    K: int,
    dtype: Any,
) -> Any:
    """Return the rows (M, n, 1 + K + T) of a level's result; a source of up to `enough` rows passes through.

    points (M,): how many virtual points the mass of a source stands for.
    """
    (M, P), n, words = level[0].shape, level[2].shape[1], level[4].shape[2]
    order, ends, parents, parent_ends, masks = level
    masses, models = prepared
    norms, slices = cupy.empty((M, P, 3), cupy.float64), slices_of(M, P, n)
    args: Any = source, order, ends, parent_ends, masks, masses, points, models, norms, P, n, words, enough
    launch("_em_levels", "em_normalise", M * (blocks_for(P) + 1), args, dim=K, dtype=dtype)
    parts, fitted = (cupy.empty((*lead, M, n, row_length(K)), cupy.float64) for lead in ((slices,), ()))
    args = source, order, ends, parent_ends, masks, norms, models, parts, M, P, n, words, slices, enough
    launch("_em_levels", "em_moments", M * (blocks_for(n) + 1) * slices, args, dim=K, dtype=dtype)
    args = source, order, ends, parents, parent_ends, parts, fitted, M, P, n, slices, enough
    launch("_em_levels", "em_fit", blocks_for(M * n), args, dim=K, dtype=dtype)
    return fitted


def results(inputs: Any, levels: tuple[Any, ...], fitted: Any, centres: Any, fault: Any) -> tuple[Any, ...]:
    """Return weights (M, n), means and covariances that the last level's rows stand for; raise what has gone wrong."""
    weights, means, _ = inputs
    (M, N, K), n, dtype = means.shape, fitted.shape[1], weights.dtype
    outputs = tuple(cupy.empty(shape, dtype) for shape in ((M, n), (M, n, K), (M, n, K, K)))
    args = *inputs, fitted, levels[0][1], levels[-1][3], centres, *outputs, fault, N, n
    launch("_em_levels", "em_results", M, args, dim=K, dtype=dtype, block=threads_for(N))
    raise_faults(fault, N)
    return outputs


def forward(
    weights: Any, means: Any, covariances: Any, points: Any, levels: tuple[Any, ...], values: Any = None
) -> tuple[Any, Any]:
    """Return ((weights, means, covariances) of the result, residuals): inputs, points, levels and their fits.

    points (M,): how many virtual points the mass of a mixture stands for, on every level; values: (result, fits) if
    planning has found them already.
    """
    inputs = tuple(map(ready, (weights, means, covariances)))
    levels = tuple(tuple(map(ready, level)) for level in levels)
    if values is None:
        n, K, dtype, fault = levels[-1][2].shape[1], means.shape[2], weights.dtype, no_fault()
        rows, centres = load(inputs, levels[0][0], levels[0][1], fault)
        fits = []
        for level in levels:
            rows = fit(n, rows, points, level, prepare(n, rows, level, K, dtype), K, dtype)
            fits.append(rows)
        values = results(inputs, levels, rows, centres, fault), tuple(fits)
    return values[0], (*inputs, points, levels, values[1])


def vjp(
    residuals: Any, g_weights: Any, g_means: Any, g_covariances: Any, needs: tuple[bool, ...]
) -> tuple[Any, ...]:
    """Return the gradients of weights, means and covariances with the plan held (derivation: `gmengine.cpu.em.vjp`)."""
    *inputs, points, levels, fits = residuals
    (M, n), (_, N, K), dtype = levels[-1][2].shape, inputs[1].shape, inputs[0].dtype
    cotangents = tuple(map(ready, (g_weights, g_means, g_covariances)))
    sources, _ = load(inputs, levels[0][0], levels[0][1], no_fault())
    g_rows = cupy.empty((M, n, row_length(K)), cupy.float64)
    args: Any = fits[-1], levels[-1][3], *cotangents, g_rows, M, n
    launch("_em_levels_vjp", "em_vjp_rows", blocks_for(M * n), args, dim=K, dtype=dtype)
    for level, source, fitted in zip(levels[::-1], (sources, *fits)[-2::-1], fits[::-1], strict=True):
        g_rows = _pull(n, source, points, level, fitted, g_rows, K, dtype)
    grads = tuple(cupy.empty_like(a) for a in inputs)
    args = inputs[0], levels[0][1], g_rows, *cotangents, *grads, N, n
    launch("_em_levels_vjp", "em_vjp_gradients", M, args, dim=K, dtype=dtype, block=threads_for(N))
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _pull(
    enough: int,
    source: Any,
    points: Any,
    level: tuple[Any, ...],
    fitted: Any,
    g_fitted: Any,
    K: int,
    dtype: Any,
) -> Any:
    """Return the gradients of a level's source from those of what it fitted."""
    (M, P), n, words = level[0].shape, level[2].shape[1], level[4].shape[2]
    order, ends, parents, parent_ends, masks = level
    masses, models = prepare(enough, source, level, K, dtype)
    length, slices = models.shape[2] + row_length(K) + K, slices_of(M, P, n)
    slopes = cupy.empty((M, n, length + length % 2), cupy.float64)
    args: Any = models, ends, parent_ends, fitted, g_fitted, slopes, M, n, enough
    launch("_em_levels_vjp", "em_vjp_outputs", blocks_for(M * n), args, dim=K, dtype=dtype)

    norms, shared = cupy.empty((M, P, 4), cupy.float64), cupy.empty((M, P), cupy.float64)
    g_source = cupy.zeros(source.shape, cupy.float64)
    args = source, order, ends, parent_ends, masks, masses, points, slopes, norms, g_source, shared
    blocks, args = M * (blocks_for(P) + 1), (*args, P, n, words, enough)
    launch("_em_levels_vjp", "em_vjp_components", blocks, args, dim=K, dtype=dtype)

    sums = cupy.empty((slices, M, n, row_length(K) + 1), cupy.float64)
    args = source, order, ends, parent_ends, masks, norms, slopes, sums, M, P, n, words, slices, enough
    launch("_em_levels_vjp", "em_vjp_parents", M * (blocks_for(n) + 1) * slices, args, dim=K, dtype=dtype)
    args = source, order, ends, parents, parent_ends, masses, slopes, shared, sums, g_fitted, g_source
    args = *args, M, P, n, slices, enough
    launch("_em_levels_vjp", "em_vjp_finish", M, args, dim=K, dtype=dtype, block=threads_for(P))
    return g_source

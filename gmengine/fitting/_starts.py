"""Where the iterations of a fit start: clusters, or components drawn from the set's own normal distribution."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.fitting._frame import Moments
from gmengine.fitting._sets import Piece

INITS = ("kmeans++", "furthest")
ROUNDS = 300

Draw = Callable[[tuple[int, ...]], np.ndarray]
"""Returns uniform random numbers in [0, 1) of a shape, such as `Generator.random`."""


def clusters(
    piece: Piece, n: int, draw: Draw, init: str = "kmeans++", rounds: int = ROUNDS
) -> tuple[Moments, Array]:
    """Return the clusters' moments in the frame, and the labels; `draw` is called for numbers set after set."""
    far = init == "furthest"
    uniforms = np.empty((len(piece), n, 0)) if far else draw((len(piece), n, 2 + int(log(n))))
    *moments, labels = piece.clusters(uniforms, rounds, far)
    return (moments[0], moments[1], moments[2]), labels


def random(piece: Piece, n: int, rng: np.random.Generator) -> Moments:
    """Return n components, in the frame, of equal weight, the set's covariance, and means drawn from its normal.

    No more than there are points of positive mass. This is "randnormpos" of the paper's authors.
    """
    xp = namespace(piece.points)
    size, dim = len(piece), piece.dim
    (_, mean, covariance), _ = clusters(piece, 1, rng.random, "furthest", rounds=1)
    z = xp.asarray(rng.standard_normal((size, n, dim)))
    scale = piece.frames[:, -3]
    factor = _cholesky(covariance[:, 0], piece.floors / scale / scale)
    means = mean + xp.sum(factor[:, None] * z[:, :, None, :], axis=-1)
    running = xp.cumulative_sum(xp.astype(piece.masses > 0, xp.int64), include_initial=True)
    points = running[piece.offsets[1:]] - running[piece.offsets[:-1]]
    number = xp.minimum(points, xp.asarray(n))[:, None]
    present = xp.arange(n)[None] < number
    weights = xp.where(present, 1.0 / xp.astype(xp.maximum(number, xp.asarray(1)), xp.float64), 0.0)
    full = xp.broadcast_to(covariance, (size, n, dim, dim))
    return weights, xp.where(present[..., None], means, 0.0), xp.where(present[..., None, None], full, 0.0)


def _cholesky(covariance: Array, floor: Array) -> Array:
    """Return the lower Cholesky factors (S, K, K) of covariance + floor I, column by column.

    A loop over the few dimensions, because no library's routine takes whole batches on the CPU and the GPU
    without waiting. Rounding may lose a pivot that is small beside the others, but never the floor.
    """
    xp = namespace(covariance)
    dim = covariance.shape[-1]
    columns: list[Array] = []
    for m in range(dim):
        column = covariance[:, :, m]
        for earlier in columns:
            column = column - earlier * earlier[:, m : m + 1]
        pivot = xp.sqrt(xp.maximum(column[:, m] + floor, floor))
        below = xp.asarray(np.arange(dim) > m)
        column = xp.where(below, column / pivot[:, None], 0.0)
        columns.append(xp.where(xp.asarray(np.arange(dim) == m), pivot[:, None], column))
    return xp.stack(columns, axis=-1)

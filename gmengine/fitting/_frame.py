"""In and out of the frames in which the kernels of the fits stand: array functions, of NumPy or CuPy.

A frame is a row [centre (K), scale, longest side, total mass] (`fit_em.frames`). In it a sample lies in a box of
side at most 1 around 0, the weights of its mixture are shares of the mass, and covariances lack the floor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.backend import Array, namespace

Moments = tuple[Array, Array, Array]
"""Weights (S, N), means (S, N, K) and covariances (S, N, K, K)."""


def parts(frames: Array) -> tuple[Array, Array, Array, Array]:
    """Return centre (S, K), scale (S,), longest side (S,) and total mass (S,)."""
    return frames[:, :-3], frames[:, -3], frames[:, -2], frames[:, -1]


def leave(frames: Array, floors: Array, weights: Array, means: Array, covariances: Array) -> Moments:
    """Return the mixtures in the caller's units; absent components get mean 0 and covariance I."""
    xp = namespace(weights)
    centre, scale, _, total = parts(frames)
    eye = _eye(xp, frames)
    present = weights > 0
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by `to_mixture`
        wide = covariances * scale[:, None, None, None] * scale[:, None, None, None]
        wide = wide + eye * floors[:, None, None, None]
        moved = means * scale[:, None, None] + centre[:, None]
        return (
            xp.where(present, weights * total[:, None], 0.0),
            xp.where(present[..., None], moved, 0.0),
            xp.where(present[..., None, None], wide, eye),
        )


def enter(frames: Array, floors: Array, weights: Array, means: Array, covariances: Array) -> Moments:
    """Return the mixtures in the frame, the inverse of `leave`; absent components become zeros."""
    xp = namespace(weights)
    centre, scale, _, _ = parts(frames)
    present = weights > 0
    total = xp.sum(xp.where(present, weights, 0.0), axis=-1)
    own = (
        xp.where(present[..., None, None], covariances, 0.0) - _eye(xp, frames) * floors[:, None, None, None]
    )
    moved = (xp.where(present[..., None], means, 0.0) - centre[:, None]) / scale[:, None, None]
    narrow = own / scale[:, None, None, None] / scale[:, None, None, None]
    return (
        xp.where(present, weights / xp.where(total > 0, total, 1.0)[:, None], 0.0),
        xp.where(present[..., None], moved, 0.0),
        xp.where(present[..., None, None], narrow, 0.0),
    )


def _eye(xp: Any, like: Array) -> Array:
    return xp.asarray(np.eye(like.shape[1] - 3))

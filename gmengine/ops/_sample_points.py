"""Where a least-squares fit samples its target."""

from __future__ import annotations

from math import prod
from operator import index
from typing import Any

import numpy as np

from gmengine.autograd import Tensor
from gmengine.backend import Array, float_dtype, namespace, to_device
from gmengine.errors import ArgumentError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture

CHOICES = {"means": 0, "means+random": 1, "random": 4}
"""Choices by name -> how many random points there are by default, in units of N."""


def box_points(m: Mixture, n: int, rng: int | np.random.Generator | None = 0) -> Array:
    """Return n random points for each mixture, uniform in the box of its components.

    The box reaches from the least mu_i - sigma_i to the largest mu_i + sigma_i, axis by axis, where sigma_i is the
    square root of the diagonal of C_i, over the components present; it is the origin if there are none.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        Only its values count.
    n : int
    rng : int, Generator or None
        Draws in float64 on the host, so that the points do not depend on dtype or device.

    Returns
    -------
    float64 array, shape (*batch, n, K)
    """
    m = m.values()
    xp = namespace(m.weights)
    unit = np.random.default_rng(rng).random((*m.batch, n, m.dim))
    if m.n_components == 0:
        return xp.zeros(unit.shape, dtype=xp.float64)
    present = (m.weights != 0)[..., None]
    means = xp.astype(m.means, xp.float64)
    variances = xp.astype(xp.linalg.diagonal(m.covariances), xp.float64)
    sigma = xp.sqrt(xp.where(present, variances, 0.0))
    low = xp.min(xp.where(present, means - sigma, xp.inf), axis=-2, keepdims=True)
    high = xp.max(xp.where(present, means + sigma, -xp.inf), axis=-2, keepdims=True)
    some = xp.any(present, axis=-2, keepdims=True)
    low, high = xp.where(some, low, 0.0), xp.where(some, high, 0.0)
    return low + (high - low) * to_device(unit, m.device)


def constant_points(m: Mixture, points: Any, n_random: int | None, rng: Any) -> Array:
    """Return the sample points that are no means, float64 (M, R, K)."""
    if isinstance(points, str):
        count = _count(m, points, n_random)
        return namespace(found := box_points(m, count, rng)).reshape(found, (prod(m.batch), count, m.dim))
    if isinstance(points, Tensor) or not hasattr(points, "shape"):
        raise ArgumentError(
            f"relu_lstsq: expected points of {tuple(CHOICES)} or a plain array, got {type(points).__name__}"
        )
    if n_random is not None:
        raise ArgumentError("relu_lstsq: n_random has no meaning beside an array of points")
    shape = tuple(points.shape)
    xp = namespace(m.values().weights, points)
    float_dtype("relu_lstsq", mixture=m.weights, points=points)
    if len(shape) < 2 or shape[-1] != m.dim or len(shape) - 2 > len(m.batch):
        raise ShapeError(f"relu_lstsq: expected points (*batch, P, {m.dim}), got {shape}")
    if not bool(xp.all(xp.isfinite(points))):
        raise NonFiniteError("relu_lstsq: the points hold NaN or infinity")
    try:
        everywhere = xp.broadcast_to(xp.astype(points, xp.float64), (*m.batch, *shape[-2:]))
    except ValueError:
        raise ShapeError(
            f"relu_lstsq: the mixture's batch {m.batch} and the points' {shape[:-2]} do not broadcast"
        ) from None
    return xp.reshape(everywhere, (prod(m.batch), *shape[-2:]))


def _count(m: Mixture, points: str, n_random: int | None) -> int:
    """Return the number of random points."""
    if points not in CHOICES:
        raise ArgumentError(f"relu_lstsq: expected points of {tuple(CHOICES)} or an array, got {points!r}")
    if n_random is None:
        return CHOICES[points] * m.n_components
    try:
        count = index(n_random)
    except TypeError:
        raise ArgumentError(f"relu_lstsq: expected n_random to be an integer, got {n_random!r}") from None
    least = 1 if points == "random" else 0
    if count < least or (points == "means" and count > 0):
        wanted = "no random points" if points == "means" else f"n_random >= {least}"
        raise ArgumentError(f"relu_lstsq: expected {wanted} for points={points!r}, got n_random={count}")
    return count

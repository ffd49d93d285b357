"""Integral, mean and covariance of whole mixtures."""

from __future__ import annotations

from typing import Any, NamedTuple

from gmengine._components import symmetric
from gmengine.autograd import arrays, value_of
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture
from gmengine.ops._checks import first_false
from gmengine.ops._gaussians import blanked
from gmengine.ops._points import rounding_of_integral


class Moments(NamedTuple):
    """What `moments` returns."""

    integral: Any
    """Shape (*batch)."""
    mean: Any
    """Shape (*batch, K)."""
    covariance: Any
    """Shape (*batch, K, K)."""


def moments(m: Mixture) -> Moments:
    """Return the integral W of each mixture, and the mean and covariance of f / W.

    The mean is m = sum_i w_i mu_i / W, the covariance sum_i w_i (C_i + (mu_i - m)(mu_i - m)^T) / W: within plus
    between components. Both are computed around the centre of the means, so that nothing is lost far from the
    origin. For a density they are those of a random point; with negative weights they are the same quotients of
    integrals, and the covariance need not be positive definite.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        In any units. Differentiable.

    Returns
    -------
    Moments(integral, mean, covariance), of shapes (*batch), (*batch, K) and (*batch, K, K)

    Raises
    ------
    ArgumentError
        If the integral of a mixture is 0 up to the rounding of its sum, N eps sum_i |w_i|; names it.
    """
    m = blanked(m)
    integral = arrays.sum(m.weights, axis=-1)
    value = value_of(integral)
    bad = first_false(namespace(value).abs(value) > rounding_of_integral(m))
    if bad is not None:
        raise ArgumentError(f"moments: the integral of mixture {list(bad)} is 0 ({float(value[bad]):.3g})")
    centre = _centre(m)
    shares = arrays.expand_dims(arrays.divide(m.weights, arrays.expand_dims(integral, -1)), -1)  # (*, N, 1)
    offsets = arrays.subtract(m.means, centre)
    offset = arrays.sum(arrays.multiply(shares, offsets), axis=-2, keepdims=True)
    deviations = arrays.subtract(offsets, offset)
    weighted = arrays.multiply(shares, deviations)
    between = arrays.matmul(arrays.matrix_transpose(weighted), deviations)
    within = arrays.sum(arrays.multiply(arrays.expand_dims(shares, -1), m.covariances), axis=-3)
    mean = arrays.add(offset, centre)[..., 0, :]
    return Moments(integral, mean, symmetric(arrays.add(within, between)))


def _centre(m: Mixture) -> Array:
    """Return the average of the present means, shape (*batch, 1, K): a constant, since no moment depends on it."""
    weights, means = value_of(m.weights), value_of(m.means)
    xp = namespace(weights)
    counted = xp.astype(weights != 0, weights.dtype)
    count = xp.maximum(xp.sum(counted, axis=-1), 1.0)
    total = xp.sum(means * xp.expand_dims(counted, axis=-1), axis=-2, keepdims=True)
    return total / count[..., None, None]

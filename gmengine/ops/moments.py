"""Integral, mean and covariance of whole mixtures."""

from __future__ import annotations

from typing import Any, NamedTuple

from gmengine._components import symmetric
from gmengine.autograd import arrays, value_of
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture
from gmengine.ops._checks import first_false
from gmengine.ops._gaussians import blanked, factorised
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
    between components. Both are computed around the mean that |w_i| gives, so that nothing is lost far from the
    origin, nor to a component of negligible weight far from the others. For a density they are those of a random
    point; with negative weights they are the same quotients of integrals, and the covariance need not be positive
    definite.

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
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it.
    """
    factorised("moments", m.values())  # of the values alone: it only says what is no Gaussian
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
    """Return sum_i |w_i| mu_i / sum_i |w_i|, shape (*batch, 1, K): a constant, since no moment depends on it.

    The weights are divided by their largest and then by their sum, so that neither they nor the means under- or
    overflow on the way.
    """
    weights, means = value_of(m.weights), value_of(m.means)
    if not m.n_components:  # of an empty batch, or the integral would have been 0
        return namespace(weights).zeros((*m.batch, 1, m.dim), dtype=m.dtype)
    xp = namespace(weights)
    sizes = xp.abs(weights)
    sizes = sizes / xp.max(sizes, axis=-1, keepdims=True)
    shares = sizes / xp.sum(sizes, axis=-1, keepdims=True)
    return xp.sum(xp.expand_dims(shares, axis=-1) * means, axis=-2, keepdims=True)

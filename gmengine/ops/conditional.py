"""Restrict mixtures to given values of some coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from numbers import Real
from typing import Any

import numpy as np

from gmengine._components import symmetric
from gmengine.autograd import Tensor, arrays, value_of
from gmengine.backend import Array, float_dtype, namespace
from gmengine.errors import ArgumentError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._checks import first_false
from gmengine.ops._gaussians import blanked, factorised, log_normals, log_weights, whitened
from gmengine.ops._points import spatial_axes
from gmengine.ops.affine import marginal


def conditional(
    m: Mixture, axes: int | Sequence[int], values: Array | float, normalised: bool = True
) -> Mixture:
    """Return each mixture as a function of the other coordinates, while the coordinates `axes` equal `values`.

    With b the coordinates `axes`, v their values, and a the others in ascending order, component i becomes

        w_i N(v; mu_b, C_bb) N(x_a; mu_a + C_ab C_bb^-1 (v - mu_b), C_aa - C_ab C_bb^-1 C_ba)

    (Petersen and Pedersen, The Matrix Cookbook, 8.1.3). The Cholesky factor of the covariance with the coordinates
    in the order b, a, of blocks L_bb, L_ab and L_aa, gives z = L_bb^-1 (v - mu_b), the mean mu_a + L_ab z and the
    covariance L_aa L_aa^T, which stays positive definite in float32.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
    axes : int or sequence of int
        Between 1 and K - 1 distinct coordinates; negative ones count from the end.
    values : array, shape (*batch', len(axes)), or list; a number, also as an array without axes, for one coordinate
        In the units of the means; `batch'` broadcasts with `batch`. Gradients flow through it.
    normalised : bool
        True: divided by the integral, so that a density becomes the conditional density. Computed in logarithms,
        so that values far from every component do not underflow. False: the slice f(x_a, v) itself.

    Returns
    -------
    Mixture, (K - len(axes))-dimensional, of the batch shape that both broadcast to
        A component whose weight underflows to 0 is absent.

    Raises
    ------
    ArgumentError
        If `axes` are not such coordinates; if `normalised` and the slice of a mixture has no positive integral (up
        to the rounding of its sum, N eps sum_i |w_i|), as it may have with negative weights or without components.
    ShapeError, DTypeError, NonFiniteError
        If `values` do not fit, or hold NaN or infinity.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it.
    """
    given = spatial_axes("conditional", axes, m.dim, most=m.dim - 1)
    values, batch = _checked_values(m, values, len(given))
    order = (*given, *(a for a in range(m.dim) if a not in given))
    m, factors = factorised("conditional", marginal(m, order))
    k = len(given)
    observed, observed_factors = m.means[..., :k], factors[..., :k, :k]
    point = arrays.expand_dims(values, -2)
    z = whitened(point, observed, observed_factors)  # (*batch, N, 1, k)
    log_densities = log_normals(point, observed, observed_factors)[..., 0, :]
    means = arrays.add(m.means[..., k:], arrays.sum(arrays.multiply(factors[..., k:, :k], z), axis=-1))
    trailing = factors[..., k:, k:]
    covariances = symmetric(arrays.matmul(trailing, arrays.matrix_transpose(trailing)))
    weights = (
        _normalised(m, log_densities) if normalised else arrays.multiply(m.weights, arrays.exp(log_densities))
    )
    shape = (*batch, m.n_components, m.dim - k)
    return blanked(Mixture(weights, means, arrays.broadcast_to(covariances, (*shape, m.dim - k))))


def _normalised(m: Mixture, log_densities: Any) -> Any:
    """Return w_i p_i / sum_j w_j p_j, where all are divided by the largest magnitude beforehand."""
    if not m.n_components:
        if not prod(log_densities.shape[:-1]):
            return log_densities
        raise ArgumentError("conditional: a mixture without components cannot be normalised")
    logs = arrays.add(log_weights(m), log_densities)
    value = value_of(logs)
    xp = namespace(value)
    largest = xp.max(value, axis=-1, keepdims=True)  # a constant: the quotient does not depend on it
    terms = arrays.exp(arrays.subtract(logs, xp.where(xp.isfinite(largest), largest, 0.0)))
    signed = arrays.multiply(terms, xp.sign(value_of(m.weights)))
    total = arrays.sum(signed, axis=-1, keepdims=True)
    rounding = m.n_components * float(xp.finfo(value.dtype).eps)
    size = xp.sum(xp.abs(value_of(signed)), axis=-1)
    bad = first_false(value_of(total)[..., 0] > rounding * size)
    if bad is not None:
        part = float(value_of(total)[bad][0]) / float(size[bad]) if float(size[bad]) else 0.0
        raise ArgumentError(
            f"conditional: the slice of mixture {list(bad)} has no positive integral to divide by: it is {part:.3g} "
            "times the sum of its components' magnitudes"
        )
    return arrays.divide(signed, total)


def _checked_values(m: Mixture, values: Any, k: int) -> tuple[Any, tuple[int, ...]]:
    """Return the values (*batch', k) as an array or Tensor, and the common batch shape."""
    if isinstance(values, Real) or (not isinstance(values, Tensor) and getattr(values, "shape", None) == ()):
        values = [float(values)]
    if isinstance(values, list | tuple):
        values = namespace(value_of(m.weights)).asarray(values, dtype=m.dtype)
    elif isinstance(values, Tensor) and not values.shape:
        values = arrays.reshape(values, (1,))
    value = value_of(values)
    xp = namespace(value_of(m.weights), value)
    float_dtype("conditional", mixture=m.weights, values=value)
    shape = tuple(value.shape)
    if shape[-1:] != (k,):
        raise ShapeError(f"conditional: expected one value for each of {k} axes, got shape {shape}")
    if not bool(xp.all(xp.isfinite(value))):
        raise NonFiniteError("conditional: the values hold NaN or infinity")
    try:
        return values, tuple(np.broadcast_shapes(m.batch, shape[:-1]))
    except ValueError:
        raise ShapeError(
            f"conditional: the mixture's batch {m.batch} and the values' {shape[:-1]} do not broadcast"
        ) from None

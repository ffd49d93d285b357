"""Evaluate mixtures at points."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from gmengine.autograd import Primitive, value_of
from gmengine.autograd.arrays import broadcast_to, reshape
from gmengine.backend import Array, float_dtype, kernels, namespace
from gmengine.errors import NonFiniteError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._flat import flat, named_component


def evaluate(m: Mixture, points: Array) -> Any:
    """Return the values f(x) = sum_i w_i N(x; mu_i, C_i) of mixtures at points (paper eq. 1-2).

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
    points : array, shape (*batch', P, K)
        In the units of the means; `batch'` broadcasts with `batch`.

    Returns
    -------
    array, shape (*broadcast of batch and batch', P)
        In units of weight per volume. Values smaller than the dtype's smallest normal number are 0.

    Raises
    ------
    ShapeError
        If `points` does not end in (P, K), or the batches do not broadcast.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it. NonFiniteError also for a point.
    DTypeError, BackendError
        If dtypes, libraries or devices differ.
    """
    if isinstance(points, list | tuple):
        points = namespace(value_of(m.weights)).asarray(points, dtype=m.dtype)
    batch, shape = _check(m, points), tuple(points.shape)
    n_points, dim = shape[-2:]
    x = reshape(broadcast_to(points, (*batch, n_points, dim)), (prod(batch), n_points, dim))
    with named_component("evaluate", m):
        (values,) = evaluate_p(*flat(m.broadcast_to(batch)), x)
    return reshape(values, (*batch, n_points))


def _check(m: Mixture, points: Any) -> tuple[int, ...]:
    """Return the common batch shape."""
    value = value_of(points)
    xp = namespace(value_of(m.weights), value)
    shape = tuple(value.shape)
    if len(shape) < 2 or shape[-1] != m.dim:
        raise ShapeError(f"evaluate: expected points (*batch, P, {m.dim}), got {shape}")
    float_dtype("evaluate", mixture=m.weights, points=value)
    try:
        batch = np.broadcast_shapes(m.batch, shape[:-2])
    except ValueError:
        raise ShapeError(
            f"evaluate: the mixture's batch {m.batch} and the points' {shape[:-2]} do not broadcast"
        ) from None
    if not bool(xp.all(xp.isfinite(value))):
        raise NonFiniteError("evaluate: the points hold NaN or infinity")
    return tuple(batch)


@Primitive
def evaluate_p(weights: Array, means: Array, covariances: Array, points: Array) -> Any:
    values, residuals = kernels("evaluate", weights, points).forward(weights, means, covariances, points)
    return (values,), residuals


@evaluate_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    return kernels("evaluate", residuals[0]).vjp(residuals, *cotangents, needs)

"""Evaluate mixtures at points."""

from __future__ import annotations

from math import prod
from typing import Any

from gmengine.autograd import Primitive, arrays
from gmengine.autograd.arrays import broadcast_to, reshape
from gmengine.backend import Array, kernels
from gmengine.mixture import Mixture
from gmengine.ops._flat import flat, named_component
from gmengine.ops._gaussians import factorised, log_normals
from gmengine.ops._points import checked_points


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

    Notes
    -----
    On the CPU, from 1,024 components and 16,384 points on, mixtures of which few components reach each point are
    summed without the others. What is left out at a point is less than a quarter of eps times
    sum_i |w_i| N(x; mu_i, C_i), by proof (docs/sparsity.md), but sums are grouped in another way. Gradients are of all
    components everywhere.

    Raises
    ------
    ShapeError
        If `points` does not end in (P, K), or the batches do not broadcast.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it. NonFiniteError also for a point.
    DTypeError, BackendError
        If dtypes, libraries or devices differ.
    """
    points, batch = checked_points("evaluate", m, points)
    n_points, dim = points.shape[-2:]
    x = reshape(broadcast_to(points, (*batch, n_points, dim)), (prod(batch), n_points, dim))
    with named_component("evaluate", m):
        (values,) = evaluate_p(*flat(m.broadcast_to(batch)), x)
    return reshape(values, (*batch, n_points))


def evaluate_components(m: Mixture, points: Array) -> Any:
    """Return the terms w_i N(x; mu_i, C_i) of mixtures at points: those that `evaluate` sums (paper eq. 1-2).

    For plots, responsibilities, small sizes: memory grows with P N K, where `evaluate` needs only P.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
    points : array, shape (*batch', P, K)
        In the units of the means; `batch'` broadcasts with `batch`. Gradients flow to it and to `m`.

    Returns
    -------
    array, shape (*broadcast of batch and batch', P, N)
        In units of weight per volume; 0 for absent components.

    Raises
    ------
    ShapeError
        If `points` does not end in (P, K), or the batches do not broadcast.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it. NonFiniteError also for a point.
    DTypeError, BackendError
        If dtypes, libraries or devices differ.
    """
    points, _ = checked_points("evaluate_components", m, points)
    m, factors = factorised("evaluate_components", m)
    densities = arrays.exp(log_normals(points, m.means, factors))
    return arrays.multiply(arrays.expand_dims(m.weights, -2), densities)


@Primitive
def evaluate_p(weights: Array, means: Array, covariances: Array, points: Array) -> Any:
    values, residuals = kernels("evaluate", weights, points).forward(weights, means, covariances, points)
    return (values,), residuals


@evaluate_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    return kernels("evaluate", residuals[0]).vjp(residuals, *cotangents, needs)

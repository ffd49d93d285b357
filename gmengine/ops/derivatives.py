"""Differentiate mixtures with respect to the point."""

from __future__ import annotations

from math import prod
from typing import Any

from gmengine.autograd import Primitive
from gmengine.autograd.arrays import broadcast_to, reshape
from gmengine.backend import Array, kernels
from gmengine.mixture import Mixture
from gmengine.ops._flat import flat, named_component
from gmengine.ops._points import checked_points


def density_gradient(m: Mixture, points: Array) -> Any:
    """Return the gradients of mixtures with respect to the point, at points.

    With d_i = x - mu_i and f the mixture (paper eq. 1-2):

        grad f(x) = -sum_i w_i N(x; mu_i, C_i) C_i^-1 d_i

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
    points : array, shape (*batch', P, K)
        In the units of the means; `batch'` broadcasts with `batch`. Gradients flow through it.

    Returns
    -------
    array, shape (*broadcast of batch and batch', P, K)
        In units of weight per volume and length. 0 where a density underflows.

    Raises
    ------
    ShapeError
        If `points` does not end in (P, K), or the batches do not broadcast.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it. NonFiniteError also for a point.
    DTypeError, BackendError
        If dtypes, libraries or devices differ.
    """
    return _derivative("density_gradient", m, points, 1)


def density_hessian(m: Mixture, points: Array) -> Any:
    """Return the Hessians of mixtures with respect to the point, at points.

    With d_i = x - mu_i, P_i = C_i^-1 and f the mixture (paper eq. 1-2):

        H(x) = sum_i w_i N(x; mu_i, C_i) (P_i d_i d_i^T P_i - P_i)

    Its trace is the Laplacian. Parameters and errors are those of `density_gradient`.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
    points : array, shape (*batch', P, K)
        In the units of the means; `batch'` broadcasts with `batch`. Gradients flow through it.

    Returns
    -------
    array, shape (*broadcast of batch and batch', P, K, K)
        Exactly symmetric, in units of weight per volume and squared length. 0 where a density underflows.

    Raises
    ------
    ShapeError, NotPositiveDefinite, NonFiniteError, DTypeError, BackendError
        As `density_gradient`.
    """
    return _derivative("density_hessian", m, points, 2)


def _derivative(op: str, m: Mixture, points: Any, order: int) -> Any:
    points, batch = checked_points(op, m, points)
    n_points, dim = points.shape[-2:]
    x = reshape(broadcast_to(points, (*batch, n_points, dim)), (prod(batch), n_points, dim))
    with named_component(op, m):
        (values,) = derivatives_p(*flat(m.broadcast_to(batch)), x, order=order)
    return reshape(values, (*batch, n_points, *(dim,) * order))


@Primitive
def derivatives_p(weights: Array, means: Array, covariances: Array, points: Array, *, order: int) -> Any:
    values, residuals = kernels("derivatives", weights, points).forward(
        weights, means, covariances, points, order=order
    )
    return (values,), residuals


@derivatives_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    return kernels("derivatives", residuals[0]).vjp(residuals, *cotangents, needs)

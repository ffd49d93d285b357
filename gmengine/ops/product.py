"""The inner product of mixtures, and the distance that it gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.autograd import Primitive, value_of
from gmengine.autograd.arrays import reshape
from gmengine.backend import Array, float_dtype, kernels, namespace
from gmengine.errors import ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._flat import flat, named_component


def product(a: Mixture, b: Mixture) -> Any:
    """Return the inner product <a, b>, the integral of a(x) b(x) over all of space, in closed form.

    The integral of a product of two Gaussians is a Gaussian of the distance of their means, so that

        <a, b> = sum_ij w_i v_j N(mu_i; nu_j, C_i + D_j)

    Parameters
    ----------
    a, b : Mixture, shapes (*batch, N) and (*batch', M)
        In the same units; the batches broadcast (nothing is copied for that, so a column and a row of
        mixtures give the matrix of all their products).

    Returns
    -------
    array, shape (*broadcast of batch and batch',)
        In units of weight squared per volume. Computed in float64, rounded to the mixtures' dtype.

    Raises
    ------
    ShapeError
        If dimensions differ, or the batches do not broadcast.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian, or its covariance is singular to within rounding (a
        pivot below 1e-14 of its variance: condition numbers beyond about 1e13); names the operand and the component.
        NonFiniteError also if the integral is beyond the range of float64.
    DTypeError, BackendError
        If dtypes, libraries or devices differ.
    """
    return _form("product", a, b, "product")


def l2_distance(a: Mixture, b: Mixture, squared: bool = False) -> Any:
    """Return the distance of two functions, the square root of the integral of (a(x) - b(x))^2, in closed form.

    It is sqrt(<c, c>) with c = a - b, a sum over pairs of components of both (see `product`), taken in float64.
    Components of the same number, mean and covariance in a and b are first made one component of c, by subtracting
    their weights. So mixtures that differ in weights alone have a distance correct to the last digits, however small
    it is, and the distance of a mixture to itself is exactly 0. In general the error of <c, c> is about
    1e-16 max(1, cond / 20) of s^2 = sum_ij |c_i c_j| N(mu_i; mu_j, C_i + C_j), where i, j run over the components of
    c and cond is the largest condition number of a covariance: of round components a distance of 1e-4 s has 8
    correct digits, one of 1e-6 s has 4, and one below 1e-8 s is noise; at cond 1e4, 1e-4 s has 5.

    Parameters
    ----------
    a, b : Mixture, shapes (*batch, N) and (*batch', M)
        In the same units; the batches broadcast, as in `product`.
    squared : bool
        Whether to return the integral itself. It is never negative: rounding below 0 is clipped.

    Returns
    -------
    array, shape (*broadcast of batch and batch',)
        In units of weight per square root of volume. Where the distance is 0 its gradient is 0 (one of the
        subgradients there).

    Raises
    ------
    ShapeError, NotPositiveDefinite, NonFiniteError, DTypeError, BackendError
        As `product` does.
    """
    return _form("l2_distance", a, b, "squared" if squared else "distance")


def _form(op: str, a: Mixture, b: Mixture, form: str) -> Any:
    batch = _check(op, a, b)
    with named_component(f"{op} (b)", b), named_component(f"{op} (a)", a):
        (values,) = product_p(*flat(a), *flat(b), batches=(a.batch, b.batch), form=form)
    return reshape(values, batch)


def _check(op: str, a: Mixture, b: Mixture) -> tuple[int, ...]:
    """Return the common batch shape."""
    namespace(value_of(a.weights), value_of(b.weights))
    float_dtype(op, a=a.weights, b=b.weights)
    if a.dim != b.dim:
        raise ShapeError(f"{op}: expected mixtures of one dimension, got {a.dim}-D and {b.dim}-D")
    try:
        return tuple(np.broadcast_shapes(a.batch, b.batch))
    except ValueError:
        raise ShapeError(f"{op}: the batches {a.batch} and {b.batch} do not broadcast") from None


@Primitive
def product_p(*inputs: Array, batches: tuple[tuple[int, ...], ...], form: str) -> Any:
    values, residuals = kernels("product", inputs[0], inputs[3]).forward(*inputs, batches=batches, form=form)
    return (values,), residuals


@product_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    # The cotangent's library decides: residuals belong to the kernels.
    return kernels("product", cotangents[0]).vjp(residuals, *cotangents, needs)

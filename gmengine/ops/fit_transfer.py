"""Apply a transfer function to mixtures: the dense fit of phi(mixture + bias)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gmengine.autograd import Primitive, value_of
from gmengine.autograd.arrays import (
    abs,
    add,
    divide,
    expand_dims,
    maximum,
    multiply,
    reshape,
    subtract,
    sum,
    where,
)
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite
from gmengine.mixture import Mixture
from gmengine.ops._checks import first_false
from gmengine.ops._fit_arguments import checked_epsilons, flat_bias
from gmengine.ops._flat import flat, named_component
from gmengine.ops.evaluate import evaluate_p
from gmengine.ops.transfer import Transfer


def fit_transfer(
    m: Mixture,
    transfer: Transfer | Callable[[Any], Any],
    bias: Array | float = 0.0,
    epsilons: Sequence[float] = (0.1, 0.0, 0.05),
    relative: bool = True,
) -> Mixture:
    """Return a mixture that approximates phi(m + bias) - phi(bias) for a function phi of numbers.

    Only weights change: paper eq. 6-7 with phi in the place of the ReLU. With c = bias, G_ij = N(mu_i; mu_j, C_j)
    and a component's own peak a_i = w_i G_ii,

        gain_i = (phi(a_i + c) - phi(c)) / a_i       x0_i = |w_i| |gain_i| + e1
        b_i    = phi(sum_j w_j G_ij + c) - phi(c)    x_i  = x0_i (b_i + e2) / (sum_j x0_j G_ij + e3)

    The gain is what phi would do to the component alone. For the ReLU without bias it is 1 or 0, and
    ``fit_transfer(m, transfer.relu, epsilons=e) = relu(m, epsilons=e)``.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        In any units; phi sees values (weight per volume).
    transfer : Transfer or callable
        phi. A `Transfer` is computed in float64 whatever the mixture's dtype. A callable gets arrays of the
        mixture's dtype, or Tensors, and must be made of gmengine's array functions for gradients to flow, through
        it and to the Tensors in it (a learnt slope). It acts element by element.
    bias : float, or array that broadcasts to `batch`
        A value (not an integral), added to the function before phi. Gradients flow through it.
    epsilons : three numbers >= 0
        e1, e2, e3; they keep components whose gain is 0 alive and the quotient bounded. Where b_i + e2 is exactly
        0 the component becomes absent.
    relative : bool
        Whether e1 counts in units of mean |w_i|, and e2 and e3 in units of mean |w_i| G_ii, over the components
        present; as in `relu`. If phi(s x) = s phi(x), then the fit of ``s m`` with bias ``s c`` is s times that of
        ``m`` with bias c.

    Returns
    -------
    Mixture, of the shape, means and covariances of `m`
        Absent components (weight 0) take no part and stay absent. Weights have the signs of b_i + e2.

    Raises
    ------
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it. NonFiniteError also for a bias, and for a mixture
        for which phi gives NaN or infinity.
    ShapeError, DTypeError, BackendError
        If `bias` does not broadcast, or is an array of another dtype or library.
    ArgumentError
        If an epsilon is negative or not finite, or phi changes the shape or the dtype.

    Notes
    -----
    Both phi(z + c) - phi(c) and the gain come from the slope of a secant of phi: over [c, c + z], or over an interval
    around its middle that is t max(|c|, |phi(c)|) long if that is longer, with t = eps^(1/3) of the dtype that phi is
    computed in (6e-6, or 5e-3 for a callable in float32). For |z| above that this is the formula; below it, where
    subtracting phi(c) would lose the digits, the gain is the limit phi'(c), up to an error of the order t^2.

    Two evaluations at the means: O(N^2) time and O(N) memory for each mixture.
    """
    epsilons = checked_epsilons("fit_transfer", epsilons)
    given = value_of(m.weights)
    xp = namespace(given)
    work = xp.float64 if isinstance(transfer, Transfer) else given.dtype
    w, means, covariances, present = _present(m)
    c = expand_dims(_cast(flat_bias("fit_transfer", m, bias), work), axis=-1)
    with named_component("fit_transfer", m):
        (v,) = evaluate_p(w, means, covariances, means)
        (peaks,) = peaks_p(covariances, dtype=work)
    v, size = where(present, _cast(v, work), 0.0), abs(_cast(w, work))  # phi is not asked about absent ones
    e1, e2, e3 = _units(epsilons, relative, size, peaks, present)
    gain = _slope(transfer, c, multiply(_cast(w, work), peaks))
    coarse = where(present, add(multiply(size, abs(gain)), e1), 0.0)
    target = multiply(v, _slope(transfer, c, v))
    _check_finite(m, transfer, coarse, target)
    (u,) = evaluate_p(_cast(coarse, given.dtype), means, covariances, means)
    denominator = add(_cast(u, work), e3)
    # Without epsilons the denominator may be 0: then the coarse weight is 0 too, and stays so.
    some = value_of(denominator) > 0.0
    fitted = multiply(coarse, divide(add(target, e2), where(some, denominator, 1.0)))
    weights = _cast(where(some & present, fitted, 0.0), given.dtype)
    _check_finite(m, transfer, weights)
    return Mixture(reshape(weights, (*m.batch, m.n_components)), m.means, m.covariances)


def _present(m: Mixture) -> tuple[Any, Any, Any, Array]:
    """Return flattened weights, means, covariances, and which are present; absent ones become 0, 0 and I.

    As points of an evaluation the means of absent components are read.
    """
    weights, means, covariances = flat(m)
    value = value_of(weights)
    xp = namespace(value)
    present = value != 0
    eye = xp.eye(m.dim, dtype=value.dtype)
    means = where(present[..., None], means, xp.zeros((1, 1, m.dim), dtype=value.dtype))
    return weights, means, where(present[..., None, None], covariances, eye), present


def _units(
    epsilons: tuple[float, ...], relative: bool, size: Any, peaks: Any, present: Array
) -> tuple[Any, Any, Any]:
    """Return the epsilons in units of the mixtures' weights and values, (M, 1) or numbers."""
    e1, e2, e3 = epsilons
    if not relative:
        return e1, e2, e3
    xp = namespace(present)
    count = xp.sum(xp.astype(present, value_of(size).dtype), axis=-1, keepdims=True)
    count = xp.maximum(count, 1.0)
    of_weights = divide(sum(size, axis=-1, keepdims=True), count)
    of_values = divide(sum(multiply(size, peaks), axis=-1, keepdims=True), count)
    return multiply(of_weights, e1), multiply(of_values, e2), multiply(of_values, e3)


def _slope(transfer: Callable[[Any], Any], c: Any, rise: Any) -> Any:
    """Return (phi(c + rise) - phi(c)) / rise as the slope of a secant that is never too short; see the Notes."""
    bias = value_of(c)
    value = value_of(_phi(transfer, bias))
    xp = namespace(value)
    limits = xp.finfo(value.dtype)
    shortest = float(limits.eps) ** (1 / 3) * xp.maximum(xp.abs(bias), xp.abs(value))
    shortest = xp.maximum(shortest, float(limits.smallest_normal))
    radius = multiply(maximum(abs(rise), shortest), 0.5)
    middle = add(c, multiply(rise, 0.5))
    ends = _phi(transfer, add(middle, radius)), _phi(transfer, subtract(middle, radius))
    return divide(subtract(*ends), multiply(radius, 2.0))


def _phi(transfer: Callable[[Any], Any], x: Any) -> Any:
    y = transfer(x)
    if getattr(y, "shape", None) != x.shape or y.dtype != x.dtype:
        raise ArgumentError(
            f"fit_transfer: {_name(transfer)} must return an array of shape {tuple(x.shape)} and {x.dtype}, got "
            + (f"{tuple(y.shape)} and {y.dtype}" if hasattr(y, "dtype") else type(y).__name__)
        )
    return y


def _check_finite(m: Mixture, transfer: Callable[[Any], Any], *found: Any) -> None:
    for array in found:
        value = value_of(array)
        xp = namespace(value)
        bad = first_false(xp.reshape(xp.all(xp.isfinite(value), axis=-1), m.batch))
        if bad is not None:
            raise NonFiniteError(
                f"fit_transfer: {_name(transfer)} gives NaN or infinity for mixture {list(bad)}"
            )


def _name(transfer: Callable[[Any], Any]) -> str:
    return str(getattr(transfer, "name", None) or getattr(transfer, "__name__", None) or repr(transfer))


def _cast(x: Any, dtype: Any) -> Any:
    return x if x.dtype == dtype else cast_p(x, dtype=dtype)[0]


@Primitive
def cast_p(x: Array, *, dtype: Any) -> Any:
    return (namespace(x).astype(x, dtype),), x.dtype


@cast_p.defvjp
def _(dtype: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    (g,) = cotangents
    return (namespace(g).astype(g, dtype),)


@Primitive
def peaks_p(covariances: Array, *, dtype: Any) -> Any:
    """Return N(mu; mu, C) = ((2 pi)^K det C)^(-1/2), computed in float64."""
    xp = namespace(covariances)
    exact = xp.astype(covariances, xp.float64)
    try:
        factor = xp.linalg.cholesky(exact)
    except ValueError as error:  # numpy.linalg.LinAlgError is one; what evaluate refuses does not come here
        raise NotPositiveDefinite(
            "fit_transfer: a covariance is positive definite only to rounding"
        ) from error
    diagonal = xp.linalg.diagonal(factor)
    peaks = (2.0 * math.pi) ** (-0.5 * covariances.shape[-1]) / xp.prod(diagonal, axis=-1)
    return (xp.astype(peaks, dtype),), (exact, peaks, covariances.dtype)


@peaks_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    """d det C = det C <C^-1, dC>, hence d peak = -1/2 peak <C^-1, dC>."""
    covariances, peaks, dtype = residuals
    xp = namespace(covariances)
    g = -0.5 * xp.astype(cotangents[0], xp.float64) * peaks
    return (xp.astype(g[..., None, None] * xp.linalg.inv(covariances), dtype),)

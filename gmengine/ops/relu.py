"""Rectify mixtures: the dense fit of max(0, mixture + bias)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gmengine.autograd import Primitive, value_of
from gmengine.autograd.arrays import broadcast_to, reshape
from gmengine.backend import Array, float_dtype, kernels, namespace
from gmengine.deferred import check
from gmengine.errors import ArgumentError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._flat import flat, named_component


def relu(
    m: Mixture,
    bias: Array | float = 0.0,
    epsilons: Sequence[float] = (0.1, 0.05, 0.05),
    relative: bool = True,
) -> Mixture:
    """Return a mixture that approximates max(0, m + bias) - max(0, bias) (paper eq. 6-7).

    Only weights change. With c = bias, c+ = max(c, 0) and G_ij = N(mu_i; mu_j, C_j):

        w0_i = w_i if w_i + c > 0 else -c+           x0_i = |w0_i| + e1
        b_i  = max(sum_j w_j G_ij + c, 0) - c+       x_i  = x0_i (b_i + e2) / (sum_j x0_j G_ij + e3)

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        In any units.
    bias : float, or array that broadcasts to `batch`
        A value (not an integral), added to the function before it is rectified. Gradients flow through it.
    epsilons : three numbers >= 0
        e1, e2, e3; they keep components of non-positive weight alive and the quotient bounded.
    relative : bool
        Whether e1 counts in units of mean |w_i|, and e2 and e3 in units of mean |w_i| G_ii, over the components
        present. Then ``relu(s m, s c) = s relu(m, c)`` for s > 0. False: absolute, as in the authors' code.

    Returns
    -------
    Mixture, of the shape, means and covariances of `m`
        Absent components (weight 0) take no part and stay absent. A weight can be negative only if bias > 0.

    Raises
    ------
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it. NonFiniteError also for a bias.
    ShapeError, DTypeError, BackendError
        If `bias` does not broadcast, or is an array of another dtype or library.
    ArgumentError
        If an epsilon is negative or not finite.
    """
    epsilons = _check_epsilons(epsilons)
    bias = _bias(m, bias)
    with named_component("relu", m):
        (weights,) = relu_p(*flat(m), bias, epsilons=epsilons, relative=relative)
    return Mixture(reshape(weights, (*m.batch, m.n_components)), m.means, m.covariances)


def _check_epsilons(epsilons: Sequence[float]) -> tuple[float, ...]:
    values = tuple(float(e) for e in epsilons)
    if len(values) != 3 or not all(math.isfinite(e) and e >= 0.0 for e in values):
        raise ArgumentError(f"relu: expected three finite epsilons >= 0, got {values}")
    return values


def _bias(m: Mixture, bias: Any) -> Any:
    """Return one bias per flattened mixture."""
    weights = value_of(m.weights)
    xp = namespace(weights)
    if isinstance(bias, int | float | list | tuple):
        # looked at before they are on a GPU, where nobody should have to wait for them
        numbers = np.asarray(bias, dtype=str(weights.dtype).rpartition(".")[2])
        check(np.isfinite(numbers).all(), _refuse_unless_finite)
        bias = value = xp.asarray(numbers)
    else:
        value = value_of(bias)
        namespace(weights, value)
        float_dtype("relu", mixture=weights, bias=value)
        check(xp.all(xp.isfinite(value)), _refuse_unless_finite)
    shape = tuple(value.shape)
    if len(shape) > len(m.batch) or any(
        s not in (1, b) for s, b in zip(reversed(shape), reversed(m.batch), strict=False)
    ):
        raise ShapeError(f"relu: bias of shape {shape} does not broadcast to the batch {m.batch}")
    return reshape(broadcast_to(bias, m.batch), (prod(m.batch),))


def _refuse_unless_finite(finite: np.ndarray) -> None:
    if not finite:
        raise NonFiniteError("relu: the bias holds NaN or infinity")


@Primitive
def relu_p(
    weights: Array,
    means: Array,
    covariances: Array,
    bias: Array,
    *,
    epsilons: tuple[float, ...],
    relative: bool,
) -> Any:
    out, residuals = kernels("relu", weights, bias).forward(
        weights, means, covariances, bias, epsilons=epsilons, relative=relative
    )
    return (out,), residuals


@relu_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    return kernels("relu", residuals[0]).vjp(residuals, *cotangents, needs)

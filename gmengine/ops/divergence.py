"""Kullback-Leibler divergences of mixtures: an estimate, an approximation and a bound.

No closed form exists for two mixtures. `kl_monte_carlo` converges to the divergence, with a standard error;
`kl_variational` is a deterministic approximation, which may lie on either side of it; `kl_upper_bound` is never below
it. All three divide both mixtures by their integrals.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from gmengine.autograd import arrays, value_of
from gmengine.backend import float_dtype, namespace
from gmengine.errors import ArgumentError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._gaussians import divergences, factorised, log_weights
from gmengine.ops._points import require_component, require_non_negative
from gmengine.ops.log_density import log_values
from gmengine.ops.sample import drawn, gathered


class Estimate(NamedTuple):
    """What `kl_monte_carlo` returns."""

    value: Any
    """Shape (*batch)."""
    standard_error: Any
    """Shape (*batch): the standard deviation of `value` over draws, estimated from the same draws."""


def kl_monte_carlo(
    a: Mixture, b: Mixture, n_samples: int, rng: int | np.random.Generator | None = None
) -> Estimate:
    """Return the mean of log a(x) - log b(x) over random points x of a: an unbiased estimate of KL(a || b).

    Parameters
    ----------
    a, b : Mixtures of one K, batches broadcast
        Of weights >= 0; both are divided by their integrals.
    n_samples : int
        Points per mixture, 2 or more. Time and memory grow with n_samples (N_a + N_b) K.
    rng : int, Generator or None
        As for `sample`.

    Returns
    -------
    Estimate(value, standard_error), arrays of the common batch shape, in nats
        The gradient of `value` is an unbiased estimate of the divergence's, for all of a and b: pathwise for means and
        covariances of a, and for its weights by the quotient of the probability of the drawn component and its
        value, a factor of 1. No gradient flows through `standard_error`.

    Raises
    ------
    ArgumentError
        If a weight is negative or a mixture has no present component, named; or if n_samples < 2.
    ShapeError
        If K differs or the batches do not broadcast.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it.
    """
    if n_samples < 2:
        raise ArgumentError(f"kl_monte_carlo: expected n_samples >= 2, got {n_samples}")
    op = "kl_monte_carlo"
    batch = _checked(op, a, b)
    a = a.broadcast_to(batch)
    if not prod(batch):
        return Estimate(_empty(a, b, batch), value_of(_empty(a, b, batch)))
    points, components = drawn(op, a, n_samples, rng)
    gaps = arrays.subtract(_log_normalised(op, a, points), _log_normalised(op, b, points))
    chances = gathered(_log_shares(a), components)
    ones = arrays.exp(arrays.subtract(chances, value_of(chances)))
    value = arrays.mean(arrays.multiply(gaps, ones), axis=-1)
    xp = namespace(value_of(gaps))
    error = xp.std(value_of(gaps), axis=-1, correction=1) / n_samples**0.5
    return Estimate(value, xp.asarray(error))


def kl_variational(a: Mixture, b: Mixture) -> Any:
    """Return the variational approximation of KL(a || b). It is no bound: it may be too large or too small.

    With pi and omega the shares of the components of a and b in their integrals,

        sum_i pi_i log( sum_i' pi_i' exp(-KL(a_i || a_i')) / sum_j omega_j exp(-KL(a_i || b_j)) )

    (Hershey and Olsen, Approximating the Kullback Leibler divergence between Gaussian mixture models, 2007):
    the difference of two lower bounds, of the mean of log a and of log b. Exact for single Gaussians and for a = b.

    Parameters
    ----------
    a, b : Mixtures of one K, batches broadcast
        Of weights >= 0; both are divided by their integrals. Differentiable in both. Time grows with
        N_a (N_a + N_b) K^3, memory with N_a (N_a + N_b) K^2.

    Returns
    -------
    array of the common batch shape, in nats

    Raises
    ------
    ArgumentError, ShapeError, NotPositiveDefinite, NonFiniteError
        As `kl_monte_carlo`.
    """
    batch = _checked("kl_variational", a, b)
    if not prod(batch):
        return _empty(a, b, batch)
    (a, factors_a), (b, factors_b) = factorised("kl_variational", a), factorised("kl_variational", b)
    to_a = divergences(a.means, factors_a, a.means, factors_a)
    to_b = divergences(a.means, factors_a, b.means, factors_b)
    shares = _log_shares(a)
    mean_a, mean_b = (
        arrays.logsumexp(arrays.subtract(arrays.expand_dims(logs, -2), kl), axis=-1)
        for logs, kl in ((shares, to_a), (_log_shares(b), to_b))
    )
    return arrays.sum(arrays.multiply(arrays.exp(shares), arrays.subtract(mean_a, mean_b)), axis=-1)


def kl_upper_bound(a: Mixture, b: Mixture, iterations: int = 10) -> Any:
    """Return the variational upper bound of KL(a || b), which it never falls below (but for rounding).

    Split every component: pi_i = sum_j phi_ij and omega_j = sum_i psi_ij. Then, by the convexity of x log x,

        KL(a || b) <= sum_ij phi_ij (log(phi_ij / psi_ij) + KL(a_i || b_j))

    for any such phi and psi; here those that minimise it in turn, from phi_ij = psi_ij = pi_i omega_j (Hershey and
    Olsen 2007). It decreases with every iteration, towards 0 for a = b. After the last step psi_ij is
    omega_j phi_ij / q_j with q_j = sum_i phi_ij, and phi_ij = pi_i r_ij, so that the bound is

        sum_ij pi_i r_ij KL(a_i || b_j) + sum_j q_j log(q_j / omega_j).

    Parameters
    ----------
    a, b : Mixtures of one K, batches broadcast
        Of weights >= 0; both are divided by their integrals. Differentiable in both, through all iterations. Time
        grows with N_a N_b (K^3 + iterations), memory with N_a N_b K^2, and with iterations while a tape records.
    iterations : int
        1 or more.

    Returns
    -------
    array of the common batch shape, in nats

    Raises
    ------
    ArgumentError, ShapeError, NotPositiveDefinite, NonFiniteError
        As `kl_monte_carlo`; ArgumentError also if iterations < 1.
    """
    if iterations < 1:
        raise ArgumentError(f"kl_upper_bound: expected iterations >= 1, got {iterations}")
    batch = _checked("kl_upper_bound", a, b)
    if not prod(batch):
        return _empty(a, b, batch)
    (a, factors_a), (b, factors_b) = factorised("kl_upper_bound", a), factorised("kl_upper_bound", b)
    kl = divergences(a.means, factors_a, b.means, factors_b)
    logs_a, present = arrays.expand_dims(_log_shares(a), -1), value_of(b.weights) != 0
    # An absent b_j gets r_ij = 0 by the first `where`; the others keep its column finite, and without gradient.
    logs_b = arrays.where(present, _log_shares(b), 0.0)
    present = namespace(present).expand_dims(present, axis=-2)
    base = arrays.subtract(arrays.expand_dims(logs_b, -2), kl)
    log_ratio: Any = 0.0  # log psi_ij - log omega_j, up to a number for each i
    for _ in range(iterations):
        masked = arrays.where(present, arrays.add(base, log_ratio), -float("inf"))
        log_r = arrays.where(present, arrays.log_softmax(masked), 0.0)
        log_q = arrays.logsumexp(arrays.add(logs_a, log_r), axis=-2, keepdims=True)
        log_ratio = arrays.subtract(log_r, log_q)
    phi = arrays.where(present, arrays.exp(arrays.add(logs_a, log_r)), 0.0)
    excess = arrays.subtract(log_q, arrays.expand_dims(logs_b, -2))
    return arrays.sum(arrays.multiply(phi, arrays.add(kl, excess)), axis=(-2, -1))


def _checked(op: str, a: Mixture, b: Mixture) -> tuple[int, ...]:
    """Return the common batch shape of two mixtures that can be divided by their integrals."""
    float_dtype(op, a=a.weights, b=b.weights)
    if a.dim != b.dim:
        raise ShapeError(f"{op}: expected mixtures of one dimension, got {a.dim}-D and {b.dim}-D")
    try:
        batch = np.broadcast_shapes(a.batch, b.batch)
    except ValueError:
        raise ShapeError(f"{op}: batches {a.batch} and {b.batch} do not broadcast") from None
    for m in (a, b):
        require_non_negative(op, m)
        require_component(op, m)
    return tuple(batch)


def _empty(a: Mixture, b: Mixture, batch: tuple[int, ...]) -> Any:
    """Return the array without elements of an empty batch: there may be no component to take a maximum of."""
    of_a, of_b = (arrays.sum(m.broadcast_to(batch).weights, axis=-1) for m in (a, b))
    return arrays.add(of_a, of_b)


def _log_shares(m: Mixture) -> Any:
    """Return log(w_i / sum_j w_j), shape (*batch, N); -inf for absent components."""
    logs = log_weights(m)
    return arrays.subtract(logs, arrays.logsumexp(logs, axis=-1, keepdims=True))


def _log_normalised(op: str, m: Mixture, points: Any) -> Any:
    """Return log f(x) minus the logarithm of the integral of f."""
    total = arrays.logsumexp(log_weights(m), axis=-1, keepdims=True)
    return arrays.subtract(log_values(op, m, points), total)

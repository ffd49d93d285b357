"""Evaluate the logarithm of mixtures without negative weights."""

from __future__ import annotations

from typing import Any

from gmengine.autograd import arrays, value_of
from gmengine.backend import Array, namespace
from gmengine.mixture import Mixture
from gmengine.ops._gaussians import factorised, log_normals, log_weights
from gmengine.ops._points import checked_points, require_non_negative


def log_density(m: Mixture, points: Array) -> Any:
    """Return log f(x) = log sum_i exp(log w_i + log N(x; mu_i, C_i)) of mixtures at points.

    Nothing underflows: far from every component, where `evaluate` gives 0, the logarithm is still right. The mixture
    is taken as it is: divide it by its integral first for the density of a random point.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        Of weights >= 0.
    points : array, shape (*batch', P, K)
        In the units of the means; `batch'` broadcasts with `batch`. Gradients flow to it and to `m`.

    Returns
    -------
    array, shape (*broadcast of batch and batch', P)
        -inf for a mixture without present components. Memory grows with P N K.

    Raises
    ------
    ArgumentError
        If a weight is negative; names the mixture.
    ShapeError
        If `points` does not end in (P, K), or the batches do not broadcast.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it. NonFiniteError also for a point.
    DTypeError, BackendError
        If dtypes, libraries or devices differ.
    """
    return log_values("log_density", m, points)


def log_values(op: str, m: Mixture, points: Any) -> Any:
    """Return `log_density`; `op` begins the messages of errors."""
    points, batch = checked_points(op, m, points)
    m, factors = factorised(op, m)
    require_non_negative(op, m)
    if not m.n_components:
        return namespace(value_of(points)).full((*batch, points.shape[-2]), -float("inf"), dtype=m.dtype)
    logs = arrays.add(log_normals(points, m.means, factors), arrays.expand_dims(log_weights(m), -2))
    return arrays.logsumexp(logs, axis=-1)

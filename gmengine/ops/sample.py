"""Draw points from mixtures."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from gmengine.autograd import arrays, value_of
from gmengine.backend import Array, namespace, to_device
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture
from gmengine.ops._gaussians import factorised
from gmengine.ops._points import require_component, require_non_negative


def sample(
    m: Mixture, n: int, rng: int | np.random.Generator | None = None, return_components: bool = False
) -> Any:
    """Return n independent points from each mixture, as a density: x = mu_i + L_i z with L_i L_i^T = C_i.

    The component i is drawn with probability w_i / sum_j w_j, z from a standard normal distribution.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        Of weights >= 0; they need not sum to 1.
    n : int
        Number of points, 0 or more.
    rng : int, Generator or None
        Draws on the host, first all components, then all z in float64: the CPU and a GPU draw the same points.
    return_components : bool
        Whether to return the drawn indices too.

    Returns
    -------
    points : array, shape (*batch, n, K)
        In random order. Gradients flow to means and covariances while i and z are held (the pathwise gradient);
        none reaches the weights, on which only the choice of i depends.
    components : array of int64, shape (*batch, n)
        If asked for: the component that each point is from.

    Raises
    ------
    ArgumentError
        If a weight is negative or a mixture has no present component, named; or if n is negative.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it.
    """
    points, components = drawn("sample", m, n, rng)
    return (points, components) if return_components else points


def drawn(op: str, m: Mixture, n: int, rng: int | np.random.Generator | None) -> tuple[Any, Array]:
    """Return points and components of `sample`; `op` begins the messages of errors."""
    if n < 0:
        raise ArgumentError(f"{op}: expected n >= 0, got {n}")
    rng = np.random.default_rng(rng)
    m, factors = factorised(op, m)
    require_non_negative(op, m)
    require_component(op, m)
    value = value_of(m.weights)
    xp = namespace(value)
    components = xp.asarray(_components(to_device(value, "cpu"), n, rng))
    z = xp.asarray(rng.standard_normal((*m.batch, n, m.dim)), dtype=value.dtype)
    means, factors = gathered(m.means, components), gathered(factors, components)
    points = arrays.add(means, arrays.sum(arrays.multiply(factors, arrays.expand_dims(z, -2)), axis=-1))
    return points, components


def gathered(field: Any, components: Array) -> Any:
    """Return the entries (*batch, n, ...) of a field (*batch, N, ...) at component indices (*batch, n)."""
    batch, core = components.shape[:-1], len(components.shape)
    n_components, rest = field.shape[core - 1], tuple(field.shape[core:])
    xp = namespace(components)
    starts = xp.arange(prod(batch), dtype=components.dtype) * n_components
    rows = xp.reshape(components, (prod(batch), components.shape[-1])) + starts[:, None]
    flat = arrays.reshape(field, (prod(batch) * n_components, *rest))
    return arrays.reshape(arrays.take(flat, xp.reshape(rows, (-1,)), axis=0), (*components.shape, *rest))


def _components(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return indices (*batch, n) with probabilities proportional to weights (*batch, N), by inversion."""
    uniform = rng.random((*weights.shape[:-1], n))
    cumulative = np.cumsum(weights.astype(np.float64), axis=-1)
    indices = np.zeros(uniform.shape, np.int64)
    for b in np.ndindex(*weights.shape[:-1]):
        total = cumulative[b][-1]
        # The first i with cumulative > u total is present; rounding may push u total up to total itself.
        last = np.searchsorted(cumulative[b], total, side="left")
        indices[b] = np.minimum(np.searchsorted(cumulative[b], uniform[b] * total, side="right"), last)
    return indices

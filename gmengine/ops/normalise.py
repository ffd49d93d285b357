"""Scale space so that the components of a mixture have unit variance on average."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.autograd import arrays, value_of
from gmengine.backend import namespace
from gmengine.deferred import check
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture
from gmengine.ops._checks import first_false
from gmengine.ops.affine import scale


def mean_trace(m: Mixture, axis: int | tuple[int, ...] = ()) -> Any:
    """Return the mean over present components of tr C, per mixture or pooled over batch axes.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        In any units.
    axis : int or tuple of int
        Batch axes whose components are pooled; none by default. Pooled mixtures count by their components.

    Returns
    -------
    array, shape `batch` without the pooled axes
        K where no component is present, which means "no scaling needed".

    Raises
    ------
    ArgumentError
        If an axis is not one of the batch axes.
    """
    axes = _batch_axes(m, axis)
    weights = value_of(m.weights)
    xp = namespace(weights)
    present = weights != 0
    traces = arrays.where(present, arrays.trace(m.covariances), 0.0)
    pooled = (*axes, len(m.batch))
    total = arrays.sum(traces, axis=pooled)
    count = xp.asarray(xp.sum(xp.astype(present, weights.dtype), axis=pooled))
    some = count > 0
    return arrays.where(some, arrays.divide(total, xp.where(some, count, xp.ones_like(count))), float(m.dim))


def domain_scale(m: Mixture) -> Any:
    """Return the factor, shape (*batch), that scales space to a mean trace of K (paper 4.3).

    ``s = sqrt(K / mean_i tr C_i)`` over the present components; 1 where none is present. Differentiable.

    Raises
    ------
    ArgumentError
        If the mean trace of a mixture is not positive, so that no factor exists; names the mixture.
    """
    trace = mean_trace(m)
    check(value_of(trace), _refuse_unless_positive)
    return arrays.sqrt(arrays.divide(float(m.dim), trace))


def _refuse_unless_positive(traces: np.ndarray) -> None:
    bad = first_false(traces > 0)
    if bad is not None:
        raise ArgumentError(
            f"domain_scale: the mean trace of mixture {list(bad)} is {float(traces[bad])}, expected > 0"
        )


def normalise(m: Mixture) -> Mixture:
    """Return each mixture with its space scaled about the origin so that the mean of tr C becomes K.

    The average component then has a variance of 1 per dimension (paper section 4.3). Integrals are unchanged.

    Raises
    ------
    ArgumentError
        If the mean trace of a mixture is not positive, so that no factor exists.
    """
    return scale(m, domain_scale(m))


def _batch_axes(m: Mixture, axis: int | tuple[int, ...]) -> tuple[int, ...]:
    n = len(m.batch)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -n <= a < n for a in axes) or len({a % n for a in axes if n}) != len(axes):
        raise ArgumentError(f"mean_trace: expected distinct axes of the batch {m.batch}, got {axis}")
    return tuple(a % n for a in axes)

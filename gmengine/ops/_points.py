"""What points, coordinates and mixtures an op accepts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import index
from typing import Any

import numpy as np

from gmengine.autograd import value_of
from gmengine.backend import Array, float_dtype, namespace
from gmengine.deferred import check
from gmengine.errors import ArgumentError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._checks import first_false


def checked_points(op: str, m: Mixture, points: Any) -> tuple[Any, tuple[int, ...]]:
    """Return points (*batch', P, K) as an array or Tensor, and the batch shape that they and `m` broadcast to."""
    if isinstance(points, list | tuple):
        points = namespace(value_of(m.weights)).asarray(points, dtype=m.dtype)
    value = value_of(points)
    xp = namespace(value_of(m.weights), value)
    shape = tuple(value.shape)
    if len(shape) < 2 or shape[-1] != m.dim:
        raise ShapeError(f"{op}: expected points (*batch, P, {m.dim}), got {shape}")
    float_dtype(op, mixture=m.weights, points=value)
    try:
        batch = np.broadcast_shapes(m.batch, shape[:-2])
    except ValueError:
        raise ShapeError(
            f"{op}: the mixture's batch {m.batch} and the points' {shape[:-2]} do not broadcast"
        ) from None
    check(xp.all(xp.isfinite(value)), partial(_check_finite, op))
    return points, tuple(batch)


def _check_finite(op: str, finite: np.ndarray) -> None:
    if not finite:
        raise NonFiniteError(f"{op}: the points hold NaN or infinity")


def spatial_axes(op: str, axes: int | Sequence[int], dim: int, most: int) -> tuple[int, ...]:
    """Return 1 to `most` distinct coordinates of `dim`, counted from the front; `axes` may be one integer.

    Raises
    ------
    ArgumentError
        For any others; names them.
    """
    try:
        given = _indices(axes)
    except TypeError:
        raise ArgumentError(f"{op}: expected an axis or a sequence of axes, got {axes!r}") from None
    if (
        any(not -dim <= a < dim for a in given)
        or not 1 <= len({a % dim for a in given}) == len(given) <= most
    ):
        wanted = f"between 1 and {most} distinct coordinates" if most else "a mixture with more coordinates"
        raise ArgumentError(f"{op}: expected {wanted} of {dim}, got {tuple(given)}")
    return tuple(a % dim for a in given)


def _indices(axes: Any) -> list[int]:
    try:
        return [index(axes)]
    except TypeError:
        return [index(a) for a in axes]


def require_non_negative(op: str, m: Mixture) -> None:
    """Raise ArgumentError, naming the mixture and its smallest weight, if a weight is negative.

    NonFiniteError, naming the component, if a weight is NaN or infinite.
    """
    weights = value_of(m.weights)
    xp = namespace(weights)
    bad = first_false(xp.isfinite(weights))
    if bad is not None:
        raise NonFiniteError(f"{op}: weight of component {list(bad)} is {float(weights[bad])}")
    bad = first_false(xp.all(weights >= 0, axis=-1))
    if bad is not None:
        raise ArgumentError(
            f"{op}: expected weights >= 0, mixture {list(bad)} has the weight {float(xp.min(weights[bad])):.6g}"
        )


def require_component(op: str, m: Mixture) -> None:
    """Raise ArgumentError, naming the mixture, if one has no present component."""
    weights = value_of(m.weights)
    bad = first_false(namespace(weights).any(weights != 0, axis=-1))
    if bad is not None:
        raise ArgumentError(f"{op}: mixture {list(bad)} has no present component")


def rounding_of_integral(m: Mixture) -> Array:
    """Return N eps sum_i |w_i|, shape (*batch): the bound on the rounding error of the sum of the weights."""
    weights = value_of(m.weights)
    xp = namespace(weights)
    return m.n_components * float(xp.finfo(weights.dtype).eps) * xp.sum(xp.abs(weights), axis=-1)

"""Push mixtures forward through x -> s x and x -> x + t."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.autograd import arrays, value_of
from gmengine.backend import Array, float_dtype, namespace
from gmengine.errors import ArgumentError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._checks import first_false


def scale(m: Mixture, s: Array | float, per_axis: bool = False) -> Mixture:
    """Return each mixture with its space scaled: means become s mu, covariances s C s.

    Every integral is unchanged, so values are divided by the factor's volume:
    ``scale(f, s)(s x) = f(x) / |s|^K``. A negative factor is a reflection.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        In any units.
    s : float, or array that broadcasts with `batch`
        Not zero, finite. With `per_axis`, the last axis of `s` holds one factor per spatial axis (length K),
        and the axes before it broadcast with `batch`. Gradients flow through `s`.
    per_axis : bool
        Whether `s` has that last axis.

    Returns
    -------
    Mixture, of the batch shape that `batch` and the shape of `s` broadcast to

    Raises
    ------
    ArgumentError
        If a factor is zero, NaN or infinite; names its index.
    ShapeError
        If the shapes do not broadcast.
    DTypeError
        If `s` is an array of another dtype.
    """
    s = _operand("scale", m, s)
    shape = tuple(s.shape)
    if per_axis and shape[-1:] != (m.dim,):
        raise ShapeError(
            f"scale: with per_axis expected one factor for each of {m.dim} axes, got shape {shape}"
        )
    _check_factors(value_of(s))
    m = m.broadcast_to(_broadcast("scale", m, shape[:-1] if per_axis else shape))
    if not per_axis:
        s = arrays.expand_dims(s, -1)
    over_components = arrays.expand_dims(s, -2)  # (*, 1, K), or (*, 1, 1)
    rows = arrays.expand_dims(over_components, -1)
    columns = arrays.expand_dims(over_components, -2)
    return Mixture(
        m.weights,
        arrays.multiply(m.means, over_components),
        arrays.multiply(m.covariances, arrays.multiply(rows, columns)),
    )


def translate(m: Mixture, t: Array) -> Mixture:
    """Return each mixture moved by t, so that ``translate(f, t)(x + t) = f(x)``.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        In any units.
    t : array, shape (K,) or (*batch', K)
        In units of the means; `batch'` broadcasts with `batch`. Gradients flow through `t`.

    Returns
    -------
    Mixture, of the batch shape that `batch` and `batch'` broadcast to

    Raises
    ------
    ShapeError
        If `t` is not K long in its last axis, or the shapes do not broadcast.
    NonFiniteError
        If `t` holds NaN or infinity.
    DTypeError
        If `t` has another dtype.
    """
    t = _operand("translate", m, t)
    shape, value = tuple(t.shape), value_of(t)
    if shape[-1:] != (m.dim,):
        raise ShapeError(f"translate: expected t of shape (..., {m.dim}), got {shape}")
    xp = namespace(value)
    if not bool(xp.all(xp.isfinite(value))):
        raise NonFiniteError("translate: t holds NaN or infinity")
    m = m.broadcast_to(_broadcast("translate", m, shape[:-1]))
    return Mixture(m.weights, arrays.add(m.means, arrays.expand_dims(t, -2)), m.covariances)


def _operand(op: str, m: Mixture, x: Any) -> Any:
    """Return `x` if it is an array or Tensor, else as an array of the mixture's library and dtype."""
    if isinstance(x, int | float | list | tuple):
        return namespace(value_of(m.weights)).asarray(x, dtype=m.dtype)
    float_dtype(op, mixture=m.weights, factor=x)
    return x


def _broadcast(op: str, m: Mixture, shape: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(m.batch, shape)
    except ValueError:
        raise ShapeError(
            f"{op}: shape {shape} does not broadcast with the mixture's batch {m.batch}"
        ) from None


def _check_factors(s: Array) -> None:
    bad = first_false(namespace(s).isfinite(s) & (s != 0))
    if bad is not None:
        raise ArgumentError(
            f"scale: factor {list(bad)} is {float(s[bad])}, expected a finite number other than 0"
        )

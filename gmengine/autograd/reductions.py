"""Differentiable reductions; `axis` is an axis, a tuple of axes, or None for all of them."""

from __future__ import annotations

import math
from typing import Any

from gmengine.autograd.elementwise import Cotangents, Needs
from gmengine.autograd.primitive import Primitive
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError, ShapeError

Axis = int | tuple[int, ...] | None


def _axes(op: str, shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """Return the reduced axes, counted from the front."""
    if axis is None:
        return tuple(range(len(shape)))
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -len(shape) <= a < len(shape) for a in given):
        raise ShapeError(f"{op}: axis {axis} is out of range for an array of shape {shape}")
    return tuple(a % len(shape) for a in given)


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that a reduction with keepdims=True has."""
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def spread(g: Array, shape: tuple[int, ...]) -> Array:
    """Return `g` broadcast to `shape` as an array of its own: kernels take no read-only views."""
    xp = namespace(g)
    return xp.zeros(shape, dtype=g.dtype) + g


@Primitive
def sum_p(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    shape = tuple(x.shape)
    return (namespace(x).sum(x, axis=axes, keepdims=keepdims),), (shape, _kept(shape, axes))


@sum_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (shape, kept), (g,) = residuals, cotangents
    return (spread(namespace(g).reshape(g, kept), shape),)


@Primitive
def mean_p(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    shape = tuple(x.shape)
    count = math.prod(shape[a] for a in axes)
    return (namespace(x).mean(x, axis=axes, keepdims=keepdims),), (shape, _kept(shape, axes), count)


@mean_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (shape, kept, count), (g,) = residuals, cotangents
    return (spread(namespace(g).reshape(g, kept) / count, shape),)


@Primitive
def max_p(x: Array, *, axis: int | None, keepdims: bool) -> Any:
    xp = namespace(x)
    return (xp.max(x, axis=axis, keepdims=keepdims),), (tuple(x.shape), axis, xp.argmax(x, axis=axis))


@max_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (shape, axis, first), (g,) = residuals, cotangents
    xp = namespace(g)
    if axis is None:
        flat = xp.arange(math.prod(shape), dtype=first.dtype) == first
        return (xp.where(xp.reshape(flat, shape), g, 0.0),)
    kept = _kept(shape, (axis,))
    along = tuple([n if i == axis else 1 for i, n in enumerate(shape)])
    index = xp.reshape(xp.arange(shape[axis], dtype=first.dtype), along)
    return (xp.where(index == xp.reshape(first, kept), xp.reshape(g, kept), 0.0),)


@Primitive
def logsumexp_p(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    xp = namespace(x)
    kept = _logsumexp(xp, x, axes)
    out = kept if keepdims else xp.reshape(kept, tuple([n for i, n in enumerate(x.shape) if i not in axes]))
    return (out,), (x, kept)


def _logsumexp(xp: Any, x: Array, axes: tuple[int, ...]) -> Array:
    top = xp.max(x, axis=axes, keepdims=True)
    # Where all are -inf (log of 0) the shift must be finite, as inf - inf is NaN; the result is -inf there.
    shift = xp.where(xp.isfinite(top), top, 0.0)
    total = xp.sum(xp.exp(x - shift), axis=axes, keepdims=True)
    some = total > 0.0
    return xp.where(some, xp.log(xp.where(some, total, 1.0)) + shift, top)


@logsumexp_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    """The gradient of the logarithm of a sum of exponentials is the softmax; 0 where all inputs are -inf."""
    (x, kept), (g,) = residuals, cotangents
    xp = namespace(x)
    return (xp.reshape(g, kept.shape) * xp.exp(x - xp.where(xp.isfinite(kept), kept, 0.0)),)


@Primitive
def log_softmax_p(x: Array, *, axes: tuple[int, ...]) -> Any:
    out = x - _logsumexp(namespace(x), x, axes)
    return (out,), (out, axes)


@log_softmax_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    """With s = exp(out), d out_i = dx_i - sum_j s_j dx_j, hence g_i - s_i sum_j g_j."""
    (out, axes), (g,) = residuals, cotangents
    xp = namespace(out)
    return (g - xp.exp(out) * xp.sum(g, axis=axes, keepdims=True),)


def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the sum over `axis`."""
    return sum_p(x, axes=_axes("sum", x.shape, axis), keepdims=keepdims)[0]


def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the arithmetic mean over `axis`."""
    return mean_p(x, axes=_axes("mean", x.shape, axis), keepdims=keepdims)[0]


def max(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Return the maximum over one axis or (None) over all; of equal ones the first takes all the gradient."""
    if not (axis is None or isinstance(axis, int)):
        raise ArgumentError(f"max: expected one axis or None, got {axis!r}")
    return max_p(x, axis=None if axis is None else _axes("max", x.shape, axis)[0], keepdims=keepdims)[0]


def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return log sum exp(x) over `axis`, without overflow; -inf where all x are -inf."""
    return logsumexp_p(x, axes=_axes("logsumexp", x.shape, axis), keepdims=keepdims)[0]


def log_softmax(x: Array, axis: int = -1) -> Array:
    """Return x - logsumexp(x) over `axis`: the logarithms of probabilities."""
    return log_softmax_p(x, axes=_axes("log_softmax", x.shape, axis))[0]

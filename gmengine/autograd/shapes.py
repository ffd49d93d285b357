"""Differentiable functions that move elements without computing on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gmengine.autograd.elementwise import Cotangents, Needs, same_dtype, unbroadcast
from gmengine.autograd.primitive import Primitive
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError, ShapeError


@Primitive
def reshape_p(x: Array, *, shape: tuple[int, ...]) -> Any:
    return (namespace(x).reshape(x, shape),), tuple(x.shape)


@reshape_p.defvjp
def _(shape: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (g,) = cotangents
    return (namespace(g).reshape(g, shape),)


@Primitive
def permute_dims_p(x: Array, *, axes: tuple[int, ...]) -> Any:
    return (namespace(x).permute_dims(x, axes),), axes


@permute_dims_p.defvjp
def _(axes: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (g,) = cotangents
    inverse = tuple(sorted(range(len(axes)), key=lambda i: axes[i]))
    return (namespace(g).permute_dims(g, inverse),)


@Primitive
def broadcast_to_p(x: Array, *, shape: tuple[int, ...]) -> Any:
    xp = namespace(x)
    out = xp.broadcast_to(x, shape)
    if math.prod(shape) == math.prod(x.shape):
        out = xp.reshape(x, shape)  # new axes of length 1 need no read-only view
    return (out,), tuple(x.shape)


@broadcast_to_p.defvjp
def _(shape: Any, cotangents: Cotangents, needs: Needs) -> Any:
    return (unbroadcast(cotangents[0], shape),)


@Primitive
def concat_p(*parts: Array, axis: int) -> Any:
    return (namespace(*parts).concat(parts, axis=axis),), ([p.shape[axis] for p in parts], axis)


@concat_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (lengths, axis), (g,) = residuals, cotangents
    grads, start = [], 0
    for length, need in zip(lengths, needs, strict=True):
        key = (slice(None),) * axis + (slice(start, start + length), ...)
        grads.append(g[key] if need else None)
        start += length
    return grads


@Primitive
def stack_p(*parts: Array, axis: int) -> Any:
    return (namespace(*parts).stack(parts, axis=axis),), axis


@stack_p.defvjp
def _(axis: Any, cotangents: Cotangents, needs: Needs) -> Any:
    return [cotangents[0][(slice(None),) * axis + (i, ...)] if need else None for i, need in enumerate(needs)]


def reshape(x: Array, shape: int | tuple[int, ...]) -> Array:
    """Return the elements of `x`, last axis fastest, in `shape`; one length may be -1."""
    return reshape_p(x, shape=(shape,) if isinstance(shape, int) else tuple(shape))[0]


def permute_dims(x: Array, axes: tuple[int, ...]) -> Array:
    """Return `x` with its axes in the order `axes`."""
    ndim = len(x.shape)
    ordered = tuple([a % ndim if -ndim <= a < ndim else a for a in axes])
    if sorted(ordered) != list(range(ndim)):
        raise ShapeError(f"permute_dims: expected an order of {ndim} axes, got {tuple(axes)}")
    return permute_dims_p(x, axes=ordered)[0]


def matrix_transpose(x: Array) -> Array:
    """Return `x`, shape (..., n, m), with its last two axes swapped."""
    ndim = len(x.shape)
    if ndim < 2:
        raise ShapeError(f"matrix_transpose: expected at least 2 axes, got shape {tuple(x.shape)}")
    return permute_dims_p(x, axes=(*range(ndim - 2), ndim - 1, ndim - 2))[0]


def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Return `x` repeated along new and length-1 axes to `shape`; where an axis grows, a read-only view."""
    return broadcast_to_p(x, shape=tuple(shape))[0]


def expand_dims(x: Array, axis: int = 0) -> Array:
    """Return `x` with a new axis of length 1 at position `axis` of the result."""
    shape = list(x.shape)
    shape.insert(_position("expand_dims", axis, len(shape) + 1), 1)
    return reshape_p(x, shape=tuple(shape))[0]


def concat(arrays: Sequence[Array], axis: int = -1) -> Array:
    """Return the arrays one behind the other along `axis`, by default the last; other lengths must agree."""
    if not arrays:
        raise ArgumentError("concat: expected at least one array")
    same_dtype("concat", *arrays)
    return concat_p(*arrays, axis=_position("concat", axis, len(arrays[0].shape)))[0]


def stack(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Return the arrays, of one shape, joined along a new axis at position `axis` of the result."""
    if not arrays:
        raise ArgumentError("stack: expected at least one array")
    same_dtype("stack", *arrays)
    return stack_p(*arrays, axis=_position("stack", axis, len(arrays[0].shape) + 1))[0]


def _position(op: str, axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{op}: axis {axis} is out of range for {ndim} axes")
    return axis % ndim

"""Differentiable indexing. The gradient of a gather is summed in one order: no atomics, no scatter."""

from __future__ import annotations

import math
import operator
from typing import Any

from gmengine.autograd.elementwise import Cotangents, Needs
from gmengine.autograd.primitive import Primitive
from gmengine.autograd.shapes import reshape
from gmengine.autograd.tensor import value_of
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError, ShapeError


@Primitive
def slice_p(x: Array, *, key: tuple[Any, ...]) -> Any:
    """Index with integers, slices and one Ellipsis."""
    return (x[key],), (tuple(x.shape), x.dtype, key)


@slice_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (shape, dtype, key), (g,) = residuals, cotangents
    grad = namespace(g).zeros(shape, dtype=dtype)
    grad[key] = g
    return (grad,)


@Primitive
def take_p(x: Array, *, indices: Array, axis: int) -> Any:
    return (namespace(x, indices).take(x, indices, axis=axis),), (tuple(x.shape), indices, axis)


@take_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (shape, indices, axis), (g,) = residuals, cotangents
    return (sum_by_index(g, indices, shape[axis], axis),)


def sum_by_index(g: Array, indices: Array, n: int, axis: int) -> Array:
    """Return the array of length `n` along `axis` whose slice j sums the slices i of `g` with indices[i] = j.

    The slices are sorted by index, each run of equal indices is summed by doubling (after step d, a slice
    holds the sum of the last 2d of its run up to itself), and every j picks the end of its run. The order of
    the additions depends on the indices alone, the error grows with the logarithm of a run's length, and only
    functions of the array-API standard are used. Work: P log2(longest run) for P slices.
    """
    xp = namespace(g, indices)
    n_taken = g.shape[axis]
    if n_taken == 0:
        return xp.zeros(tuple([n if i == axis else m for i, m in enumerate(g.shape)]), dtype=g.dtype)
    order = xp.argsort(indices, stable=True)
    ids = xp.take(indices, order, axis=0)
    run = xp.take(g, order, axis=axis)
    targets = xp.arange(n, dtype=ids.dtype)
    starts = xp.searchsorted(ids, targets, side="left")
    ends = xp.searchsorted(ids, targets, side="right")
    along = tuple([-1 if i == axis else 1 for i in range(len(g.shape))])
    lead = (slice(None),) * axis
    step, longest = 1, int(xp.max(ends - starts))
    while step < longest:
        joined = xp.reshape(ids[step:] == ids[:-step], along)
        added = run[(*lead, slice(step, None), ...)] + xp.where(
            joined, run[(*lead, slice(None, -step), ...)], 0.0
        )
        run = xp.concat([run[(*lead, slice(None, step), ...)], added], axis=axis)
        step *= 2
    last = xp.where(ends > starts, ends - 1, 0)
    return xp.where(xp.reshape(ends > starts, along), xp.take(run, last, axis=axis), 0.0)


def take(x: Array, indices: Array, axis: int) -> Array:
    """Return the slices of `x` along `axis` at `indices`, integers (P,); negative ones count from the end.

    Raises
    ------
    ArgumentError
        If an index is out of range or no integer.
    """
    ndim = len(x.shape)
    if not -ndim <= axis < ndim:
        raise ShapeError(f"take: axis {axis} is out of range for an array of shape {tuple(x.shape)}")
    if len(indices.shape) != 1:
        raise ShapeError(f"take: expected indices of shape (P,), got {tuple(indices.shape)}")
    return take_p(x, indices=_from_front(indices, x.shape[axis]), axis=axis % ndim)[0]


def _from_front(indices: Array, n: int) -> Array:
    xp = namespace(indices)
    if not xp.isdtype(indices.dtype, "integral"):
        raise ArgumentError(f"indexing: expected integer indices, got {indices.dtype}")
    indices = xp.astype(indices, xp.int64, copy=False)
    counted = xp.where(indices < 0, indices + n, indices)
    outside = (counted < 0) | (counted >= n)
    if bool(xp.any(outside)):  # merged axes would hide it, and CuPy would wrap around
        raise ArgumentError(
            f"indexing: index {int(indices[outside][0])} is out of range for an axis of length {n}"
        )
    return counted


def getitem(x: Array, key: Any) -> Array:
    """Return ``x[key]``, with NumPy's meaning.

    `key` may hold integers, slices, None and one Ellipsis; or integer arrays that index neighbouring axes
    together (as in ``log_p[rows, labels]``) beside slices and an Ellipsis; or be one boolean array.

    Raises
    ------
    ArgumentError
        For any other key.
    ShapeError
        If there are more indices than axes.
    """
    items = [_item(x, k) for k in (key if isinstance(key, tuple) else (key,))]
    if len(items) == 1 and hasattr(items[0], "shape") and namespace(items[0]).isdtype(items[0].dtype, "bool"):
        items = _positions(x, items[0])
    items = _with_ellipsis(items, len(x.shape))
    if any(hasattr(k, "shape") for k in items):
        return _gather(x, items)
    out = slice_p(x, key=tuple([k for k in items if k is not None]))[0]
    return _insert_axes(out, items) if None in items else out


def _item(x: Array, k: Any) -> Any:
    """Return one index as None, Ellipsis, a slice, a Python integer or an array."""
    if k is None or k is Ellipsis or isinstance(k, slice):
        return k
    if isinstance(k, list):
        return namespace(value_of(x)).asarray(k)
    if isinstance(k, bool) or not (hasattr(k, "shape") or hasattr(k, "__index__")):
        raise ArgumentError(f"getitem: cannot index with {k!r}")
    return operator.index(k) if getattr(k, "shape", ()) == () else k


def _positions(x: Array, mask: Array) -> list[Array]:
    if tuple(mask.shape) != tuple(x.shape[: len(mask.shape)]):
        raise ShapeError(
            f"getitem: an array of shape {tuple(x.shape)} has no mask of shape {tuple(mask.shape)}"
        )
    return list(namespace(mask).nonzero(mask))


def _with_ellipsis(items: list[Any], ndim: int) -> list[Any]:
    n_ellipses = sum(k is Ellipsis for k in items)
    n_indexed = sum(k is not None and k is not Ellipsis for k in items)
    if n_ellipses > 1:
        raise ArgumentError("getitem: expected at most one Ellipsis")
    if n_indexed > ndim:
        raise ShapeError(f"getitem: {n_indexed} indices for an array with {ndim} axes")
    return items if n_ellipses else [*items, Ellipsis]


def _insert_axes(x: Array, items: list[Any]) -> Array:
    """Insert the axes that None stands for into `x`, the result of the other items."""
    shape = list(x.shape)
    n_hidden = len(shape) - sum(isinstance(k, slice) for k in items)  # the axes behind the Ellipsis
    at = 0
    for k in items:
        if k is None:
            shape.insert(at, 1)
        at += n_hidden if k is Ellipsis else 0 if isinstance(k, int) else 1
    return reshape(x, tuple(shape))


def _gather(x: Array, items: list[Any]) -> Array:
    """Index with integer arrays: merge their axes, and take."""
    if None in [k for k in items if not hasattr(k, "shape")]:
        raise ArgumentError("getitem: None beside an integer array; use expand_dims")
    ndim, i = len(x.shape), next(i for i, k in enumerate(items) if k is Ellipsis)
    items[i : i + 1] = [slice(None)] * (ndim - len(items) + 1)
    which = [i for i, k in enumerate(items) if not isinstance(k, slice)]
    first, end = which[0], which[-1] + 1
    if end - first != len(which):
        raise ArgumentError("getitem: integer arrays must index neighbouring axes")
    slices = [k if isinstance(k, slice) else slice(None) for k in items]
    if any(k != slice(None) for k in slices):
        x = slice_p(x, key=(*slices, ...))[0]
    shape = tuple(x.shape)
    xp = namespace(value_of(x))
    flat: Any = 0
    for n, k in zip(shape[first:end], items[first:end], strict=True):
        flat = flat * n + _from_front(k if hasattr(k, "shape") else xp.asarray(k), n)
    size = math.prod(shape[first:end])
    merged = reshape(x, (*shape[:first], size, *shape[end:])) if end - first > 1 else x
    taken = take_p(merged, indices=xp.reshape(flat, (-1,)), axis=first)[0]
    return reshape(taken, (*shape[:first], *flat.shape, *shape[end:])) if len(flat.shape) != 1 else taken

"""Evaluate mixtures on regular grids."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import isfinite, prod
from operator import index
from typing import Any

import numpy as np

from gmengine.autograd import Primitive, Tensor
from gmengine.autograd.arrays import reshape
from gmengine.backend import Array, kernels
from gmengine.errors import ArgumentError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._flat import flat, named_component


def render(m: Mixture, box: Any, shape: Sequence[int]) -> Any:
    """Return the values f(x) = sum_i w_i N(x; mu_i, C_i) of mixtures at the cell centres of a regular grid.

    Cell (i_0, ..., i_{K-1}) has its centre at ``low + (i + 1/2) (high - low) / shape``. Array axis k is
    coordinate k: of a picture with x across and y down, ``shape = (width, height)``, and its transpose is what image
    libraries expect. A component ends where it has fallen to 2^-30 (float32) or 2^-60 (float64) of its
    own peak. So the values are those of `evaluate` up to less than the rounding of sum_i |w_i| N(mu_i; mu_i, C_i), but
    far tails are exactly 0; and time goes with the cells that components reach.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
    box : (low, high), each of K numbers
        Outer edges of the grid, in units of the means. A constant: no gradient flows to it.
    shape : K positive integers
        Number of cells along each coordinate.

    Returns
    -------
    array, shape (*batch, *shape)
        In units of weight per volume. Its sum times the cells' volume is close to the integral, if components are not
        small beside a cell and lie inside the box.

    Raises
    ------
    ShapeError
        If `low`, `high` or `shape` is not of length K.
    ArgumentError
        If a side of the box is not positive, a number of cells is not a positive integer, a cell's side is not a
        positive normal number of float64, or the box is a Tensor.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it. NonFiniteError also for the box.
    MemoryError
        If the result does not fit into memory.
    """
    cells = _check_shape(m, shape)
    low, high = _check_box(m, box)
    step = _steps(low, high, cells)
    item = np.dtype(str(m.dtype).rsplit(".", 1)[-1]).itemsize
    # Also an array without elements must be addressable but for its empty axes.
    size = prod(n for n in (*m.batch, *cells) if n) * item
    with named_component("render", m):
        try:
            if size > sys.maxsize:
                raise MemoryError
            (values,) = render_p(*flat(m), shape=cells, low=low, step=step)
        except MemoryError:
            without = "" if prod(m.batch) else ", its empty axes left out"
            raise MemoryError(
                f"render: a result of shape {(*m.batch, *cells)} needs {size:,} bytes{without}"
            ) from None
    return reshape(values, (*m.batch, *cells))


def _check_shape(m: Mixture, shape: Any) -> tuple[int, ...]:
    try:
        cells = tuple(index(n) for n in shape)
    except TypeError:
        raise ArgumentError(f"render: expected a shape of {m.dim} integers, got {shape!r}") from None
    if len(cells) != m.dim:
        raise ShapeError(f"render: expected a shape of {m.dim} integers, got {cells}")
    if min(cells) < 1:
        raise ArgumentError(f"render: expected at least one cell along every axis, got {cells}")
    return cells


def _check_box(m: Mixture, box: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the outer edges as Python floats."""
    if any(isinstance(part, Tensor) for part in (box, *(box if isinstance(box, list | tuple) else ()))):
        raise ArgumentError("render: the box is a constant, expected plain numbers, got a Tensor")
    try:
        low, high = (tuple(float(x) for x in edge) for edge in box)
    except (TypeError, ValueError):
        raise ShapeError(
            f"render: expected the box as (low, high), each of {m.dim} numbers, got {box!r}"
        ) from None
    if len(low) != m.dim or len(high) != m.dim:
        raise ShapeError(f"render: expected low and high of {m.dim} numbers, got {low} and {high}")
    if not np.all(np.isfinite([*low, *high])):
        raise NonFiniteError(f"render: the box from {low} to {high} is not finite")
    for k, (l, h) in enumerate(zip(low, high, strict=True)):
        if not l < h:
            raise ArgumentError(f"render: along axis {k} the box goes from {l} to {h}, expected low < high")
    return low, high


def _steps(low: tuple[float, ...], high: tuple[float, ...], cells: tuple[int, ...]) -> tuple[float, ...]:
    """Return the sides of a cell."""
    steps = []
    for k, (l, h, n) in enumerate(zip(low, high, cells, strict=True)):
        side = h - l
        steps.append(side / n if isfinite(side) else h / n - l / n)
        if not sys.float_info.min <= steps[-1] <= sys.float_info.max:
            raise ArgumentError(
                f"render: along axis {k} a cell's side, ({h} - {l}) / {n}, is {steps[-1]}, "
                "expected a positive normal number of float64"
            )
    return tuple(steps)


@Primitive
def render_p(
    weights: Array,
    means: Array,
    covariances: Array,
    *,
    shape: tuple[int, ...],
    low: tuple[float, ...],
    step: tuple[float, ...],
) -> Any:
    values, residuals = kernels("render", weights).forward(
        weights, means, covariances, shape=shape, low=low, step=step
    )
    return (values,), residuals


@render_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    return kernels("render", residuals[0]).vjp(residuals, *cotangents, needs)

"""What every optimiser asks of its arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.deferred import check
from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError


def check_number(
    op: str,
    field: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise ArgumentError, naming `op` and `field`, unless `value` is a finite number of the interval."""
    fits = (value > low if open_low else value >= low) and (value < high if open_high else value <= high)
    if not (math.isfinite(value) and fits):
        left, right = "(["[not open_low], ")]"[not open_high]
        raise ArgumentError(f"{op}: expected {field} in {left}{low:g}, {high:g}{right}, got {value!r}")


def check_updates(
    op: str, params: Mapping[str, Array], grads: Mapping[str, Array], look: bool = True
) -> None:
    """Raise unless `grads` has the keys, shapes and dtypes of `params` and, if told to `look`, is finite.

    Raises
    ------
    ArgumentError
        If a key is missing from `grads`, or it has one too many.
    ShapeError, DTypeError
        If a gradient does not look like its parameter.
    NonFiniteError
        If a gradient holds NaN or infinity; names the parameter.
    """
    check_same_keys(op, "gradients", grads, params)
    for name, p in params.items():
        g = grads[name]
        if tuple(g.shape) != tuple(p.shape):
            raise ShapeError(
                f"{op}: parameter {name!r} has shape {tuple(p.shape)}, its gradient {tuple(g.shape)}"
            )
        if g.dtype != p.dtype:
            raise DTypeError(f"{op}: parameter {name!r} is {p.dtype}, its gradient {g.dtype}")
    if look:
        check_finite(op, grads)


def check_finite(op: str, grads: Mapping[str, Array]) -> None:
    """Raise NonFiniteError naming the first gradient that holds NaN or infinity."""
    for name, g in grads.items():
        xp = namespace(g)
        if not bool(xp.all(xp.isfinite(g))):
            raise _not_finite(op, name)


def check_fault(op: str, grads: Mapping[str, Array], fault: Array) -> None:
    """Raise NonFiniteError naming the gradient whose place a GPU has left in `fault` (1,); see `deferred.check`."""
    names = list(grads)

    def judge(found: np.ndarray) -> None:
        if found[0] < len(names):
            raise _not_finite(op, names[found[0]])

    check(fault, judge)


def _not_finite(op: str, name: str) -> NonFiniteError:
    return NonFiniteError(f"{op}: the gradient of {name!r} holds NaN or infinity")


def check_same_keys(op: str, what: str, given: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    """Raise ArgumentError that names the keys `given` lacks or has too many."""
    missing = sorted(wanted.keys() - given.keys())
    extra = sorted(given.keys() - wanted.keys())
    if missing or extra:
        raise ArgumentError(
            f"{op}: {what} do not match the parameters: missing {missing}, unexpected {extra}"
        )

"""What fits refuse: numbers, shapes, masses, floors, and results that a dtype cannot hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gmengine.backend import Array, namespace, to_device
from gmengine.errors import ArgumentError, NonFiniteError, ShapeError
from gmengine.fitting._frame import Moments
from gmengine.mixture import Mixture

Namer = Callable[[tuple[int, ...]], str]
"""Says where an index of an array is in what the caller gave, such as ``[3, 0]``."""


def plainly(index: tuple[int, ...]) -> str:
    """Name an index of the caller's own array."""
    return str(list(index))


def require_finite(op: str, name: str, array: Array, where: Namer = plainly) -> None:
    """Raise NonFiniteError naming the first index at which `array` is NaN or infinite."""
    index = first_false(namespace(array).isfinite(array))
    if index is not None:
        raise NonFiniteError(f"{op}: {name}{where(index)} is {float(array[index])}")


def check_masses(op: str, name: str, masses: Array, where: Namer = plainly) -> None:
    """Raise unless every mass is finite and not negative."""
    require_finite(op, name, masses, where)
    index = first_false(masses >= 0)
    if index is not None:
        place = f"{name}{where(index)}"
        raise ArgumentError(f"{op}: expected {name} >= 0, got {place} = {float(masses[index])}")


def check_totals(op: str, name: str, totals: Array) -> None:
    """Raise unless the sums of the samples' masses (S,) are finite."""
    index = first_false(namespace(totals).isfinite(totals))
    if index is not None:
        raise NonFiniteError(f"{op}: the sum of {name}{list(index)} overflows")


def check_count(op: str, name: str, value: Any, least: int) -> int:
    """Return `value` as an int that is at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{op}: expected {name} to be an integer >= {least}, got {value!r}")
    return int(value)


def check_floors(op: str, covariance_floor: Any, samples: int) -> np.ndarray | None:
    """Return the floors as float64 (S,), None for None."""
    if covariance_floor is None:
        return None
    given = covariance_floor if np.isscalar(covariance_floor) else to_device(covariance_floor, "cpu")
    try:
        floors = np.broadcast_to(np.asarray(given, np.float64), (samples,))
    except ValueError:
        shape = np.shape(given)
        raise ShapeError(f"{op}: expected covariance_floor () or ({samples},), got {shape}") from None
    index = first_false((floors > 0) & np.isfinite(floors))
    if index is not None:
        raise ArgumentError(
            f"{op}: expected covariance_floor > 0 and finite, got {floors[index]} at {list(index)}"
        )
    return floors


def first_false(good: Array) -> tuple[int, ...] | None:
    """Return the index of the first False of a boolean array, None if there is none."""
    xp = namespace(good)
    if bool(xp.all(good)):
        return None
    flat = int(xp.argmin(xp.reshape(xp.astype(good, xp.int8), (-1,))))
    return tuple(int(i) for i in np.unravel_index(flat, tuple(good.shape)))


def to_mixture(op: str, moments: Moments, dtype: Any) -> Mixture:
    """Return float64 moments (S, N, ...) as mixtures of `dtype`, if that dtype can hold them."""
    xp = namespace(*moments)
    with np.errstate(over="ignore", under="ignore"):
        weights, means, covariances = (xp.astype(a, dtype, copy=False) for a in moments)
    dim = means.shape[-1]
    held = xp.isfinite(weights) & xp.all(xp.isfinite(means), axis=-1)
    for k in range(dim):
        held = held & (covariances[..., k, k] > 0) & xp.isfinite(covariances[..., k, k])
    index = first_false(held | (weights == 0))
    if index is not None:
        variances = [float(moments[2][(*index, k, k)]) for k in range(dim)]
        numbers = f"weight {float(moments[0][index]):.3g}, variances {variances}"
        raise NonFiniteError(
            f"{op}: {np.dtype(str(dtype)).name} cannot hold component {list(index)} ({numbers}); rescale the input"
        )
    return Mixture(weights, means, covariances)

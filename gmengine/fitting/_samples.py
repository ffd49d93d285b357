"""What every fit takes: samples of weighted points, checked once and handed to the kernels in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gmengine.backend import Array, float_dtype
from gmengine.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture

_RELATIVE_FLOOR = 1e-6  # of the squared side: float32 still inverts a covariance of that condition
_PIECE = 2**21  # coordinates per kernel call: bounds the memory of float64 copies and random numbers


@dataclass(frozen=True)
class Samples:
    """Points (S, P, K) with masses (S, P) and one covariance floor per sample (S,); already checked."""

    points: np.ndarray
    masses: np.ndarray
    floors: np.ndarray

    @property
    def dims(self) -> tuple[int, ...]:
        """K zeros: the kernels' compile-time dimension."""
        return (0,) * self.points.shape[2]

    def pieces(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (range of samples, points, masses, floors), the arrays as kernels are compiled for."""
        count, n_points, dim = self.points.shape
        step = max(1, _PIECE // max(1, n_points * dim))
        for start in range(0, count, step):
            part = slice(start, start + step)
            x, v, floors = (
                np.array(a[part], np.float64, order="C") for a in (self.points, self.masses, self.floors)
            )
            yield part, x, v, floors


def check_samples(op: str, points: Array, masses: Array, covariance_floor: Any) -> tuple[Samples, Any]:
    """Return the checked samples and the dtype of points and masses; errors begin with `op`."""
    points, masses = _numpy(op, "points", points), _numpy(op, "masses", masses)
    dtype = float_dtype(op, points=points, masses=masses)
    if points.ndim != 3 or points.shape[2] < 1 or masses.shape != points.shape[:2]:
        raise ShapeError(
            f"{op}: expected points (S, P, K) and masses (S, P), got {points.shape} and {masses.shape}"
        )
    require_finite(op, "points", points)
    check_masses(op, "masses", masses)
    return Samples(points, masses, _floors(op, points, masses, covariance_floor)), dtype


def check_masses(op: str, name: str, masses: np.ndarray) -> None:
    """Raise unless every mass is finite and not negative and no sample's total overflows."""
    require_finite(op, name, masses)
    if (masses < 0).any():
        index = _first(masses < 0)
        raise ArgumentError(f"{op}: expected {name} >= 0, got {name}{list(index)} = {masses[index]}")
    with np.errstate(over="ignore"):
        totals = masses.sum(axis=tuple(range(1, masses.ndim)), dtype=np.float64)
    if not np.isfinite(totals).all():
        raise NonFiniteError(f"{op}: the sum of {name}[{int(np.argmin(np.isfinite(totals)))}] overflows")


def require_finite(op: str, name: str, array: np.ndarray) -> None:
    """Raise NonFiniteError naming the first index at which `array` is NaN or infinite."""
    bad = ~np.isfinite(array)
    if bad.any():
        index = _first(bad)
        raise NonFiniteError(f"{op}: {name}{list(index)} is {array[index]}")


def check_count(op: str, name: str, value: Any, least: int) -> int:
    """Return `value` as an int that is at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{op}: expected {name} to be an integer >= {least}, got {value!r}")
    return int(value)


def to_mixture(op: str, arrays: tuple[np.ndarray, ...], dtype: Any) -> Mixture:
    """Return the float64 results of a kernel as a Mixture of `dtype`, if that dtype can hold them."""
    with np.errstate(over="ignore", under="ignore"):
        weights, means, covariances = (a.astype(dtype, copy=False) for a in arrays)
    variances = np.diagonal(covariances, axis1=-2, axis2=-1)
    held = (
        np.isfinite(weights) & np.isfinite(means).all(-1) & ((variances > 0) & np.isfinite(variances)).all(-1)
    )
    if not (held | (weights == 0)).all():
        index = _first(~(held | (weights == 0)))
        numbers = f"weight {arrays[0][index]:.3g}, variances {np.diagonal(arrays[2][index]).tolist()}"
        raise NonFiniteError(
            f"{op}: {np.dtype(dtype).name} cannot hold component {list(index)} ({numbers}); rescale the input"
        )
    return Mixture(weights, means, covariances)


def _floors(op: str, points: np.ndarray, masses: np.ndarray, covariance_floor: Any) -> np.ndarray:
    if covariance_floor is None:
        lit = (masses > 0)[:, :, None]
        low = np.min(points, axis=1, where=lit, initial=np.inf).astype(np.float64)
        high = np.max(points, axis=1, where=lit, initial=-np.inf).astype(np.float64)
        with np.errstate(over="ignore"):  # infinite sides are reported with the result
            side = np.max(high - low, axis=1)
            return _RELATIVE_FLOOR * np.where(side > 0, side, 1.0) ** 2
    try:
        floors = np.broadcast_to(np.asarray(covariance_floor, np.float64), points.shape[:1])
    except ValueError:
        shape = np.shape(covariance_floor)
        raise ShapeError(f"{op}: expected covariance_floor () or ({points.shape[0]},), got {shape}") from None
    if not ((floors > 0) & np.isfinite(floors)).all():
        index = _first(~((floors > 0) & np.isfinite(floors)))
        raise ArgumentError(
            f"{op}: expected covariance_floor > 0 and finite, got {floors[index]} at {list(index)}"
        )
    return floors


def _numpy(op: str, name: str, array: Array) -> np.ndarray:
    if isinstance(array, list | tuple):
        return np.asarray(array, np.float64)
    if not isinstance(array, np.ndarray):
        raise BackendError(
            f"{op}: expected {name} to be a NumPy array, got {type(array).__name__}; fits run on the CPU"
        )
    return array


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))

"""Padded samples, as `kmeans`, `em` and `fit_points` take them: checked and packed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.backend import Array, float_dtype, namespace
from gmengine.errors import BackendError, ShapeError
from gmengine.fitting._checks import check_floors, check_masses, check_totals, require_finite
from gmengine.fitting._sets import Sets


def check_samples(op: str, points: Array, masses: Array, covariance_floor: Any) -> tuple[Sets, Any]:
    """Return points (S, P, K) with masses (S, P) as checked sets, and their dtype; errors begin with `op`."""
    points, masses = as_array(op, "points", points), as_array(op, "masses", masses)
    dtype = float_dtype(op, points=points, masses=masses)
    xp = namespace(points, masses)
    if len(points.shape) != 3 or points.shape[2] < 1 or tuple(masses.shape) != tuple(points.shape[:2]):
        shapes = f"{tuple(points.shape)} and {tuple(masses.shape)}"
        raise ShapeError(f"{op}: expected points (S, P, K) and masses (S, P), got {shapes}")
    require_finite(op, "points", points)
    check_masses(op, "masses", masses)
    with np.errstate(over="ignore"):
        check_totals(op, "masses", xp.sum(xp.astype(masses, xp.float64), axis=1))
    samples, count, dim = points.shape
    flat = xp.reshape(points, (samples * count, dim)), xp.reshape(masses, (samples * count,))
    floors = check_floors(op, covariance_floor, samples)
    return Sets(*flat, count * np.arange(samples + 1, dtype=np.int64), floors), dtype


def as_array(op: str, name: str, array: Array) -> Array:
    """Return lists as float64 arrays, arrays as they are."""
    if isinstance(array, list | tuple):
        return np.asarray(array, np.float64)
    try:
        namespace(array)
    except BackendError:
        raise BackendError(
            f"{op}: expected {name} to be a NumPy or CuPy array, got {type(array).__name__}"
        ) from None
    return array

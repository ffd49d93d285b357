"""Random affine maps, drawn on the host in float64. A part that is off draws nothing."""

from __future__ import annotations

from math import log1p, pi
from typing import TYPE_CHECKING

import numpy as np

from gmengine.data._rotations import rotations

if TYPE_CHECKING:
    from gmengine.data.augment import Augmentation


def random_maps(
    augmentation: Augmentation, count: int, dim: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return maps s R F (I + linear G), (count, dim, dim), and shifts (count, dim) in units of extents, or None.

    `augmentation.check_dim` has approved of `dim`.
    """
    maps = np.broadcast_to(np.eye(dim), (count, dim, dim))
    if augmentation.linear:
        maps = maps + augmentation.linear * rng.standard_normal((count, dim, dim))
    if augmentation.reflect:
        signs = np.ones((count, dim))
        mirrored = ["xyz".index(axis) for axis in augmentation.reflect]
        signs[:, mirrored] -= 2.0 * (rng.random((count, len(mirrored))) < 0.5)
        maps = signs[:, :, None] * maps
    if augmentation.rotation:
        maps = _rotations(float(augmentation.rotation), augmentation.axis, count, dim, rng) @ maps
    if augmentation.scale:
        most = log1p(augmentation.scale)
        maps = np.exp(rng.uniform(-most, most, count))[:, None, None] * maps
    if not augmentation.shift:
        return maps, None
    return maps, rng.uniform(-augmentation.shift, augmentation.shift, (count, dim))


def _rotations(largest: float, axis: str, count: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    if dim == 3 and axis == "all" and largest == pi:
        return rotations(rng.standard_normal((count, 4)))  # all directions of a quaternion are equally likely
    angles = rng.uniform(-largest, largest, count)
    if dim == 2:
        cos, sin = np.cos(angles), np.sin(angles)
        return np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2)
    if axis == "all":
        directions = rng.standard_normal((count, 3))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    else:
        directions = np.broadcast_to(np.eye(3)["xyz".index(axis)], (count, 3))
    half = angles[:, None] / 2
    return rotations(np.concatenate([np.cos(half), np.sin(half) * directions], axis=-1))

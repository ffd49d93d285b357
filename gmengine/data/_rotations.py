"""Rotations as matrices and quaternions, and covariances as rotated axes: one description of each, by rule."""

from __future__ import annotations

import numpy as np

_LIKE = 1e-6  # magnitudes of coordinates of a unit vector closer than this count as equal


def rotations(quaternions: np.ndarray) -> np.ndarray:
    """Return the rotation matrices (N, 3, 3) of quaternions (N, 4), w x y z, of any length but 0."""
    q = quaternions / np.abs(quaternions).max(axis=-1, keepdims=True)  # nothing over- or underflows
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def quaternions(matrices: np.ndarray) -> np.ndarray:
    """Return the unit quaternions (N, 4), w x y z, of rotation matrices (N, 3, 3).

    Of q and -q, which are the same rotation, the one whose first coordinate that is not 0 is positive.
    """
    (a, b, c), (d, e, f), (g, h, i) = np.moveaxis(matrices, (-2, -1), (0, 1))
    outer = np.array(  # 4 q q^T
        [
            [1 + a + e + i, h - f, c - g, d - b],
            [h - f, 1 + a - e - i, b + d, c + g],
            [c - g, b + d, 1 - a + e - i, f + h],
            [d - b, c + g, f + h, 1 - a - e + i],
        ]
    )
    outer = np.moveaxis(outer, (0, 1), (-2, -1))
    longest = np.diagonal(outer, axis1=-2, axis2=-1).argmax(axis=-1)  # its row is far from 0
    q = outer[np.arange(len(outer)), longest]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return q * _sign_at(q, (np.abs(q) > _LIKE).argmax(axis=-1))


def principal_axes(covariances: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Return axes R (N, 3, 3), the columns of rotations, and lengths s (N, 3) with C = R diag(s^2) R^T.

    Lengths descend. The largest coordinate of the first two axes is positive, the first of those that are
    largest. Axes whose squared lengths are equal up to a rounding of `eps` are no property of C: of three the
    axes of space are taken, of two the projection of the axis of space that is farthest from the third, and
    what completes the rotation.
    """
    values, vectors = np.linalg.eigh(covariances)
    values, vectors = values[:, ::-1], vectors[:, :, ::-1]
    first, second, third = (_upright(vectors[:, :, k]) for k in range(3))
    alike = values[:, :-1] - values[:, 1:] <= 32 * eps * values[:, :-1]
    upper, lower = alike[:, :1], alike[:, 1:]
    second = np.where(lower, _across(first), second)
    side = _across(third)
    axes = np.stack(
        [
            np.where(upper, side, first),
            np.where(upper, np.cross(third, side), second),
            np.where(upper, third, np.cross(first, second)),
        ],
        axis=-1,
    )
    axes = np.where((upper & lower)[..., None], np.eye(3), axes)
    return axes, np.sqrt(values)


def _upright(vectors: np.ndarray) -> np.ndarray:
    size = np.abs(vectors)
    largest = (size >= size.max(axis=-1, keepdims=True) - _LIKE).argmax(axis=-1)
    return vectors * _sign_at(vectors, largest)


def _across(vectors: np.ndarray) -> np.ndarray:
    """Return unit vectors perpendicular to `vectors`, near the axis of space that is farthest from each."""
    size = np.abs(vectors)
    axis = (size <= size.min(axis=-1, keepdims=True) + _LIKE).argmax(axis=-1)
    near = np.eye(3)[axis] - vectors * np.take_along_axis(vectors, axis[:, None], axis=-1)
    return near / np.linalg.norm(near, axis=-1, keepdims=True)


def _sign_at(vectors: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.where(np.take_along_axis(vectors, index[:, None], axis=-1) < 0, -1.0, 1.0)

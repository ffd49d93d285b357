"""Solids that furniture is built of: closed triangle meshes in metres, z upwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gmengine.data.formats.mesh import Mesh

Span = tuple[float, float]
_CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
_CUBE_SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])[
    :, [0, 1, 2, 0, 2, 3]
].reshape(-1, 3)


def block(x: Span, y: Span, z: Span) -> Mesh:
    """Return the box that is as long in x, y and z as the three spans."""
    low, high = np.array([x, y, z], np.float64).T
    return Mesh(low + _CUBE * (high - low), _CUBE_SIDES)


def loft(rings: np.ndarray) -> Mesh:
    """Return the surface through closed rings of equally many points, (R, m, 3), with both ends closed."""
    count, m = rings.shape[:2]
    lower = np.arange((count - 1) * m).reshape(count - 1, m)
    right = np.roll(lower, -1, axis=1)
    sides = np.stack([lower, right, right + m, lower, right + m, lower + m], axis=-1).reshape(-1, 3)
    ends = rings[[0, -1]].mean(axis=1)
    first, last = (
        right[0],
        lower[0] + (count - 1) * m,
    )  # each turned so that it faces outwards as the sides do
    caps = [
        np.stack([ring, np.roll(ring, turn), np.full(m, count * m + k)], axis=1)
        for k, (ring, turn) in enumerate(((first, 1), (last, -1)))
    ]
    return Mesh(np.concatenate([rings.reshape(-1, 3), ends]), np.concatenate([sides, *caps]))


def outline(width: float, depth: float, corners: float = 2.0, sides: int = 24) -> np.ndarray:
    """Return a superellipse (sides, 2) around the origin: `corners` 2 is an ellipse, 8 nearly a rectangle."""
    angle = np.arange(sides) * (2 * np.pi / sides) + np.pi / sides
    cos, sin = np.cos(angle), np.sin(angle)
    radius = (np.abs(cos) ** corners + np.abs(sin) ** corners) ** (-1 / corners)
    return np.stack([radius * cos * width / 2, radius * sin * depth / 2], axis=1)


def stack(outlines: Sequence[np.ndarray], heights: Sequence[float]) -> Mesh:
    """Return the surface through outlines at their heights."""
    rings = [np.column_stack([one, np.full(len(one), z)]) for one, z in zip(outlines, heights, strict=True)]
    return loft(np.array(rings))


def slab(shape: np.ndarray, z: Span) -> Mesh:
    """Return the plate of an outline."""
    return stack([shape, shape], z)


def revolved(profile: Sequence[tuple[float, float]], sides: int = 20) -> Mesh:
    """Return the surface that a profile of (radius, z) sweeps around the z axis."""
    return stack(
        [outline(2 * max(r, 1e-4), 2 * max(r, 1e-4), 2.0, sides) for r, _ in profile], [z for _, z in profile]
    )


def rod(
    begin: Sequence[float], end: Sequence[float], radius: float, tip: float | None = None, sides: int = 8
) -> Mesh:
    """Return a round bar between two points; `tip` is its radius at the end. Four sides make it square."""
    start, axis = np.array(begin, np.float64), np.subtract(end, begin).astype(np.float64)
    other = np.eye(3)[np.abs(axis).argmin()]
    u = np.cross(axis, other)
    u /= np.sqrt((u**2).sum())
    v = np.cross(axis, u)
    v /= np.sqrt((v**2).sum())
    angle = np.arange(sides)[:, None] * (2 * np.pi / sides) + np.pi / sides
    circle = np.cos(angle) * u + np.sin(angle) * v
    return loft(np.stack([start + radius * circle, start + axis + (radius if tip is None else tip) * circle]))


def cushion(x: Span, y: Span, z: Span, roundness: float = 4.0) -> Mesh:
    """Return a box whose edges are round."""
    width, depth, height = (high - low for low, high in (x, y, z))
    levels = np.array([0.0, 0.15, 0.5, 0.85, 1.0])
    shrink = (1 - np.abs(2 * levels - 1) ** roundness * 0.25)[:, None, None]
    flat = outline(width, depth, roundness, 16)[None] * shrink + [sum(x) / 2, sum(y) / 2]
    heights = np.broadcast_to((z[0] + levels * height)[:, None, None], (len(levels), 16, 1))
    return loft(np.concatenate([flat, heights], axis=2))


def union(*meshes: Mesh) -> Mesh:
    """Return all surfaces as one mesh."""
    begin = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    triangles = [mesh.triangles + first for mesh, first in zip(meshes, begin, strict=False)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(triangles))


def moved(mesh: Mesh, x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> Mesh:
    """Return the mesh turned about the z axis, then shifted."""
    c, s = np.cos(turn), np.sin(turn)
    return Mesh(mesh.vertices @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + [x, y, z], mesh.triangles)


def tilted(mesh: Mesh, angle: float, y: float, z: float) -> Mesh:
    """Return the mesh turned about the line of all x through (y, z): positive angles lean backwards."""
    c, s = np.cos(angle), np.sin(angle)
    pivot = np.array([0, y, z])
    return Mesh(
        (mesh.vertices - pivot) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) + pivot, mesh.triangles
    )

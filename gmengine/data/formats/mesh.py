"""Triangle meshes, and points drawn from their surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gmengine.errors import ArgumentError, FileFormatError

_LARGEST = float(np.finfo(np.float32).max)  # points are drawn in float32


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh: vertices (V, 3) float64, finite; triangles (F, 3) int64, each in [0, V)."""

    vertices: np.ndarray
    triangles: np.ndarray


def checked_mesh(vertices: np.ndarray, triangles: np.ndarray, name: str) -> Mesh:
    """Return the mesh that a reader has found, if points can be drawn from it.

    Parameters
    ----------
    vertices : array, shape (V, 3)
        Numbers.
    triangles : array, shape (F, 3)
        Integers.
    name : str
        The file, as errors name it.

    Raises
    ------
    FileFormatError
        If a vertex is not finite or beyond float32, a corner is not in [0, V), or no triangle has an area.
    """
    vertices = check_vertices(vertices, name)
    triangles = np.asarray(triangles, np.int64).reshape(-1, 3)
    if not len(triangles):
        raise FileFormatError(f"{name}: no faces, hence no surface to draw points from")
    outside = (triangles < 0) | (triangles >= len(vertices))
    if outside.any():
        index, corner = divmod(int(outside.argmax()), 3)
        raise FileFormatError(
            f"{name}: triangle {index} refers to vertex {triangles[index, corner]} of {len(vertices)}"
        )
    mesh = Mesh(vertices, triangles)
    if not (relative_areas(mesh) > 0).any():
        raise FileFormatError(
            f"{name}: no triangle has an area, hence there is no surface to draw points from"
        )
    return mesh


def check_vertices(vertices: np.ndarray, name: str, what: str = "vertex") -> np.ndarray:
    """Return vertices or points (P, 3) as float64; FileFormatError names the first that float32 cannot hold."""
    vertices = np.asarray(vertices, np.float64).reshape(-1, 3)
    wrong = ~(np.abs(vertices) <= _LARGEST).all(axis=1)  # NaN compares as False
    if wrong.any():
        index = int(wrong.argmax())
        found = " ".join(f"{x:g}" for x in vertices[index])
        raise FileFormatError(f"{name}: {what} {index} is not a place in space: {found}")
    return vertices


def fan(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the triangles (F, 3) of polygons, each cut into those that its first corner spans with its edges.

    Parameters
    ----------
    corners : array, shape (total,)
        The corners of all polygons, one polygon after the other.
    sizes : array, shape (polygons,)
        Corners per polygon; a polygon of less than three has no area and gives no triangle.
    """
    corners, sizes = np.asarray(corners, np.int64), np.asarray(sizes, np.int64)
    count = np.maximum(sizes - 2, 0)
    first = np.repeat(np.cumsum(sizes) - sizes, count)
    # The k-th triangle of a polygon is (0, k + 1, k + 2).
    k = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([corners[first], corners[first + k + 1], corners[first + k + 2]], axis=1)


def relative_areas(mesh: Mesh) -> np.ndarray:
    """Return the triangles' areas, (F,), in a unit that keeps them from overflow and underflow.

    The unit belongs to the mesh: areas of one mesh may be compared, of different ones not.
    """
    corners = mesh.vertices[mesh.triangles]
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    extent = float((high / 2 - low / 2).max())
    if extent == 0:
        return np.zeros(len(corners))
    corners = (corners - (low / 2 + high / 2)) / extent
    sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.sqrt((sides**2).sum(axis=1))


def sample_surface(mesh: Mesh, n: int, rng: int | np.random.Generator) -> np.ndarray:
    """Return points (n, 3), float32, drawn independently and uniformly from the surface of `mesh`.

    A triangle is drawn with a probability proportional to its area, so one without an area never is; within
    it the point ``(1 - sqrt(r)) a + sqrt(r) (1 - s) b + sqrt(r) s c`` of uniform r, s is uniform (Osada et al.,
    Shape Distributions, 2002, eq. 1).

    Parameters
    ----------
    mesh : Mesh
        With at least one triangle of positive area.
    n : int
        Number of points.
    rng : int or Generator
        The same seed gives the same points.

    Raises
    ------
    ArgumentError
        If n is negative, or no triangle has an area.
    """
    return surface_points(mesh, n, rng).astype(np.float32)


def surface_points(mesh: Mesh, n: int, rng: int | np.random.Generator) -> np.ndarray:
    """Return the points of `sample_surface` in float64."""
    areas = relative_areas(mesh) if len(mesh.triangles) else np.zeros(0)
    usable = np.flatnonzero(areas > 0)
    if n < 0 or not len(usable):
        raise ArgumentError(f"sample_surface: expected n >= 0 and a mesh with a surface, got n = {n}")
    draws = np.random.default_rng(rng).random((int(n), 3))
    heights = np.cumsum(areas[usable])
    # The product may round up to the last height itself.
    drawn = np.minimum(np.searchsorted(heights, draws[:, 0] * heights[-1], side="right"), len(usable) - 1)
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles[usable[drawn]]], 1, 0)
    r, s = np.sqrt(draws[:, 1:2]), draws[:, 2:3]
    return (1 - r) * a + r * (1 - s) * b + r * s * c

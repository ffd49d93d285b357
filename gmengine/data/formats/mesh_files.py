"""Point clouds from files of meshes and of points, whatever their format."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from gmengine.data.formats._bytes import read_bytes
from gmengine.data.formats.mesh import Mesh, checked_mesh, fan, surface_points
from gmengine.data.formats.npy import read_npy
from gmengine.data.formats.obj import parse_obj
from gmengine.data.formats.off import parse_off
from gmengine.data.formats.ply import read_ply
from gmengine.data.formats.ragged import Ragged
from gmengine.data.formats.xyz import checked_points, parse_xyz, points_of_array
from gmengine.errors import ArgumentError, DataError, FileFormatError

_MOST_BYTES = 2**30  # of a text, after inflation
_BY_TRIMESH = (".stl", ".glb", ".gltf", ".dae", ".3mf")

INSTALL = "pip install 'gmengine[mesh]'"
"""What makes the formats available that trimesh reads."""


def _text(parse: Callable[[bytes, str], Any]) -> Callable[[Path], Any]:
    return lambda path: parse(read_bytes(path, _MOST_BYTES), os.fspath(path))


def _ply(path: Path) -> Mesh | np.ndarray:
    tables, name = read_ply(path), os.fspath(path)
    vertex = tables.get("vertex", {})
    columns = [vertex.get(axis) for axis in "xyz"]
    if not all(isinstance(column, np.ndarray) for column in columns):
        raise FileFormatError(f"{name}: expected an element vertex with the properties x, y, z")
    places = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    faces = tables.get("face", {})
    # Both names are in use; Turk's own files say vertex_indices.
    corners = faces.get("vertex_indices", faces.get("vertex_index"))
    if "tristrips" in tables or (corners is None and any(map(len, faces.values()))):
        raise FileFormatError(f"{name}: the only faces that are read are lists called vertex_indices")
    if corners is None or not len(corners):
        return checked_points(places, name)
    if not isinstance(corners, Ragged) or corners.values.dtype.kind not in "iu":
        raise FileFormatError(f"{name}: expected lists of integers as vertex_indices")
    return checked_mesh(places, fan(corners.values, corners.lengths), name)


def _by_trimesh(path: Path) -> Mesh | np.ndarray:
    try:
        trimesh = import_module("trimesh")
    except ImportError:
        raise DataError(f"{path}: {path.suffix} files are read by trimesh: {INSTALL}") from None
    name = os.fspath(path)
    os.stat(path)  # a missing file is not a damaged one
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
        vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    except (MemoryError, OSError):
        raise
    except ImportError as error:
        raise DataError(f"{name}: trimesh needs another package to read it: {error}") from None
    # What it raises on damaged bytes is almost anything.
    except Exception as error:
        raise FileFormatError(f"{name}: trimesh: {type(error).__name__}: {error}") from error
    return checked_mesh(vertices, faces, name)


_READERS: dict[str, Callable[[Path], Mesh | np.ndarray]] = {
    ".off": _text(parse_off),
    ".obj": _text(parse_obj),
    ".ply": _ply,
    ".xyz": _text(parse_xyz),
    ".txt": _text(parse_xyz),
    ".csv": _text(parse_xyz),
    ".npy": lambda path: points_of_array(read_npy(path), os.fspath(path)),
}

SUFFIXES = frozenset((*_READERS, *(f"{suffix}.gz" for suffix in _READERS), *_BY_TRIMESH))
"""The endings of files that `read_cloud` reads, in lower case."""


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Return the file's ending in lower case, with ``.gz`` as a part of it: ``scan.OFF.gz`` has ``.off.gz``."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    return "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])


def read_cloud(
    path: str | os.PathLike[str], points: int, rng: int | np.random.Generator, *, normalise: bool = False
) -> np.ndarray:
    """Return points (P, 3), float32, of a file of points or of a mesh; its ending decides how it is read.

    From the surface of a mesh `points` points are drawn (`mesh.sample_surface`). Of a cloud with more than
    that many, so many are chosen, in the file's order; of a smaller one, down to a single point, all are
    taken, as often as the file has them.

    Parameters
    ----------
    path : path-like
        With one of the `SUFFIXES`. PLY files may be either: without faces they are clouds.
    points : int
        Points at most.
    rng : int or Generator
        Chooses and draws; the same seed gives the same points.
    normalise : bool
        Move the centroid of the points to the origin and the farthest to distance 1, before anything is
        rounded to float32: see `unit_ball`.

    Raises
    ------
    ArgumentError
        If points is not a positive integer.
    FileFormatError
        If the file is damaged, has no point, no surface, or a place that float32 cannot hold; names it.
    DataError
        If the ending is unknown, or trimesh is needed and missing: says the command that installs it.
    OSError
        If the file is missing or cannot be read.
    """
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 1:
        raise ArgumentError(f"read_cloud: expected points to be a positive integer, got {points!r}")
    file, rng = Path(path), np.random.default_rng(rng)
    suffix = suffix_of(file)
    if suffix not in SUFFIXES:
        raise DataError(f"{file}: unknown ending {suffix!r}; known are {', '.join(sorted(SUFFIXES))}")
    found = _READERS.get(suffix.removesuffix(".gz"), _by_trimesh)(file)
    if isinstance(found, Mesh):
        chosen = surface_points(found, int(points), rng)
    elif len(found) > points:
        chosen = found[np.sort(rng.choice(len(found), int(points), replace=False, shuffle=False))]
    else:
        chosen = found
    return (unit_ball(chosen) if normalise else chosen).astype(np.float32)


def unit_ball(points: np.ndarray) -> np.ndarray:
    """Return points (P, 3) moved so that their mean is 0, and scaled so that the largest distance from it is 1.

    Points that are all in one place become 0.
    """
    if (points == points[0]).all():  # their mean may be another place, by rounding
        return np.zeros_like(points)
    centred = points - points.mean(axis=0)
    centred = centred / np.abs(centred).max()  # so that no square underflows
    return centred / np.sqrt((centred**2).sum(axis=1).max())

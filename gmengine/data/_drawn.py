"""Clouds drawn from meshes, each with random numbers of its own."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from gmengine.data.formats.mesh import Mesh, surface_points
from gmengine.data.formats.mesh_files import unit_ball
from gmengine.errors import ArgumentError


def seeded(seed: int, *key: str | int) -> np.random.Generator:
    """Return a generator that depends on `seed` and `key` alone: not on what else is drawn, or in which order."""
    digest = hashlib.blake2b(repr(key).encode(errors="surrogatepass"), digest_size=16).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])


def drawn_cloud(mesh: Mesh, points: int, rng: np.random.Generator) -> np.ndarray:
    """Return points (P, 3), float32, drawn from the surface; their mean is 0, the farthest is at distance 1."""
    return unit_ball(surface_points(mesh, points, rng)).astype(np.float32)


def check_count(function: str, name: str, value: Any, least: int) -> int:
    """Return `value` as an int; ArgumentError if it is no integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{function}: expected {name} to be an integer >= {least}, got {value!r}")
    return int(value)

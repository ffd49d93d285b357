"""Collections that are fitted in no time."""

from __future__ import annotations

import numpy as np

from gmengine.data import Collection
from gmengine.fitting import Clouds


def pictures(count: int = 200, seed: int = 0, name: str = "blobs") -> Collection:
    """Images of 5 x 5 pixels in three classes and parts; the sixth is blank."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 3, (count, 5, 5)).astype(np.float32)
    images[5:6] = 0
    labels, parts = rng.integers(0, 3, count), rng.integers(0, 3, count)
    return Collection(images, labels, ("a", "b", "ç"), parts, name, "drawn at random", "CC0")


def scatters(count: int = 70, seed: int = 0) -> Collection:
    """Plane point clouds of 3 to 12 points."""
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *rng.integers(3, 13, count)])
    points = rng.normal(size=(offsets[-1], 2)).astype(np.float32)
    labels, parts = rng.integers(0, 2, count), rng.integers(0, 3, count)
    return Collection(
        Clouds(points, offsets), labels, ("x", "y"), parts, "scatters", "drawn at random", "CC0"
    )


def contents(folder) -> dict[str, bytes]:
    """What is in a folder, but for hidden files."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.startswith(".")}

"""Images and point clouds to fit: real ones where they are installed, else seeded ones of the same kind."""

from __future__ import annotations

import numpy as np

from gmengine.data.collection import TEST
from gmengine.data.raw import RawData
from gmengine.errors import DataError


def images(count: int, *, seed: int = 0) -> tuple[str, np.ndarray]:
    """Return a name and images (count, 28, 28) in [0, 1]: Fashion-MNIST's test part, or blobs as large."""
    try:
        collection = RawData("fashion-mnist").collection()
    except DataError:
        return "blobs", _blobs(count, np.random.default_rng(seed))
    index = np.random.default_rng(seed).permutation(np.flatnonzero(collection.parts == TEST))[:count]
    return "fashion-mnist", np.asarray(collection.objects[index], np.float64)


def clouds(count: int, points: int, *, seed: int = 0) -> tuple[str, np.ndarray]:
    """Return a name and point clouds (count, points, 3): synthetic furniture, or boxes on legs as wide."""
    try:
        collection = RawData("synth-furniture").collection()
    except DataError:
        return "boxes", _boxes(count, points, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    enough = np.flatnonzero((collection.parts == TEST) & (collection.objects.sizes >= points))
    index = rng.permutation(enough)[:count]
    chosen = [collection.objects.one(int(i)) for i in index]
    return "synth-furniture", np.stack([one[rng.permutation(len(one))[:points]] for one in chosen]).astype(
        float
    )


def _blobs(count: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth shapes with texture; half of the pixels are above 0, as in Fashion-MNIST."""
    y, x = np.indices((28, 28)) - 13.5
    shapes = np.zeros((count, 28, 28))
    for _ in range(4):
        centre, radius = rng.uniform(-5.0, 5.0, (2, count, 1, 1)), rng.uniform(4.0, 9.0, (2, count, 1, 1))
        inside = ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2 < 1.0
        shapes = np.maximum(shapes, inside * rng.uniform(0.3, 0.9, (count, 1, 1)))
    return shapes * rng.uniform(0.8, 1.1, shapes.shape)


def _boxes(count: int, points: int, rng: np.random.Generator) -> np.ndarray:
    """Points on boards and legs, surfaces as those of furniture."""
    clouds = np.empty((count, points, 3))
    least = np.array([[0.5, 0.5, 0.03]] * 2 + [[0.04, 0.04, 0.4]] * 4)
    for cloud in clouds:
        sizes = rng.uniform(least, 2.0 * least)
        corners = rng.uniform(-0.5, 0.5, (6, 3))
        part = rng.choice(6, points, p=[0.3, 0.3, 0.1, 0.1, 0.1, 0.1])
        unit = rng.random((points, 3))
        unit[np.arange(points), rng.integers(0, 3, points)] = rng.integers(0, 2, points)
        cloud[:] = corners[part] + unit * sizes[part]
    return clouds

"""Fitting of images and point clouds; the unit is one object."""

from __future__ import annotations

import numpy as np

from bench.harness import Case
from gmengine import fitting


def cases(smoke: bool) -> list[Case]:
    """Digits-like images and clouds of points."""
    rng = np.random.default_rng(0)
    images = rng.random((4 if smoke else 1797, 8, 8)) * (rng.random((4 if smoke else 1797, 8, 8)) < 0.5)
    samples, count, n = (2, 50, 4) if smoke else (64, 1024, 64)
    points = rng.standard_normal((samples, count, 3))
    masses = np.ones((samples, count))
    return [
        Case(
            f"fit_images {len(images)}x8x8 -> 32",
            lambda: fitting.fit_images(images, 32),
            float(len(images)),
            "images",
        ),
        Case(
            f"fit_points {samples}x{count}, K=3 -> {n}",
            lambda: fitting.fit_points(points, masses, n, rng=0),
            float(samples),
            "clouds",
        ),
    ]

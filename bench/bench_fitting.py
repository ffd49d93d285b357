"""Fitting of images and point clouds; the unit is one object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gmengine as gm
from bench.harness import Case, Question
from bench.objects import clouds, images
from gmengine import fitting
from gmengine.fitting.quality import Quality, image_quality, quality


def cases(smoke: bool) -> list[Case]:
    """The embedded digits, and the paper's two inputs: images as 64 and clouds as 128 Gaussians."""
    rng = np.random.default_rng(0)
    count = 4 if smoke else 1797
    digits = rng.random((count, 8, 8)) * (rng.random((count, 8, 8)) < 0.5)
    found = [
        Case(f"fit_images {count}x8x8 -> 32", lambda: fitting.fit_images(digits, 32), float(count), "images")
    ]
    count, n = (2, 4) if smoke else (64, 64)
    name, pictures = images(count)
    found.append(
        Case(
            f"fit_images {name} {count}x28x28 -> {n}",
            lambda: fitting.fit_images(pictures, n),
            float(count),
            "images",
            Question("fit_images", (pictures, n), False),
            _of_images(pictures),
        )
    )
    count, points, many = (2, 50, 4) if smoke else (64, 1024, 128)
    kind, sets = clouds(count, points)
    found.append(
        Case(
            f"fit {kind} {len(sets)}x{points} points -> {many}",
            lambda: fitting.fit(sets, many),
            float(len(sets)),
            "clouds",
            Question("fit_clouds", (sets, many), False),
            lambda m: {"log_likelihood": _mean(quality(_mixture(m), sets, samples=0))},
        )
    )
    return found


def _of_images(pictures: np.ndarray) -> Callable[[Any], dict[str, float]]:
    """Log-likelihoods of pixels as squares and, as scikit-learn sees them, as points."""
    rows, columns = np.indices(pictures.shape[1:])
    centres = np.stack([columns.ravel(), rows.ravel()], -1).astype(np.float64)
    points = np.broadcast_to(centres, (len(pictures), *centres.shape))
    masses = pictures.reshape(len(pictures), -1)

    def values(found: Any) -> dict[str, float]:
        m = _mixture(found)
        report = image_quality(m, pictures)
        assert report.image is not None
        return {
            "log_likelihood": _mean(report),
            "log_likelihood_of_points": _mean(quality(m, points, masses, samples=0)),
            "rmse": float(report.image.rmse.mean()),
        }

    return values


def _mixture(found: Any) -> gm.Mixture:
    return found if isinstance(found, gm.Mixture) else gm.Mixture(*found)


def _mean(report: Quality) -> float:
    return float(np.mean(report.log_likelihood))

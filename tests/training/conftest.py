"""A data set small enough to train on in a blink, and the configuration that does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gmengine.data import Dataset, save_dataset
from gmengine.mixture import Mixture
from gmengine.training import RunConfig


def make_dots(per_class: int = 20, seed: int = 0) -> Dataset:
    """Three classes of six round dots each: on a line, on a circle, in a heap."""
    rng = np.random.default_rng(seed)
    t = np.arange(6) / 6
    shapes = np.stack(
        [
            np.stack([4 * t - 2, 0 * t], axis=-1),
            2 * np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], axis=-1),
            np.zeros((6, 2)),
        ]
    )
    labels = rng.permutation(np.repeat(np.arange(3), per_class))
    means = shapes[labels][:, None] + 0.2 * rng.normal(size=(len(labels), 1, 6, 2))
    weights = rng.uniform(0.5, 1.5, size=means.shape[:-1])
    mixtures = Mixture.isotropic(weights, means, 0.4)
    return Dataset(mixtures, labels, ("line", "ring", "heap"), "dots", "made by the tests", "CC0")


@pytest.fixture
def dots() -> Dataset:
    return make_dots()


@pytest.fixture
def store(tmp_path: Path, dots: Dataset) -> Path:
    """The data set in a file."""
    path = tmp_path / "dots.npz"
    save_dataset(path, dots)
    return path


@pytest.fixture
def config(store: Path) -> RunConfig:
    return RunConfig(dataset=str(store), layers="1/6 -> 4/3 -> 3", epochs=3, batch_size=10, lr=0.02)

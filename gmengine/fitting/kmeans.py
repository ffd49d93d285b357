"""Weighted k-means of many samples at once."""

from __future__ import annotations

from importlib import import_module
from math import log

import numpy as np

from gmengine.backend import Array
from gmengine.fitting._samples import Samples, check_count, check_samples, to_mixture
from gmengine.mixture import Mixture


def kmeans(
    points: Array,
    masses: Array,
    n_components: int,
    *,
    rng: int | np.random.Generator | None,
    covariance_floor: Array | float | None = None,
) -> tuple[Mixture, np.ndarray]:
    """Cluster every sample by weighted k-means; return the clusters' moments as mixtures, and the labels.

    Seeds come from greedy k-means++ (a point is drawn with probability proportional to mass times squared
    distance; of 2 + log N draws the best stays), then Lloyd's iteration runs until no label changes (300
    rounds at most). Ties go to the lowest index, where numbers within rounding count as equal. An empty
    cluster moves to the point of largest mass times squared distance to its own centre.

    Parameters
    ----------
    points : array, shape (S, P, K), float32 or float64
        S samples of P points, in any unit.
    masses : array, shape (S, P), dtype of `points`
        Not negative; a point of mass 0 does not exist.
    n_components : int
        N. A sample of fewer distinct points gets as many components as it has points, the rest are absent.
    rng : int, Generator or None
        Random numbers are drawn for sample after sample, so results do not depend on the number of threads.
    covariance_floor : float or array, shape (S,)
        Variance that every point has by itself; added to the covariances. By default 1e-6 of the squared
        longest side of the sample's box (of 1 where all points coincide).

    Returns
    -------
    mixture : Mixture, batch (S,), N components, dtype of `points`
        Weight: the cluster's mass; mean and covariance: those of its points, the covariance plus floor times
        I. Absent components: weight 0, mean 0, covariance I.
    labels : array, shape (S, P), int32
        Component of every point, -1 where the mass is 0.

    Raises
    ------
    ShapeError, DTypeError, BackendError
        If the arrays do not fit together.
    NonFiniteError
        Names the index of the first NaN or infinity.
    ArgumentError
        If a mass is negative (names its index), or n_components or covariance_floor is not positive.
    """
    n = check_count("kmeans", "n_components", n_components, 1)
    samples, dtype = check_samples("kmeans", points, masses, covariance_floor)
    *moments, labels = cluster(samples, n, np.random.default_rng(rng), em_steps=0)
    return to_mixture("kmeans", tuple(moments), dtype), labels


def cluster(samples: Samples, n: int, rng: np.random.Generator, em_steps: int) -> tuple[np.ndarray, ...]:
    """Cluster, then take EM steps; return weights, means and covariances (S, n, ...) and labels (S, P)."""
    kernel = import_module("gmengine.fitting._kernels").fit  # Numba and compiled code come with the first fit
    count, n_points, dim = samples.points.shape
    weights, means = np.empty((count, n)), np.empty((count, n, dim))
    covariances, labels = np.empty((count, n, dim, dim)), np.empty((count, n_points), np.int32)
    trials = 2 + int(log(n))
    for part, points, masses, floors in samples.pieces():
        uniforms = rng.random((len(floors), n, trials))
        out = (weights[part], means[part], covariances[part], labels[part])
        kernel(len(masses), points, masses, uniforms, em_steps, floors, *out, samples.dims)
    return weights, means, covariances, labels

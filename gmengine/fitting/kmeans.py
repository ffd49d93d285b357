"""Weighted k-means of many samples at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.fitting._checks import check_count, to_mixture
from gmengine.fitting._frame import Moments
from gmengine.fitting._methods import fit_sets, fitter
from gmengine.fitting._samples import check_samples
from gmengine.fitting._sets import Piece
from gmengine.fitting._starts import clusters
from gmengine.mixture import Mixture


def kmeans(
    points: Array,
    masses: Array,
    n_components: int,
    *,
    rng: int | np.random.Generator | None,
    covariance_floor: Array | float | None = None,
    init: str = "kmeans++",
) -> tuple[Mixture, Array]:
    """Cluster every sample by weighted k-means; return the clusters' moments as mixtures, and the labels.

    Seeds come from greedy k-means++ (a point is drawn with probability proportional to mass times squared
    distance; of 2 + log N draws the best stays) or are furthest points (the first point, then ever the one
    furthest from all seeds), then Lloyd's iteration runs until no label changes (300 rounds at most). Ties go to
    the lowest index, where numbers within rounding count as equal. An empty cluster moves to the point of
    largest mass times squared distance to the nearest centre.

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
        Added to the covariances: the variance that every point has by itself. By default 1e-6 of the squared
        longest side of the sample's box (of 1 where all points coincide), lest they collapse.
    init : {"kmeans++", "furthest"}
        Where to start.

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
        If a mass is negative (names its index), n_components or covariance_floor is not positive,
        or `init` is unknown.
    """
    n = check_count("kmeans", "n_components", n_components, 1)
    fitter("kmeans", "kmeans", init=init)
    samples, dtype = check_samples("kmeans", points, masses, covariance_floor)
    draw, labels = np.random.default_rng(rng).random, []

    def fit(piece: Piece, n: int, _: Any) -> Moments:
        moments, found = clusters(piece, n, draw, init)
        labels.append(found)
        return piece.leave(moments)

    moments = fit_sets("kmeans", samples, n, fit, np.random.default_rng(0))  # which `fit` leaves alone
    xp = namespace(samples.points)
    every = xp.concat(labels) if labels else xp.zeros(0, dtype=xp.int32)
    return to_mixture("kmeans", moments, dtype), xp.reshape(every, np.shape(masses))

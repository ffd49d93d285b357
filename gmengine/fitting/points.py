"""Weighted points to mixtures."""

from __future__ import annotations

import numpy as np

from gmengine.backend import Array
from gmengine.fitting._checks import check_count, to_mixture
from gmengine.fitting._methods import fit_sets, fitter
from gmengine.fitting._samples import check_samples
from gmengine.mixture import Mixture


def fit_points(
    points: Array,
    masses: Array,
    n_components: int,
    *,
    rng: int | np.random.Generator | None,
    em_steps: int = 1,
    covariance_floor: Array | float | None = None,
) -> Mixture:
    """Fit one mixture to every sample of weighted points: k-means, then EM steps (paper section 5).

    `gmengine.fit` does the same for ragged sets, by every method.

    Parameters
    ----------
    points : array, shape (S, P, K), float32 or float64
        S samples of P points, in any unit.
    masses : array, shape (S, P), dtype of `points`
        Not negative; a point of mass 0 does not exist, and a sample may consist of nothing else.
    n_components : int
        N. A sample of fewer distinct points gets as many components as it has points; the rest are absent:
        weight 0, mean 0, covariance I.
    rng : int, Generator or None
        Seeds the clusters; results do not depend on the number of threads.
    em_steps : int
        Steps of `em` after `kmeans`; the paper takes one.
    covariance_floor : float or array, shape (S,)
        Variance that every point has by itself. By default none: points are points, and 1e-6 of the squared
        longest side of the sample's box (of 1 where all points coincide) is added to variances only lest they
        collapse. See `em`.

    Returns
    -------
    Mixture, batch (S,), N components, dtype of `points`
        The weights sum to the sample's mass. Mean and covariance of the whole mixture are those of the
        points, the covariance plus floor times I.

    Raises
    ------
    ShapeError, DTypeError, BackendError, NonFiniteError, ArgumentError
        As `kmeans`.
    """
    n = check_count("fit_points", "n_components", n_components, 1)
    steps = check_count("fit_points", "em_steps", em_steps, 0)
    samples, dtype = check_samples("fit_points", points, masses, covariance_floor)
    fit = fitter("fit_points", "kmeans+em", steps=steps)
    return to_mixture(
        "fit_points", fit_sets("fit_points", samples, n, fit, np.random.default_rng(rng)), dtype
    )

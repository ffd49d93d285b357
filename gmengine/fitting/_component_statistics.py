"""What the components of fitted mixtures are like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gmengine.mixture import Mixture


@dataclass(frozen=True, eq=False)
class ComponentStatistics:
    """Statistics over the present components of every mixture; NaN where there is none (`live` is 0).

    With the shares p_s = w_s / sum w and the eigenvalues l_1 <= ... <= l_K of the covariance C_s:

    live : array of int64, shape (S,)
        Components that are present.
    smallest_share, largest_share : arrays, shape (S,)
        min and max of p_s.
    entropy : array, shape (S,)
        -sum_s p_s log p_s in nats; exp(entropy) components of equal weight would have as much.
    eigenvalue_ratios : array, shape (S, K - 1)
        exp of the mean over s of log(l_k / l_K), k = 1 ... K - 1: 1 for spheres; in 3-D (0, 1) is a disc and
        (0, 0) a needle.
    condition : array, shape (S,)
        max over s of l_K / l_1.
    smallest_sigma, largest_sigma : arrays, shape (S,)
        min over s of sqrt(l_1), max of sqrt(l_K), in units of the points.
    """

    live: np.ndarray
    smallest_share: np.ndarray
    largest_share: np.ndarray
    entropy: np.ndarray
    eigenvalue_ratios: np.ndarray
    condition: np.ndarray
    smallest_sigma: np.ndarray
    largest_sigma: np.ndarray


def component_statistics(mixture: Mixture) -> ComponentStatistics:
    """Return the statistics of mixtures of batch (S,), weights not negative, covariances positive definite."""
    count, dim = len(mixture), mixture.dim
    live = (mixture.weights != 0).sum(-1)
    numbers = np.full((6, count), np.nan)
    ratios = np.full((count, dim - 1), np.nan)
    for s in np.flatnonzero(live):
        weights, _, covariances = (a[s][mixture.weights[s] != 0] for a in mixture.arrays)
        p, l = weights / weights.sum(), np.linalg.eigvalsh(covariances)
        entropy = max(0.0, -float(np.sum(p * np.log(p))))
        condition = (l[:, -1] / l[:, 0]).max()
        numbers[:, s] = p.min(), p.max(), entropy, condition, np.sqrt(l[:, 0].min()), np.sqrt(l[:, -1].max())
        ratios[s] = np.exp(np.mean(np.log(l[:, :-1] / l[:, -1:]), axis=0))
    smallest, largest, entropies, conditions, thinnest, widest = numbers
    return ComponentStatistics(live, smallest, largest, entropies, ratios, conditions, thinnest, widest)

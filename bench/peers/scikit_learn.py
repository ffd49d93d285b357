"""scikit-learn: ``exp(score_samples)`` of the positive and of the negative part of each mixture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from sklearn.mixture import GaussianMixture

from gmengine import Mixture


def versions() -> dict[str, str]:
    return {"scikit-learn": sklearn.__version__}


def _estimator(weights: Any, means: Any, covariances: Any) -> GaussianMixture:
    found = GaussianMixture(len(weights), covariance_type="full")
    found.weights_, found.means_, found.covariances_ = weights / weights.sum(), means, covariances
    factors = np.linalg.inv(np.linalg.cholesky(covariances))
    found.precisions_cholesky_ = np.swapaxes(factors, -1, -2)
    return found


def evaluate(mixture: Mixture, points: Any, gradients: bool) -> Callable[[], Any] | None:
    if gradients:
        return None

    def one(weights: Any, means: Any, covariances: Any, x: Any) -> Any:
        total = np.zeros(len(x), x.dtype)
        for sign in (1, -1):
            part = weights * sign > 0
            if part.any():
                size = np.abs(weights[part])
                density = np.exp(_estimator(size, means[part], covariances[part]).score_samples(x))
                total += sign * size.sum() * density
        return total

    return lambda: np.stack([one(*rows) for rows in zip(*mixture.arrays, points, strict=True)])

"""scikit-learn: KMeans, then one step of GaussianMixture, object after object; the better form and schedule.

GaussianMixture has no weights of points. "one step" gives it back what it lacks, which users write themselves: KMeans
with ``sample_weight``, and an E- and an M-step of GaussianMixture whose responsibilities are multiplied by the weights.
"4000 points" is what the paper did: points drawn from the image's pixels, GaussianMixture(max_iter=1) on them.
"threads" leaves both cores to the libraries; "processes" gives each core a process of one thread (joblib).
Covariances get the floor that ours get.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import joblib
import numpy as np
import sklearn
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

FORMS = ("one step, processes", "one step, threads", "4000 points, processes")
_DRAWN = 4000
_PIXEL = 1.0 / 12.0

Fitted = tuple[np.ndarray, np.ndarray, np.ndarray]


def versions() -> dict[str, str]:
    return {"scikit-learn": sklearn.__version__, "joblib": joblib.__version__}


def fit_images(images: Any, n: int, gradients: bool, form: str, seed: int = 0) -> Callable[[], Any]:
    rows, columns = np.indices(images.shape[1:])
    centres = np.stack([columns.ravel(), rows.ravel()], -1).astype(np.float64)
    sets = [(centres, image.ravel(), _PIXEL) for image in images]
    fit = _weighted_step if form.startswith("one step") else _drawn_points
    return _scheduled(partial(fit, seed), sets, n, form)


def fit_clouds(points: Any, n: int, gradients: bool, form: str, seed: int = 0) -> Callable[[], Any] | None:
    if not form.startswith("one step"):
        return None
    sides = np.max(points.max(1) - points.min(1), axis=-1)
    sets = [(x, np.ones(len(x)), 1e-6 * s * s) for x, s in zip(points, sides, strict=True)]
    return _scheduled(partial(_weighted_step, seed), sets, n, form)


def _scheduled(fit: Callable[..., Fitted], sets: list[Any], n: int, form: str) -> Callable[[], Any]:
    if form.endswith("threads"):
        return lambda: _stacked(_several(fit, sets, n))
    workers = os.cpu_count() or 1
    parts = [sets[i::workers] for i in range(workers)]

    def run() -> Any:
        calls = (joblib.delayed(partial(_alone, fit))(part, n) for part in parts)
        found = joblib.Parallel(n_jobs=workers, max_nbytes=None)(calls)
        order: list[Any] = [None] * len(sets)
        for i, part in enumerate(found):
            order[i::workers] = part
        return _stacked(order)

    return run


def _stacked(found: list[Fitted]) -> tuple[np.ndarray, ...]:
    return tuple(np.stack(column) for column in zip(*found, strict=True))


def _alone(fit: Callable[..., Fitted], sets: list[Any], n: int) -> list[Fitted]:
    with threadpool_limits(1):
        return _several(fit, sets, n)


def _several(fit: Callable[..., Fitted], sets: list[Any], n: int) -> list[Fitted]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one step has not converged is what was asked for
        return [fit(*each, n) for each in sets]


def _weighted_step(seed: int, points: Any, weights: Any, floor: float, n: int) -> Fitted:
    x, v = points[weights > 0], weights[weights > 0]
    k = min(n, len(x))
    labels = KMeans(k, n_init=1, random_state=seed).fit(x, sample_weight=v).labels_
    shares = np.zeros((len(x), k))
    shares[np.arange(len(x)), labels] = v / v.mean()
    model = GaussianMixture(k, reg_covar=floor)
    model._initialize(x, shares)
    _, logs = model._e_step(x)
    model._m_step(x, logs + np.log(v)[:, None])
    return _filled(model, n, v.sum())


def _drawn_points(seed: int, points: Any, weights: Any, floor: float, n: int) -> Fitted:
    rng = np.random.default_rng(seed)
    drawn = points[rng.choice(len(points), _DRAWN, p=weights / weights.sum())]
    drawn = drawn + rng.uniform(
        -0.5, 0.5, drawn.shape
    )  # within its pixel, which takes the place of the floor
    model = GaussianMixture(n, max_iter=1, random_state=seed, reg_covar=1e-3 * floor).fit(drawn)
    return _filled(model, n, weights.sum())


def _filled(model: GaussianMixture, n: int, mass: float) -> Fitted:
    """Return the arrays of n components, the missing ones absent."""
    k, dim = model.means_.shape
    weights, means = np.zeros(n), np.zeros((n, dim))
    covariances = np.broadcast_to(np.eye(dim), (n, dim, dim)).copy()
    weights[:k] = mass * model.weights_ / model.weights_.sum()
    means[:k], covariances[:k] = model.means_, model.covariances_
    return weights, means, covariances

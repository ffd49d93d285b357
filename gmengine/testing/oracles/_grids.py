"""Sums over a grid, which know nothing of the algebra: they need values at points and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.signal import fftconvolve

from gmengine.testing.oracles._formulas import Triple, evaluate, present

Function = Callable[[Any], Any]

_STEP_OF_PRODUCTS = 0.6  # the product of two Gaussians is narrower by up to sqrt(2)


def grid_over(*mixtures: Triple, reach: float = 6.5, step: float = 0.9) -> tuple[Any, float]:
    """Return the points (P, K) of a grid over single mixtures, and the volume of its cells.

    It reaches `reach` standard deviations beyond all means, with `step` smallest standard deviations between
    points: the sum of a Gaussian over such a grid, times the volume, is its integral to about 1e-10.
    """
    dim = mixtures[0][1].shape[-1]
    low, high, smallest = np.full(dim, np.inf), np.full(dim, -np.inf), np.inf
    for weights, means, covariances in mixtures:
        for i in present(weights):
            variances = np.linalg.eigvalsh(np.float64(covariances[i]))
            margin = reach * np.sqrt(np.diag(np.float64(covariances[i])))
            low, high = np.minimum(low, means[i] - margin), np.maximum(high, means[i] + margin)
            smallest = min(smallest, float(np.sqrt(variances[0])))
    if smallest == np.inf:  # nothing to integrate
        return np.zeros((0, dim)), 0.0
    axes = [np.arange(a, b + step * smallest, step * smallest) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dim)
    return points, float((step * smallest) ** dim)


def integral_on_grid(f: Function, points: Any, volume: float) -> Any:
    """Return the integral of a function of points (P, K): the sum of its values over axis -1, times `volume`."""
    return np.sum(f(points), axis=-1) * volume


def product_on_grid(a: Triple, b: Triple) -> float:
    """Return the integral of f g of two mixtures from values on a grid; at most three dimensions."""
    points, volume = grid_over(a, b, step=_STEP_OF_PRODUCTS)
    return float(integral_on_grid(lambda x: evaluate(*a, x) * evaluate(*b, x), points, volume))


def l2_distance_on_grid(a: Triple, b: Triple) -> float:
    """Return the square root of the integral of (f - g)^2 from values on a grid."""
    points, volume = grid_over(a, b, step=_STEP_OF_PRODUCTS)
    return float(
        np.sqrt(integral_on_grid(lambda x: (evaluate(*a, x) - evaluate(*b, x)) ** 2, points, volume))
    )


def moments_on_grid(weights: Any, means: Any, covariances: Any) -> Triple:
    """Return the integrals of f, x f and x x^T f of one mixture from values on a grid."""
    points, volume = grid_over((weights, means, covariances))
    values = evaluate(weights, means, covariances, points) * volume
    return values.sum(), points.T @ values, np.einsum("pi,pj,p->ij", points, points, values)


def convolve_on_grid(data: Triple, kernel: Triple, radius: float, n: int) -> tuple[Any, Any]:
    """Return points ``(P, K)`` and values there of the convolution of two mixtures, from samples on a grid.

    Both functions are sampled at ``(2n + 1)^K`` points of [-radius, radius]^K and convolved by FFT; both must
    have died away at the border.
    """
    dim, axis = data[1].shape[-1], np.linspace(-radius, radius, 2 * n + 1)
    points = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    f, g = (evaluate(*m, points).reshape((len(axis),) * dim) for m in (data, kernel))
    values = fftconvolve(f, g, mode="same") * (axis[1] - axis[0]) ** dim
    return points, values.reshape(-1)

"""The matrix of every component's density at every point, with gradients: B P N numbers, for methods that solve."""

from __future__ import annotations

import math
from typing import NamedTuple

from gmengine.backend import Array, namespace
from gmengine.errors import NonFiniteError, NotPositiveDefinite

_LOG_LARGEST = 700.0


class Densities(NamedTuple):
    """Values A_pi = N(x_p; mu_i, C_i) (B, P, N), and the whitened y = L_i^-1 (x_p - mu_i), K arrays (B, P, N)."""

    values: Array
    whitened: list[Array]
    inverse: Array
    """L^-1 (B, N, K, K), for C = L L^T."""


def densities(means: Array, covariances: Array, points: Array) -> Densities:
    """Return the densities of components (B, N) at points (B, P, K)."""
    xp, dim = namespace(means), means.shape[-1]
    try:
        factor = xp.linalg.cholesky(covariances)
    except ValueError as error:  # numpy.linalg.LinAlgError is one
        raise NotPositiveDefinite("a covariance is not positive definite") from error
    inverse = xp.linalg.inv(factor)
    log_peaks = xp.sum(xp.log(xp.linalg.diagonal(inverse)), axis=-1) - 0.5 * dim * math.log(2.0 * math.pi)
    if not bool(xp.all(log_peaks < _LOG_LARGEST)):
        raise NonFiniteError("the density of a component is too large for float64")
    offsets = [points[..., :, None, k] - means[..., None, :, k] for k in range(dim)]
    whitened = []
    square = xp.zeros_like(offsets[0])
    for k in range(dim):
        y = inverse[..., None, :, k, 0] * offsets[0]
        for j in range(1, k + 1):
            y = y + inverse[..., None, :, k, j] * offsets[j]
        square = square + y * y
        whitened.append(y)
    return Densities(xp.exp(log_peaks[..., None, :] - 0.5 * square), whitened, inverse)


def densities_vjp(d: Densities, g: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of means, covariances and points from the cotangent g of the values.

    With H = g A, y = L^-1 (x - mu) and P = C^-1 = L^-T L^-1, from dA/dmu = A P (x - mu) = -dA/dx and
    dA/dC = A/2 (P (x - mu) (x - mu)^T P - P):

        g_mu_i = L_i^-T sum_p H_pi y_pi           g_x_p = -sum_i L_i^-T H_pi y_pi
        g_C_i  = 1/2 L_i^-T (sum_p H_pi (y_pi y_pi^T - I)) L_i^-1
    """
    xp, dim = namespace(g), len(d.whitened)
    h = g * d.values
    weighted = [h * y for y in d.whitened]
    first = xp.stack([xp.sum(s, axis=-2) for s in weighted], axis=-1)
    second = [[xp.sum(weighted[j] * d.whitened[k], axis=-2) for k in range(dim)] for j in range(dim)]
    total = xp.sum(h, axis=-2)[..., None, None] * xp.eye(dim, dtype=g.dtype)
    centred = xp.stack([xp.stack(row, axis=-1) for row in second], axis=-2) - total
    transposed = xp.matrix_transpose(d.inverse)
    g_means = (transposed @ first[..., None])[..., 0]
    g_covariances = 0.5 * (transposed @ centred @ d.inverse)
    g_points = []
    for j in range(dim):
        part = xp.sum(weighted[j] * d.inverse[..., None, :, j, j], axis=-1)
        for k in range(j + 1, dim):
            part = part + xp.sum(weighted[k] * d.inverse[..., None, :, k, j], axis=-1)
        g_points.append(-part)
    symmetric = 0.5 * (g_covariances + xp.matrix_transpose(g_covariances))
    return g_means, symmetric, xp.stack(g_points, axis=-1)

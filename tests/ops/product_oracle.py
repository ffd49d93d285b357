"""Inner products by loops over pairs, slow and obvious, and what their errors are relative to."""

from __future__ import annotations

import mpmath
import numpy as np

from gmengine.mixture import Mixture
from gmengine.testing import oracles


def pair_sum(a, b, weigh):
    """Return ``sum_ij weigh(w_i, v_j, mu_i - nu_j, C_i + D_j)`` over present components; batches broadcast."""
    batch = np.broadcast_shapes(a.batch, b.batch)
    a, b = (m.astype("float64").broadcast_to(batch) for m in (a, b))
    total = np.zeros(batch)
    for m in np.ndindex(*batch):
        for i in oracles.present(a.weights[m]):
            for j in oracles.present(b.weights[m]):
                shift = a.means[m][i] - b.means[m][j]
                covariance = a.covariances[m][i] + b.covariances[m][j]
                total[m] += weigh(a.weights[m][i], b.weights[m][j], shift, covariance)
    return total


def inner(a, b):
    """Return ``<a, b> = sum_ij w_i v_j N(mu_i; nu_j, C_i + D_j)``."""
    return pair_sum(a, b, lambda w, v, d, s: w * v * oracles.density(d, np.zeros_like(d), s))


def magnitude(a, b):
    """Return ``sum_ij |w_i v_j| N(0; 0, C_i + D_j)``: the unit of errors of inner products, never 0."""
    peaks = pair_sum(a, b, lambda w, v, d, s: abs(w * v) * oracles.density(0 * d, 0 * d, s))
    return np.where(peaks > 0, peaks, 1.0)


def table(a, b):
    """Return (inner, magnitude) of two single mixtures in one dimension: for many components."""
    variances = (a.covariances[:, None] + b.covariances)[..., 0, 0]
    peaks = a.weights[:, None] * b.weights / np.sqrt(2.0 * np.pi * variances)
    values = peaks * np.exp(-0.5 * (a.means[:, None] - b.means)[..., 0] ** 2 / variances)
    return np.sum(values), np.sum(np.abs(peaks))


def minus(a, b):
    """Return the components of a - b."""
    batch = np.broadcast_shapes(a.batch, b.batch)
    a, b = (m.broadcast_to(batch) for m in (a, b))
    parts = zip((a.weights, a.means, a.covariances), (-b.weights, b.means, b.covariances), strict=True)
    return Mixture(*(np.concatenate(pair, axis=len(batch)) for pair in parts))


def precise_inner(a, b, digits=60):
    """Return ``<a, b>`` of two single mixtures as an mpmath number, computed with `digits` digits."""
    with mpmath.workdps(digits):
        total = mpmath.mpf(0)
        for i in oracles.present(a.weights):
            for j in oracles.present(b.weights):
                d, s = _exact(a.means[i]) - _exact(b.means[j]), _exact(a.covariances[i])
                s = s + _exact(b.covariances[j])
                norm = mpmath.sqrt((2 * mpmath.pi) ** len(d) * mpmath.det(s))
                weight = mpmath.mpf(float(a.weights[i])) * mpmath.mpf(float(b.weights[j]))
                total += weight * mpmath.exp(-(d.T * mpmath.lu_solve(s, d))[0] / 2) / norm
        return total


def precise_distance(a, b, digits=60):
    """Return the distance of two single mixtures, computed with `digits` digits."""
    c = minus(a, b)
    with mpmath.workdps(digits):
        return float(mpmath.sqrt(precise_inner(c, c, digits)))


def _exact(array):
    return mpmath.matrix([[mpmath.mpf(float(x)) for x in np.atleast_1d(row)] for row in array])

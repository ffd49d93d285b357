"""From weights, means and covariances to the coefficients of the pair loops, and from their moments back.

All of it is linear in the number of components and done in float64, whatever the dtype of the mixture.
"""

import math

import numpy as np
from numba.cpython.unsafe.tuple import tuple_setitem

from gmengine.cpu._compile import helper
from gmengine.errors import NonFiniteError, NotPositiveDefinite

SOUND, NON_FINITE, NOT_DEFINITE = 0, 1, 2

# y.y = SCALE |L^-1 d|^2, so that 2^(-y.y) = exp(-1/2 d^T C^-1 d).
SCALE = 0.5 * math.log2(math.e)


@helper
def gather_present(weights, index):
    """List the present components (weight not 0; NaN counts as present) in `index`; return their number."""
    n = 0
    for j in range(weights.shape[0]):
        if weights[j] != 0.0:
            index[n] = j
            n += 1
    return n


@helper
def _is_finite(weights, means, covariances, j, K):
    finite = np.isfinite(weights[j])
    for k in range(K):
        finite &= np.isfinite(means[j, k])
        for m in range(K):
            finite &= np.isfinite(covariances[j, k, m])
    return finite


@helper
def _cholesky(covariances, j, K, tri):
    """Return the packed factor L of (C + C^T)/2 = L L^T with inverted diagonal, and whether C is definite."""
    factor, definite = tri, True
    for k in range(K):
        for m in range(k + 1):
            value = 0.5 * (float(covariances[j, k, m]) + float(covariances[j, m, k]))
            for i in range(m):
                value -= factor[k * (k + 1) // 2 + i] * factor[m * (m + 1) // 2 + i]
            if k == m:
                definite = definite and value > 0.0
                value = 1.0 / math.sqrt(value)
            else:
                value *= factor[m * (m + 1) // 2 + m]
            factor = tuple_setitem(factor, k * (k + 1) // 2 + m, value)
    return factor, definite


@helper
def _inverse_triangle(factor, K):
    """Return the packed L^-1 of what `_cholesky` returned."""
    inverse = factor
    for k in range(K):
        for m in range(k):
            value = 0.0
            for i in range(m, k):
                value += factor[k * (k + 1) // 2 + i] * inverse[i * (i + 1) // 2 + m]
            value *= -factor[k * (k + 1) // 2 + k]
            inverse = tuple_setitem(inverse, k * (k + 1) // 2 + m, value)
    return inverse


@helper
def prepare(weights, means, covariances, index, n, rows, peaks, mean, tri64):
    """Write mean and scaled L^-1 of the present components into `rows`, N(mu; mu, C) into `peaks`.

    Returns (fault, component): SOUND, or why the first faulty component is no Gaussian.
    """
    K, T = len(mean), len(tri64)
    for r in range(n):
        j = index[r]
        if not _is_finite(weights, means, covariances, j, K):
            return NON_FINITE, j
        factor, definite = _cholesky(covariances, j, K, tri64)
        if not definite:
            return NOT_DEFINITE, j
        inverse = _inverse_triangle(factor, K)
        peak = 1.0
        for k in range(K):
            rows[r, k] = means[j, k]
            peak *= inverse[k * (k + 1) // 2 + k] * (1.0 / math.sqrt(2.0 * math.pi))
        for p in range(T):
            rows[r, K + p] = inverse[p] * math.sqrt(SCALE)
        peaks[r] = peak
    return SOUND, 0


@helper
def add_component_gradient(rows, r, moments, start, h, g_mean, g_covariance, mean, tri64):
    """Add a component's mean gradient to `g_mean` (K,), and set its covariance gradient `g_covariance` (K, K).

    moments[r, start:] holds the sums over points of h_i y and h_i y y^T (packed) that `pair_slopes` gathers,
    `h` the sum of h_i. With d = x - mu and P = C^-1 = A^T A / SCALE:
    g_mean += sum h P d = A^T (sum h y) / SCALE, and
    g_covariance = 1/2 sum h (P d d^T P - P) = A^T (sum h y y^T / SCALE^2 - h / SCALE) A / 2.
    """
    K = len(mean)
    a, second = tri64, tri64
    for p in range(len(tri64)):
        a = tuple_setitem(a, p, float(rows[r, K + p]))
        second = tuple_setitem(second, p, moments[r, start + K + p] * (0.5 / SCALE**2))
    for k in range(K):
        p = k * (k + 1) // 2 + k
        second = tuple_setitem(second, p, second[p] - h * (0.5 / SCALE))
    for k in range(K):
        total = 0.0
        for u in range(k, K):
            total += a[u * (u + 1) // 2 + k] * moments[r, start + u]
        g_mean[k] += total * (1.0 / SCALE)
        for m in range(k + 1):
            value = 0.0
            for u in range(k, K):
                part = 0.0
                for v in range(m, K):
                    p = u * (u + 1) // 2 + v if v <= u else v * (v + 1) // 2 + u
                    part += second[p] * a[v * (v + 1) // 2 + m]
                value += a[u * (u + 1) // 2 + k] * part
            g_covariance[k, m] = value
            g_covariance[m, k] = value


def raise_faults(op, faults, covariances):
    """Raise NonFiniteError or NotPositiveDefinite for the first mixture with a fault; faults (M, 2)."""
    if not faults[:, 0].any():
        return
    m = int((faults[:, 0] != SOUND).argmax())
    code, n = (int(i) for i in faults[m])
    if code == NON_FINITE:
        raise NonFiniteError(f"{op}: component [{m}, {n}] has a number that is not finite")
    smallest = np.linalg.eigvalsh(covariances[m, n].astype(np.float64))[0]
    raise NotPositiveDefinite(
        f"{op}: covariance of component [{m}, {n}] is not positive definite, smallest eigenvalue {smallest:.3g}"
    )

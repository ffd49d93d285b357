"""From weights, means and covariances to the coefficients of the pair loops, and from their moments back.

All of it is linear in the number of components and done in float64, whatever the dtype of the mixture.
"""

import math

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._tuples import packed
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
def _is_finite(weights, means, covariances, j, mean):
    K = len(mean)
    finite = np.isfinite(weights[j])
    for k in range(K):
        finite &= np.isfinite(means[j, k])
        for m in range(K):
            finite &= np.isfinite(covariances[j, k, m])
    return finite


@helper
def _whitening(covariances, j, a, mean):
    """Write L^-1 of (C + C^T)/2 = L L^T into the lower triangle of `a` (K, K); return whether C is definite."""
    K = len(mean)
    definite = True
    for k in range(K):
        for m in range(k + 1):
            value = 0.5 * (float(covariances[j, k, m]) + float(covariances[j, m, k]))
            for i in range(m):
                value -= a[k, i] * a[m, i]
            if k == m:
                definite = definite and value > 0.0
                a[k, k] = 1.0 / math.sqrt(value)  # the diagonal is inverted as it is found
            else:
                a[k, m] = value * a[m, m]
    for k in range(K):  # in place: rows above k are inverted already
        for m in range(k):
            value = 0.0
            for i in range(m, k):
                value += a[k, i] * a[i, m]
            a[k, m] = -value * a[k, k]
    return definite


@helper
def prepare(weights, means, covariances, index, n, rows, peaks, like):
    """Write mean and scaled L^-1 of the present components into `rows`, N(mu; mu, C) into `peaks`.

    Returns (fault, component): SOUND, or why the first faulty component is no Gaussian.
    """
    mean = like[0]
    K = len(mean)
    a = np.empty((K, K))
    for r in range(n):
        j = index[r]
        if not _is_finite(weights, means, covariances, j, mean):
            return NON_FINITE, j
        if not _whitening(covariances, j, a, mean):
            return NOT_DEFINITE, j
        peak = 1.0
        for k in range(K):
            rows[r, k] = means[j, k]
            peak *= a[k, k] * (1.0 / math.sqrt(2.0 * math.pi))
            for m in range(k + 1):
                rows[r, K + packed(k, m)] = a[k, m] * math.sqrt(SCALE)
        peaks[r] = peak
    return SOUND, 0


@helper
def add_component_gradient(rows, r, moments, start, h, g_mean, g_covariance, work, mean):
    """Add a component's mean gradient to `g_mean` (K,), and set its covariance gradient `g_covariance` (K, K).

    moments[r, start:] holds the sums over points of h_i y and h_i y y^T (packed) that `pair_slopes` gathers, `h` the
    sum of h_i, `work` (3, K, K) is scratch. With d = x - mu and P = C^-1 = A^T A / SCALE:
    g_mean += sum h P d = A^T (sum h y) / SCALE, and
    g_covariance = 1/2 sum h (P d d^T P - P) = A^T (sum h y y^T / SCALE^2 - h / SCALE) A / 2.
    """
    a, inner, right = work[0], work[1], work[2]
    K = len(mean)
    for k in range(K):
        for m in range(k + 1):
            a[k, m] = rows[r, K + packed(k, m)]
            value = moments[r, start + K + packed(k, m)] * (0.5 / SCALE**2)
            inner[k, m] = inner[m, k] = value - h * (0.5 / SCALE) if k == m else value
    for m in range(K):
        total = 0.0
        for u in range(m, K):
            total += a[u, m] * moments[r, start + u]
        g_mean[m] += total * (1.0 / SCALE)
        for k in range(K):
            total = 0.0
            for u in range(m, K):
                total += inner[k, u] * a[u, m]
            right[k, m] = total
    for k in range(K):
        for m in range(k + 1):
            total = 0.0
            for u in range(k, K):
                total += a[u, k] * right[u, m]
            g_covariance[k, m] = g_covariance[m, k] = total


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

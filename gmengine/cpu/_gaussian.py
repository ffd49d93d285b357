"""From weights, means and covariances to the coefficients of the pair loops, and from their moments back.

All of it is linear in the number of components and done in float64, whatever the dtype of the mixture.
"""

import math

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._rows import read_row, read_symmetric, write_row, write_symmetric
from gmengine.cpu._tuples import (
    added,
    as_double,
    congruence,
    diagonal_product,
    dot,
    scaled,
    transposed_times,
    whitening,
)
from gmengine.errors import NonFiniteError, NotPositiveDefinite

SOUND, NON_FINITE, NOT_DEFINITE, OVERFLOW = 0, 1, 2, 3

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
    finite = np.isfinite(weights[j])
    for k in range(len(mean)):
        finite &= np.isfinite(means[j, k])
    for k in range(len(mean) ** 2):
        finite &= np.isfinite(covariances[j, k])
    return finite


@helper
def _fits(rows, value):
    return np.isfinite(rows.dtype.type(value))


@helper
def prepare(weights, means, covariances, index, n, rows, peaks, like):
    """Write mean and scaled L^-1 of the present components into `rows`, N(mu; mu, C) into `peaks`.

    covariances: (N, K K). Returns (fault, component): SOUND, or why the first faulty component is no Gaussian, or
    none that the dtype of `rows` can hold.
    """
    mean, tri, _ = like
    K = len(mean)
    for r in range(n):
        j = index[r]
        if not _is_finite(weights, means, covariances, j, mean):
            return NON_FINITE, j
        inverse, definite = whitening(read_symmetric(covariances, j, tri))
        if not definite:
            return NOT_DEFINITE, j
        write_row(rows, r, 0, read_row(means, j, 0, mean))
        write_row(rows, r, K, scaled(math.sqrt(SCALE), inverse))
        peaks[r] = diagonal_product(scaled(1.0 / math.sqrt(2.0 * math.pi), inverse))
        if not _fits(rows, weights[j] * peaks[r]) or not _fits(rows, dot(inverse, inverse)):
            return OVERFLOW, j
    return SOUND, 0


@helper
def write_component_gradient(rows, r, moments, start, h, point_part, g_means, g_covariances, i, like):
    """Set component i's gradients of its mean, `point_part` added, and of its covariance (N, K K).

    moments[r, start:] holds the sums over points of h_i y and h_i y y^T (packed) that `pair_slopes` gathers, `h` the
    sum of h_i. With d = x - mu and P = C^-1 = A^T A / SCALE, the gradient of the mean is
    sum h P d = A^T (sum h y) / SCALE, and that of the covariance
    1/2 sum h (P d d^T P - P) = A^T (sum h y y^T / SCALE^2 - h / SCALE) A / 2.
    """
    mean, tri, _ = like
    K = len(mean)
    a = as_double(read_row(rows, r, K, tri))
    first = read_row(moments, r, start, as_double(mean))
    second = read_row(moments, r, start + K, as_double(tri))
    of_mean = scaled(1.0 / SCALE, transposed_times(a, first))
    write_row(g_means, i, 0, added(of_mean, point_part))
    write_symmetric(g_covariances, i, congruence(a, scaled(0.5 / SCALE**2, second), h * (0.5 / SCALE)))


def raise_faults(op, faults, covariances):
    """Raise NonFiniteError or NotPositiveDefinite for the first mixture with a fault; faults (M, 2)."""
    if not faults[:, 0].any():
        return
    m = int((faults[:, 0] != SOUND).argmax())
    code, n = (int(i) for i in faults[m])
    if code == NON_FINITE:
        raise NonFiniteError(f"{op}: component [{m}, {n}] has a number that is not finite")
    if code == OVERFLOW:
        raise NonFiniteError(
            f"{op}: component [{m}, {n}] is too narrow: its value at its mean, or its precision, "
            "is beyond the range of the dtype"
        )
    smallest = np.linalg.eigvalsh(covariances[m, n].astype(np.float64))[0]
    raise NotPositiveDefinite(
        f"{op}: covariance of component [{m}, {n}] is not positive definite, smallest eigenvalue {smallest:.3g}"
    )

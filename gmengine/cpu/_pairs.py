"""The two loops over all pairs of a point and a component; everything quadratic in gmengine happens here.

A component is one row of coefficients: its mean, its scaled whitening matrix A (packed lower triangle), and one
amplitude or two. With y = A (x - mean) its density falls as 2^(-y.y), because A = sqrt(log2(e) / 2) L^-1
and C = L L^T. Whitening costs as many operations as the quadratic form d^T C^-1 d, but its rounding error
grows only with the square root of the condition number of C, which is what lets float32 hold 1e4.

Points are taken in blocks of up to LANES; the innermost loop runs over the points of a block, so that a
vector register holds one quantity for 16 points (AVX-512, float32) while the coefficients stay fixed. Sums over
components are moved to float64 after every CHUNK components, sums over points after every block.
"""

from numba.cpython.unsafe.tuple import tuple_setitem

from gmengine.cpu._compile import helper
from gmengine.cpu._exp2 import exp2

LANES = 320
CHUNK = 256
STEP = 16  # lanes are filled up to a multiple, so that no scalar remainder is left


@helper
def block_length(n_points):
    """Return the length of equal blocks that cover the points."""
    blocks = (n_points + LANES - 1) // LANES
    return (n_points + STEP * blocks - 1) // (STEP * blocks) * STEP if blocks else STEP


@helper
def load_points(points, start, stop, lanes):
    """Copy the points' coordinates into `lanes` (K, LANES); return the length, filled up with the last point."""
    length = (stop - start + STEP - 1) // STEP * STEP
    for k in range(lanes.shape[0]):
        for i in range(length):
            lanes[k, i] = points[min(start + i, stop - 1), k]
    return length


@helper
def _read(rows, j, start, like):
    values = like
    for k in range(len(like)):
        values = tuple_setitem(values, k, rows[j, start + k])
    return values


@helper
def _column(lanes, i, like):
    values = like
    for k in range(len(like)):
        values = tuple_setitem(values, k, lanes[k, i])
    return values


@helper
def _whiten(x, i, mu, a):
    """Return y = A (x_i - mu)."""
    y = mu
    p = 0
    for k in range(len(mu)):
        value = a[p] * (x[0, i] - mu[0])
        for m in range(1, k + 1):
            value += a[p + m] * (x[m, i] - mu[m])
        p += k + 1
        y = tuple_setitem(y, k, value)
    return y


@helper
def _density(y):
    """Return 2^(-y.y)."""
    t = -y[0] * y[0]
    for k in range(1, len(y)):
        t -= y[k] * y[k]
    return exp2(t)


@helper
def _dot(u, v):
    total = u[0] * v[0]
    for k in range(1, len(u)):
        total += u[k] * v[k]
    return total


@helper
def _add_scaled(total, factor, v):
    for k in range(len(total)):
        total = tuple_setitem(total, k, total[k] + factor * v[k])
    return total


@helper
def _add_outer(total, factor, y):
    """Return total + factor y y^T, packed; an empty total stays empty."""
    p = 0
    for k in range(len(y)):
        for m in range(k + 1):
            if p < len(total):
                total = tuple_setitem(total, p, total[p] + factor * y[k] * y[m])
            p += 1
    return total


@helper
def _add_values(sums, i, amplitudes, e):
    for s in range(len(amplitudes)):
        sums[s, i] += amplitudes[s] * e


@helper
def _values_of_chunk(rows, first, last, x, length, sums, mean, tri, amp):
    K, T = len(mean), len(tri)
    for j in range(first, last):
        mu, a, w = _read(rows, j, 0, mean), _read(rows, j, K, tri), _read(rows, j, K + T, amp)
        for i in range(length):
            _add_values(sums, i, w, _density(_whiten(x, i, mu, a)))


@helper
def pair_values(rows, n, x, length, sums, totals, mean, tri, amp):
    """Set totals[s, i] = sum_j amplitude_js 2^(-|A_j (x_i - mu_j)|^2) for the points in the lanes `x`.

    rows (N, K + T + S): coefficients, of which the first n components count; sums (S, LANES): scratch;
    totals (S, LANES) float64. mean, tri, amp: zeros of lengths K, T = K(K+1)/2 and S.
    """
    for s in range(len(amp)):
        totals[s, :length] = 0.0
    for first in range(0, n, CHUNK):
        for s in range(len(amp)):
            sums[s, :length] = 0
        _values_of_chunk(rows, first, min(first + CHUNK, n), x, length, sums, mean, tri, amp)
        for s in range(len(amp)):
            for i in range(length):
                totals[s, i] += sums[s, i]


@helper
def _add_slopes(sums, i, a, y, h, slope):
    """sums_i += h A^T y; nothing if `slope` is empty."""
    K = len(y)
    for k in range(len(slope)):
        total = sums[k, i]
        for m in range(k, K):
            total += a[m * (m + 1) // 2 + k] * (h * y[m])
        sums[k, i] = total


@helper
def _slopes_of_chunk(rows, first, last, x, g, length, sums, moments, mean, tri, amp, slope, order):
    K, T, S = len(mean), len(tri), len(amp)
    zeroth, first_order, second = order
    for j in range(first, last):
        mu, a, w = _read(rows, j, 0, mean), _read(rows, j, K, tri), _read(rows, j, K + T, amp)
        m0, m1, m2 = zeroth, first_order, second
        for i in range(length):
            y = _whiten(x, i, mu, a)
            e = _density(y)
            gi = _column(g, i, amp)
            h = e * _dot(gi, w)
            m0 = _add_scaled(m0, e, gi)
            m1 = _add_scaled(m1, h, y)
            m2 = _add_outer(m2, h, y)
            _add_slopes(sums, i, a, y, h, slope)
        for s in range(len(m0)):
            moments[j, s] += m0[s]
        for k in range(len(m1)):
            moments[j, S + k] += m1[k]
        for p in range(len(m2)):
            moments[j, S + K + p] += m2[p]


@helper
def pair_slopes(rows, n, x, g, length, sums, totals, moments, mean, tri, amp, slope, order):
    """Pull cotangents `g` (S, LANES) of `pair_values` back to points and components, in one pass over pairs.

    With e_ij = 2^(-y.y), y = A_j (x_i - mu_j) and h_ij = e_ij sum_s g_si amplitude_js:

    - totals[k, i] = (sum_j h_ij A_j^T y)_k, unless `slope` is empty (else zeros of length K),
    - moments[j] += (sum_i g_si e_ij, sum_i h_ij y, sum_i h_ij y y^T packed), unless `order`, a triple of zeros
      of lengths S, K and T, holds empty tuples.

    Lanes past the last point must have cotangent 0.
    """
    for k in range(len(slope)):
        totals[k, :length] = 0.0
    for first in range(0, n, CHUNK):
        for k in range(len(slope)):
            sums[k, :length] = 0
        last = min(first + CHUNK, n)
        _slopes_of_chunk(rows, first, last, x, g, length, sums, moments, mean, tri, amp, slope, order)
        for k in range(len(slope)):
            for i in range(length):
                totals[k, i] += sums[k, i]

"""The two loops over all pairs of a point and a component; everything quadratic in gmengine happens here.

A component is one row of coefficients: its mean, its scaled whitening matrix A (packed lower triangle), and one
amplitude or two. With y = A (x - mean) its density falls as 2^(-y.y), because A = sqrt(log2(e) / 2) L^-1
and C = L L^T. Whitening costs as many operations as the quadratic form d^T C^-1 d, but its rounding error
grows only with the square root of the condition number of C, which is what lets float32 hold 1e4.

Points are taken in blocks of up to LANES; the innermost loop runs over the points of a block, so that a
vector register holds one quantity for 16 points (AVX-512, float32) while the coefficients stay fixed. Sums over
components are moved to float64 after every CHUNK components, sums over points after every block.
"""

import numpy as np

from gmengine.cpu._blocks import block_values
from gmengine.cpu._compile import helper, zeros
from gmengine.cpu._exp2 import exp2
from gmengine.cpu._rows import LANES, read_lane, read_row, write_lane, write_row
from gmengine.cpu._tuples import (
    added,
    as_double,
    dot,
    lower_times,
    n_packed,
    outer,
    scaled,
    subtracted,
    transposed_times,
)

CHUNK = 256
STEP = 16  # lanes are filled up to a multiple, so that no scalar remainder is left


@helper
def block_range(n_points, s, slices):
    """Return (length, start, stop) of slice s: equal blocks cover the points, slices are runs of whole blocks."""
    blocks = max(1, (n_points + LANES - 1) // LANES)
    length = max(1, (n_points + STEP * blocks - 1) // (STEP * blocks)) * STEP
    blocks = (n_points + length - 1) // length
    return length, s * blocks // slices * length, min((s + 1) * blocks // slices * length, n_points)


def zeros_like_pairs(K, S, dtype):
    """Return zeros whose lengths and types tell kernels K, T = K (K + 1) / 2 and the number of amplitudes S."""
    return zeros(K, dtype), zeros(n_packed(K), dtype), zeros(S, dtype)


@helper
def lane_dtype(like):
    return np.array(like).dtype


@helper
def new_lanes(like):
    """Return uninitialised lanes (len(like), LANES) of the dtype of `like`."""
    return np.empty((len(like), LANES), lane_dtype(like))


@helper
def load_points(points, start, stop, lanes):
    """Copy the points' coordinates into `lanes` (K, LANES); return the length, filled up with the last point."""
    length = (stop - start + STEP - 1) // STEP * STEP
    for k in range(lanes.shape[0]):
        for i in range(length):
            lanes[k, i] = points[min(start + i, stop - 1), k]
    return length


@helper
def _whiten(x, i, mu, a):
    """Return y = A (x_i - mu)."""
    return lower_times(a, subtracted(read_lane(x, i, mu), mu))


@helper
def _density(y):
    """Return 2^(-y.y)."""
    return exp2(-dot(y, y))


@helper
def pair_values(rows, n, x, length, sums, totals, like):
    """Set totals[s, i] = sum_j amplitude_js 2^(-|A_j (x_i - mu_j)|^2) for the points in the lanes `x`.

    rows (N, K + T + S): coefficients, of which the first n components count; sums (S, LANES): scratch;
    totals (S, LANES) float64; like: see `zeros_like_pairs`.
    """
    S = len(like[2])
    for s in range(S):
        for i in range(length):
            totals[s, i] = 0.0
    for first in range(0, n, CHUNK):
        block_values(rows, first, min(first + CHUNK, n), x, length, sums, like)
        for s in range(S):
            for i in range(length):
                totals[s, i] += sums[s, i]


@helper
def _add_to_row(moments, j, start, values):
    wide = as_double(values)
    write_row(moments, j, start, added(read_row(moments, j, start, wide), wide))


@helper
def _slopes_of_chunk(rows, first, last, x, g, length, sums, moments, like, of_points, of_components):
    mean, tri, amp = like
    K, T, S = len(mean), len(tri), len(amp)
    for j in range(first, last):
        mu, a, w = read_row(rows, j, 0, mean), read_row(rows, j, K, tri), read_row(rows, j, K + T, amp)
        m0, m1, m2 = amp, mean, tri
        for i in range(length):
            y = _whiten(x, i, mu, a)
            e = _density(y)
            gi = read_lane(g, i, amp)
            hy = scaled(e * dot(gi, w), y)
            if len(of_components):
                m0 = added(m0, scaled(e, gi))
                m1 = added(m1, hy)
                m2 = added(m2, outer(hy, y, tri))
            if len(of_points):
                write_lane(sums, i, added(read_lane(sums, i, y), transposed_times(a, hy)))
        if len(of_components):
            _add_to_row(moments, j, 0, m0)
            _add_to_row(moments, j, S, m1)
            _add_to_row(moments, j, S + K, m2)


@helper
def pair_slopes(rows, n, x, g, length, sums, totals, moments, like, of_points, of_components):
    """Pull cotangents `g` (S, LANES) of `pair_values` back to points and components, in one pass over pairs.

    With e_ij = 2^(-y.y), y = A_j (x_i - mu_j) and h_ij = e_ij sum_s g_si amplitude_js:

    - totals[k, i] = (sum_j h_ij A_j^T y)_k, unless `of_points` is the empty tuple,
    - moments[j] += (sum_i g_si e_ij, sum_i h_ij y, sum_i h_ij y y^T packed), unless `of_components` is.

    Lanes past the last point must have cotangent 0.
    """
    K = len(like[0])
    for k in range(K):
        for i in range(length):
            totals[k, i] = 0.0
    for first in range(0, n, CHUNK):
        for k in range(K):
            for i in range(length):
                sums[k, i] = 0
        last = min(first + CHUNK, n)
        _slopes_of_chunk(rows, first, last, x, g, length, sums, moments, like, of_points, of_components)
        for k in range(K):
            for i in range(length):
                totals[k, i] += sums[k, i]

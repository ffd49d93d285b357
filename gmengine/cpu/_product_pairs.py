"""The loops over pairs of components of `cpu.product`, and the rows and lanes of components that they read.

A row is a component: mean, covariance (packed), weight; K + T + 1 numbers. In `_pairs` a row holds a whitening
matrix that serves all its pairs; here every pair has a factorisation of its own, because the sum of two
covariances is nobody's covariance.
"""

import math

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._exp2 import exp2
from gmengine.cpu._gaussian import SCALE
from gmengine.cpu._root_free import back_solved, half_solved, inverted, over_pivots, root_free
from gmengine.cpu._rows import read_lane, read_row, read_symmetric, write_lane, write_row
from gmengine.cpu._tuples import added, diagonal_product, dot, outer, scaled, subtracted

BLOCK = 64  # components in lanes at once; what belongs to them has to stay in the first-level cache
STEP = 8  # lanes are filled up to a multiple, so that no scalar remainder is left


@helper
def block_length(n):
    """Return the length of the equal blocks that n components are cut into."""
    blocks = max(1, (n + BLOCK - 1) // BLOCK)
    return max(1, (n + STEP * blocks - 1) // (STEP * blocks)) * STEP


@helper
def _coincide(a, p, b, q, i, like):
    """Return whether the i-th components of two mixtures have the same mean and covariance, bit for bit."""
    K = len(like[0])
    same = True
    for k in range(K):
        same &= a[1][p, i, k] == b[1][q, i, k]
    for k in range(K * K):
        same &= a[2][p, i, k] == b[2][q, i, k]
    return same


@helper
def write(rows, n, mixture, p, i, weight, like):
    mean, tri, _ = like
    write_row(rows, n, 0, read_row(mixture[1][p], i, 0, mean))
    write_row(rows, n, len(mean), read_symmetric(mixture[2][p], i, tri))
    rows[n, len(mean) + len(tri)] = weight


@helper
def combine(alpha, a, p, beta, b, q, factor, rows, like):
    """Write the components of factor (alpha a_p + beta b_q) into `rows` (N, K + T + 1); return their number.

    Components of the same number that coincide become one: their weights are subtracted before anything is rounded.
    """
    N, M = a[0].shape[1], b[0].shape[1]
    n = 0
    for i in range(max(N, M)):
        w = alpha * a[0][p, i] if i < N else 0.0
        v = beta * b[0][q, i] if i < M else 0.0
        if w != 0.0 and v != 0.0 and _coincide(a, p, b, q, i, like):
            w, v = w + v, 0.0
        if w != 0.0:
            write(rows, n, a, p, i, factor * w, like)
            n += 1
        if v != 0.0:
            write(rows, n, b, q, i, factor * v, like)
            n += 1
    return n


@helper
def new_rows(N, like):
    mean, tri, amp = like
    return np.empty((N, len(mean) + len(tri) + len(amp)))


@helper
def load(rows, first, last, means, covariances, like):
    """Copy components into lanes; return how many lanes are filled, from the last component on with that one."""
    mean, tri, _ = like
    length = (last - first + STEP - 1) // STEP * STEP
    for i in range(length):
        r = min(first + i, last - 1)
        write_lane(means, i, read_row(rows, r, 0, mean))
        write_lane(covariances, i, read_row(rows, r, len(mean), tri))
    return length


@helper
def values(rows, first, last, half, means, covariances, length, sums, like):
    """Set `sums` to sum_j w_j sqrt(det P) exp(-1/2 d^T P d), P = (C_i + D_j)^-1, for the components i in lanes.

    j runs over rows[first:last]; those below `half` count half.
    """
    mean, tri, _ = like
    K, T = len(mean), len(tri)
    for i in range(length):
        sums[0, i] = 0.0
    for j in range(first, last):
        nu, cov = read_row(rows, j, 0, mean), read_row(rows, j, K, tri)
        w = rows[j, K + T] * (0.5 if j < half else 1.0)
        for i in range(length):
            f = root_free(added(read_lane(covariances, i, tri), cov))
            z = half_solved(f, subtracted(read_lane(means, i, mean), nu))
            peak = math.sqrt(diagonal_product(f))
            sums[0, i] += w * peak * exp2(-SCALE * dot(z, over_pivots(f, z)))


@helper
def slopes(rows, n, means, covariances, length, zeroth, firsts, seconds, like):
    """Add what `values` adds, and the same sums of Pd and of Pd (Pd)^T - P packed, to three sets of lanes."""
    mean, tri, _ = like
    K, T = len(mean), len(tri)
    for j in range(n):
        nu, cov, w = read_row(rows, j, 0, mean), read_row(rows, j, K, tri), rows[j, K + T]
        for i in range(length):
            f = root_free(added(read_lane(covariances, i, tri), cov))
            z = half_solved(f, subtracted(read_lane(means, i, mean), nu))
            u = over_pivots(f, z)
            h = w * math.sqrt(diagonal_product(f)) * exp2(-SCALE * dot(z, u))
            y = back_solved(f, u)
            hy = scaled(h, y)
            zeroth[0, i] += h
            write_lane(firsts, i, added(read_lane(firsts, i, mean), hy))
            slope = subtracted(outer(hy, y, tri), scaled(h, inverted(f)))
            write_lane(seconds, i, added(read_lane(seconds, i, tri), slope))

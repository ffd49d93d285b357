# mypy: allow-untyped-defs, allow-incomplete-defs
"""The frame in which one sample is fitted: its own box, moved to the origin and scaled by a power of two.

Numbers far from 0 lose nothing, tolerances are relative, and results scale exactly with powers of two. In all
kernels `dims` is a tuple of K zeros: its length is a compile-time constant, so that loops over axes unroll.
Loops stand in place of array expressions because they compile in a fraction of the time.
"""

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def gather(points, masses, dims):
    """Return the points of positive mass in box coordinates, their shares of the mass, and how to go back."""
    K = len(dims)
    count, total = 0, 0.0
    for i in range(masses.size):
        if masses[i] > 0:
            count += 1
            total += masses[i]
    index = np.empty(count, np.int64)
    count = 0
    for i in range(masses.size):
        if masses[i] > 0:
            index[count] = i
            count += 1
    centre = np.zeros(K)
    side = 0.0
    for k in range(K):
        low, high = np.inf, -np.inf
        for i in index:
            low, high = min(low, points[i, k]), max(high, points[i, k])
        if index.size:
            centre[k] = 0.5 * low + 0.5 * high
            side = max(side, high - low)
    scale = 2.0 ** np.ceil(np.log2(side)) if side > 0 else 1.0
    x = np.empty((index.size, K))
    share = np.empty(index.size)
    for j in range(index.size):
        share[j] = masses[index[j]] / total
        for k in range(K):
            x[j, k] = (points[index[j], k] - centre[k]) / scale
    return x, share, index, centre, scale, total


@njit(cache=True, error_model="numpy")
def put_back(weights, means, covariances, floor, centre, scale, total, dims):
    """Leave the frame: add the floor, mirror the lower triangle; absent components get mean 0 and I."""
    K = len(dims)
    for s in range(weights.size):
        absent = not weights[s] > 0
        weights[s] = 0.0 if absent else weights[s] * total
        for k in range(K):
            means[s, k] = 0.0 if absent else means[s, k] * scale + centre[k]
            for m in range(k + 1):
                own = 1.0 if k == m else 0.0
                value = covariances[s, k, m] * scale * scale + own * floor
                covariances[s, k, m] = covariances[s, m, k] = own if absent else value

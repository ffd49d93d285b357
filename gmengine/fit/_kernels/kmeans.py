# mypy: allow-untyped-defs, allow-incomplete-defs
"""Weighted k-means of many small samples; every sample is one serial piece of work."""

import numpy as np
from numba import njit, prange

from gmengine.fit._kernels.frame import gather, put_back

_EPS = 2.220446049250313e-16
_COINCIDENT = 1e-24  # squared distance below which points count as one; the box has side 1
_MAX_LLOYD = 300


@njit(cache=True, error_model="numpy")
def _distance(x, i, centres, s, dims):
    total = 0.0
    for k in range(len(dims)):
        d = x[i, k] - centres[s, k]
        total += d * d
    return total


@njit(cache=True, error_model="numpy")
def _draw(chances, total, u):
    """Return the index at which the running sum of `chances` passes u times their `total`."""
    target = u * total
    running = 0.0
    last = 0
    for i in range(chances.size):
        if chances[i] > 0:
            last = i  # if rounding keeps the running sum from passing the target
            running += chances[i]
            if running > target:
                break
    return last


@njit(cache=True, error_model="numpy")
def _seed(x, share, uniforms, centres, dims):
    """Choose starting centres by greedy k-means++; return how many: no more than there are distinct points.

    A centre is drawn with probability proportional to mass times squared distance to the centres so far; of
    the draws uniforms[s, :] the one that leaves the smallest sum of these is kept, the first on ties.
    """
    count, (n, trials) = x.shape[0], uniforms.shape
    chances, nearest = np.empty(count), np.empty(count)
    for i in range(count):
        chances[i], nearest[i] = share[i], np.inf  # the first centre: by mass alone
    total = 1.0
    trial, best = np.empty(count), np.empty(count)
    for s in range(min(n, count)):
        lowest = np.inf
        for t in range(trials if s > 0 else 1):
            candidate = _draw(chances, total, uniforms[s, t])
            potential = 0.0
            for i in range(count):
                d = _distance(x, i, x, candidate, dims)
                trial[i] = min(nearest[i], d if d > _COINCIDENT else 0.0)
                potential += share[i] * trial[i]
            if potential < lowest * (1.0 - 64 * _EPS):
                lowest = potential
                trial, best = best, trial
                for k in range(len(dims)):
                    centres[s, k] = x[candidate, k]
        nearest, best = best, nearest
        total = 0.0
        for i in range(count):
            chances[i] = share[i] * nearest[i]
            total += chances[i]
        if not total > 0:
            return s + 1
    return min(n, count)


@njit(cache=True, error_model="numpy")
def _assign(x, centres, n, labels, distances, dims):
    """Label every point with its nearest centre, the lowest index on ties; return whether a label changed."""
    changed = False
    for i in range(x.shape[0]):
        label, limit, distance = 0, np.inf, np.inf
        for s in range(n):
            d = _distance(x, i, centres, s, dims)
            if d < limit:
                label, distance = s, d
                limit = d - 64 * _EPS * (d + np.sqrt(d))  # nearer than this by more than rounding
        changed |= labels[i] != label
        labels[i], distances[i] = label, distance
    return changed


@njit(cache=True, error_model="numpy")
def _reseed(share, n, labels, distances):
    """Give every empty cluster, by index, the point of largest mass times squared distance, first on ties."""
    filled = np.zeros(n, np.bool_)
    for i in range(labels.size):
        filled[labels[i]] = True
    changed = False
    for s in range(n):
        if filled[s]:
            continue
        farthest, largest = 0, -1.0
        for i in range(share.size):
            value = share[i] * distances[i]
            if value > largest * (1.0 + 64 * _EPS):
                farthest, largest = i, value
        labels[farthest], distances[farthest] = s, 0.0
        changed = True
    return changed


@njit(cache=True, error_model="numpy")
def _means(x, share, labels, weights, means, dims):
    for s in range(weights.size):
        weights[s] = 0.0
        for k in range(len(dims)):
            means[s, k] = 0.0
    for i in range(share.size):
        weights[labels[i]] += share[i]
        for k in range(len(dims)):
            means[labels[i], k] += share[i] * x[i, k]
    for s in range(weights.size):
        if weights[s] > 0:
            for k in range(len(dims)):
                means[s, k] /= weights[s]


@njit(cache=True, error_model="numpy")
def _covariances(x, share, labels, weights, means, covariances, dims):
    for s in range(weights.size):
        for k in range(len(dims)):
            for m in range(k + 1):
                covariances[s, k, m] = 0.0
    for i in range(share.size):
        s = labels[i]
        for k in range(len(dims)):
            for m in range(k + 1):
                covariances[s, k, m] += (
                    share[i] * (x[i, k] - means[s, k]) * (x[i, m] - means[s, m]) / weights[s]
                )


@njit(cache=True, error_model="numpy")
def _kmeans_sample(points, masses, uniforms, floor, weights, means, covariances, labels, dims):
    x, share, index, centre, scale, total = gather(points, masses, dims)
    for i in range(labels.size):
        labels[i] = -1
    for s in range(weights.size):
        weights[s] = 0.0
    if index.size > 0:
        n = _seed(x, share, uniforms, means, dims)
        own = np.empty(index.size, np.int64)
        for i in range(own.size):
            own[i] = -1
        distances = np.empty(index.size)
        for _ in range(_MAX_LLOYD):
            moved = _assign(x, means, n, own, distances, dims)
            moved |= _reseed(share, n, own, distances)
            if not moved:
                break
            _means(x, share, own, weights, means, dims)
        _covariances(x, share, own, weights, means, covariances, dims)
        for i in range(own.size):
            labels[index[i]] = own[i]
    put_back(weights, means, covariances, floor, centre, scale, total, dims)


@njit(parallel=True, cache=True, error_model="numpy")
def kmeans(points, masses, uniforms, floors, weights, means, covariances, labels, dims):
    """Fill `weights`, `means`, `covariances` and `labels` (-1 where the mass is 0) of every sample.

    Shapes: points (S, P, K), masses (S, P), uniforms (S, N, trials) in [0, 1), floors (S,), outputs
    (S, N, ...), labels (S, P). A cluster's covariance is that of its points plus floor times the identity.
    """
    for s in prange(points.shape[0]):
        _kmeans_sample(
            points[s],
            masses[s],
            uniforms[s],
            floors[s],
            weights[s],
            means[s],
            covariances[s],
            labels[s],
            dims,
        )

"""Weighted k-means and expectation maximisation (EM) of many small samples, each a serial piece of work.

A sample is moved to its own box's centre and scaled by a power of two to a box of side at most 1: numbers far
from 0 lose nothing, tolerances are relative, and results scale exactly with powers of two. `dims` is a tuple
of K zeros: its length is a compile-time constant. Loops stand in place of array expressions because they
compile in a fraction of the time.

Every point stands for a small Gaussian of covariance `floor` I, which is a part of the expected log densities
as well as of the covariances: an EM step never lowers sum_i v_i log sum_s w_s exp(E_i[log N(x; mu_s, C_s)]).
"""

from typing import Any

import numpy as np
from numba import njit

from gmengine.cpu._compile import threaded
from gmengine.cpu._exp2 import exp2

_EPS = 2.220446049250313e-16
_COINCIDENT = 1e-24  # squared distance below which points count as one; the box has side 1
_MAX_LLOYD = 300
_LOG2_E = 1.4426950408889634
_BLOCK = 64  # points whose responsibilities are held at a time

# No fastmath, said aloud because Numba hands a caller's flags down: LLVM keeps a scalar loop beside each
# vectorised one and chooses by the arrays' addresses, so that regrouped sums would differ from call to call.
# Python never calls these parts: leaving out their wrappers saves a quarter of the time to compile.
_OPTIONS: dict[str, Any] = {"fastmath": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_helper = njit(error_model="numpy", **_OPTIONS)


@_helper
def _gather(points, masses, dims):
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
    x = np.empty((K, index.size))  # one row per axis: loops over points vectorise
    share = np.empty(index.size)
    for j in range(index.size):
        share[j] = masses[index[j]] / total
        for k in range(K):
            x[k, j] = (points[index[j], k] - centre[k]) / scale
    return x, share, index, centre, scale, total


@_helper
def _enter(weights, means, covariances, floor, centre, scale, dims):
    """Bring a mixture into box coordinates: its covariances lose the floor, its weights sum to 1."""
    total = 0.0
    for s in range(weights.size):
        total += weights[s]
    for s in range(weights.size):
        if weights[s] > 0:
            weights[s] /= total
            for k in range(len(dims)):
                means[s, k] = (means[s, k] - centre[k]) / scale
                for m in range(k + 1):
                    own = floor if k == m else 0.0
                    covariances[s, k, m] = (covariances[s, k, m] - own) / scale / scale


@_helper
def _leave(weights, means, covariances, floor, centre, scale, total, dims):
    """Go back, the inverse of `_enter`; absent components get mean 0 and covariance I."""
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


@_helper
def _dot(a, b):
    """Sum the products in four strands, whose order is fixed and which run side by side."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    whole = a.size - a.size % 4
    for i in range(0, whole, 4):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
    for i in range(whole, a.size):
        s0 += a[i] * b[i]
    return (s0 + s1) + (s2 + s3)


@_helper
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


@_helper
def _seed(x, share, uniforms, centres, dims):
    """Choose starting centres by greedy k-means++; return how many: no more than there are distinct points.

    A centre is drawn with probability proportional to mass times squared distance to the centres so far; of
    the draws uniforms[s, :] the one that leaves the smallest sum of these is kept, the first on ties.
    """
    count, (n, trials) = share.size, uniforms.shape
    chances, nearest = np.empty(count), np.empty(count)
    for i in range(count):
        chances[i], nearest[i] = share[i], np.inf  # the first centre: by mass alone
    total = 1.0
    trial, best = np.empty(count), np.empty(count)
    for s in range(min(n, count)):
        lowest = np.inf
        for t in range(trials if s > 0 else 1):
            candidate = _draw(chances, total, uniforms[s, t])
            for i in range(count):
                d = 0.0
                for k in range(len(dims)):
                    d += (x[k, i] - x[k, candidate]) ** 2
                d = d if d > _COINCIDENT else 0.0
                trial[i] = d if d < nearest[i] else nearest[i]
            potential = _dot(share, trial)
            if potential < lowest * (1.0 - 64 * _EPS):
                lowest = potential
                trial, best = best, trial
                for k in range(len(dims)):
                    centres[s, k] = x[k, candidate]
        nearest, best = best, nearest
        total = lowest
        for i in range(count):
            chances[i] = share[i] * nearest[i]
        if not total > 0:
            return s + 1
    return min(n, count)


@_helper
def _assign(x, centres, n, labels, new, distances, reach, dims):
    """Label every point with its nearest centre, the lowest index on ties; return whether a label changed.

    Two passes over all pairs, because both vectorise: one finds the smallest distance, one the lowest index
    within rounding of it.
    """
    count = labels.size
    for i in range(count):
        distances[i] = np.inf
    for s in range(n):
        for i in range(count):
            d = 0.0
            for k in range(len(dims)):
                d += (x[k, i] - centres[s, k]) ** 2
            distances[i] = d if d < distances[i] else distances[i]
    for i in range(count):
        reach[i] = distances[i] + 64 * _EPS * (distances[i] + np.sqrt(distances[i]))
    for s in range(n - 1, -1, -1):
        for i in range(count):
            d = 0.0
            for k in range(len(dims)):
                d += (x[k, i] - centres[s, k]) ** 2
            new[i] = s if d <= reach[i] else new[i]
    changed = False
    for i in range(count):
        changed |= labels[i] != new[i]
        labels[i] = new[i]
    return changed


@_helper
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


@_helper
def _means(x, share, labels, weights, means, dims):
    weights[:] = 0.0
    means[:] = 0.0
    for i in range(share.size):
        weights[labels[i]] += share[i]
        for k in range(len(dims)):
            means[labels[i], k] += share[i] * x[k, i]
    for s in range(weights.size):
        if weights[s] > 0:
            for k in range(len(dims)):
                means[s, k] /= weights[s]


@_helper
def _covariances(x, share, labels, weights, means, covariances, dims):
    covariances[:] = 0.0
    for i in range(share.size):
        s = labels[i]
        for k in range(len(dims)):
            for m in range(k + 1):
                covariances[s, k, m] += (
                    share[i] * (x[k, i] - means[s, k]) * (x[m, i] - means[s, m]) / weights[s]
                )


@_helper
def _lloyd(x, share, uniforms, weights, means, covariances, labels, dims):
    """Cluster, and fill `labels` and the clusters' moments."""
    n = _seed(x, share, uniforms, means, dims)
    distances, reach, new = np.empty(share.size), np.empty(share.size), np.empty(share.size, np.int64)
    labels[:] = -1
    for _ in range(_MAX_LLOYD):
        moved = _assign(x, means, n, labels, new, distances, reach, dims)
        moved |= _reseed(share, n, labels, distances)
        if not moved:
            break
        _means(x, share, labels, weights, means, dims)
    _covariances(x, share, labels, weights, means, covariances, dims)


@_helper
def _whiten(cov, floor, factor, dims):
    """Fill `factor` with the inverse Cholesky factor F of C = cov + floor I (F C F^T = I); return log|F|."""
    K = len(dims)
    log_det = 0.0
    for k in range(K):
        for m in range(k + 1):
            value = cov[k, m] + (floor if k == m else 0.0)
            for j in range(m):
                value -= factor[k, j] * factor[m, j]
            # rounding may lose a positive pivot that is small beside the others, but never the floor
            factor[k, m] = np.sqrt(max(value, floor)) if k == m else value / factor[m, m]
    for m in range(K):
        factor[m, m] = 1.0 / factor[m, m]
        log_det += np.log(factor[m, m])
        for k in range(m + 1, K):
            value = 0.0
            for j in range(m, k):
                value -= factor[k, j] * factor[j, m]
            factor[k, m] = value / factor[k, k]
    return log_det


@_helper
def _prepare(weights, covariances, floor, factors, constants, dims):
    """Fill the constants of the base-2 log densities, and the factors F, of the present components."""
    for s in range(weights.size):
        if weights[s] > 0:
            log_det = _whiten(covariances[s], floor, factors[s], dims)
            trace = 0.0
            for k in range(len(dims)):
                for m in range(k + 1):
                    trace += factors[s, k, m] ** 2
            constants[s] = (np.log(weights[s]) + log_det - 0.5 * floor * trace) * _LOG2_E


@_helper
def _expect(x, share, begin, count, weights, means, factors, constants, shares, dims):
    """Fill shares[:, :count] with responsibility times mass of the points from `begin` on, by logarithms."""
    top, total = np.full(count, -np.inf), np.zeros(count)
    for s in range(weights.size):
        if weights[s] > 0:
            for i in range(count):
                square = 0.0
                for k in range(len(dims)):
                    whitened = 0.0
                    for m in range(k + 1):
                        whitened += factors[s, k, m] * (x[m, begin + i] - means[s, m])
                    square += whitened * whitened
                value = constants[s] - 0.5 * _LOG2_E * square
                shares[s, i] = value
                top[i] = value if value > top[i] else top[i]
    for s in range(weights.size):
        if weights[s] > 0:
            for i in range(count):
                shares[s, i] = exp2(shares[s, i] - top[i])
                total[i] += shares[s, i]
    for i in range(count):
        total[i] = share[begin + i] / total[i]
    for s in range(weights.size):
        if weights[s] > 0:
            for i in range(count):
                shares[s, i] *= total[i]


@_helper
def _em_step(x, share, weights, means, covariances, floor, dims):
    """One EM step in place. `covariances` stand without the floor, which is the covariance of every point.

    Moments are taken about the old means, from which the new ones differ by about a standard deviation at
    most: subtracting the squared shift cancels nothing that matters, and one pass over the points is enough.
    """
    n, K = weights.size, len(dims)
    factors, constants, shares = np.empty((n, K, K)), np.empty(n), np.empty((n, _BLOCK))
    zeroth, first, second = np.zeros(n), np.zeros((n, K)), np.zeros((n, K, K))
    _prepare(weights, covariances, floor, factors, constants, dims)
    for begin in range(0, share.size, _BLOCK):
        count = min(_BLOCK, share.size - begin)
        _expect(x, share, begin, count, weights, means, factors, constants, shares, dims)
        for s in range(n):
            for i in range(count if weights[s] > 0 else 0):
                zeroth[s] += shares[s, i]
                for k in range(K):
                    d = shares[s, i] * (x[k, begin + i] - means[s, k])
                    first[s, k] += d
                    for m in range(k + 1):
                        second[s, k, m] += d * (x[m, begin + i] - means[s, m])
    for s in range(n):
        weights[s] = zeroth[s] if zeroth[s] > 1e-300 else 0.0  # below, quotients lose their digits: absent
        if weights[s] > 0:
            for k in range(K):
                first[s, k] /= weights[s]
                means[s, k] += first[s, k]
                for m in range(k + 1):
                    covariances[s, k, m] = second[s, k, m] / weights[s] - first[s, k] * first[s, m]


@_helper
def _fit_sample(points, masses, uniforms, steps, floor, weights, means, covariances, labels, dims):
    x, share, index, centre, scale, total = _gather(points, masses, dims)
    labels[:] = -1
    if index.size == 0:
        weights[:] = 0.0
    elif uniforms.shape[0] > 0:
        own = np.empty(index.size, np.int64)
        _lloyd(x, share, uniforms, weights, means, covariances, own, dims)
        for i in range(own.size):
            labels[index[i]] = own[i]
    else:
        _enter(weights, means, covariances, floor, centre, scale, dims)
    for _ in range(steps if index.size > 0 else 0):
        _em_step(x, share, weights, means, covariances, floor / scale / scale, dims)
    _leave(weights, means, covariances, floor, centre, scale, total, dims)


@threaded
def fit(worker, workers, points, masses, uniforms, steps, floors, weights, means, covariances, labels, dims):
    """Fill `weights`, `means`, `covariances` and `labels` (-1 where the mass is 0) of every sample.

    Shapes: points (S, P, K), masses (S, P), uniforms (S, N, trials) in [0, 1), floors (S,), outputs
    (S, N, ...), labels (S, P). The clusters' moments are followed by `steps` EM steps. Without random
    numbers, uniforms (S, 0, 0), there is no clustering: the steps start from the mixtures given.
    """
    for s in range(worker, points.shape[0], workers):
        out = weights[s], means[s], covariances[s], labels[s]
        _fit_sample(points[s], masses[s], uniforms[s], steps, floors[s], *out, dims)

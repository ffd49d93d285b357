"""One step of expectation maximisation (EM) on the points of one sample, in its frame."""

import numpy as np

from gmengine.cpu._exp2 import exp2
from gmengine.cpu._fit_parts import exact

_LOG2_E = 1.4426950408889634
_LOG_2PI = 1.8378770664093453
BLOCK = 64  # points whose responsibilities are held at a time


@exact
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


@exact
def prepare(weights, covariances, floor, blurred, factors, constants, dims):
    """Fill the constants of the base-2 log densities, and the factors F, of the present components.

    With `blurred` the densities are those expected of points that are Gaussians of covariance floor I.
    """
    for s in range(weights.size):
        if weights[s] > 0:
            log_det = _whiten(covariances[s], floor, factors[s], dims)
            value = np.log(weights[s]) + log_det
            if blurred:
                trace = 0.0
                for k in range(len(dims)):
                    for m in range(k + 1):
                        trace += factors[s, k, m] ** 2
                value -= 0.5 * floor * trace
            constants[s] = value * _LOG2_E


@exact
def load(x, begin, block, dims):
    """Copy the points from `begin` on into block (K, BLOCK); return how many they are."""
    count = min(BLOCK, x.shape[1] - begin)
    for k in range(len(dims)):
        for i in range(count):
            block[k, i] = x[k, begin + i]
    return count


@exact
def expect(block, count, weights, means, factors, constants, shares, top, total, dims):
    """Fill shares[:, :count] with 2^(log density - top), of the block's points, and `total` with their sums."""
    for i in range(count):
        top[i], total[i] = -np.inf, 0.0
    for s in range(weights.size):
        if weights[s] > 0:
            for i in range(count):
                square = 0.0
                for k in range(len(dims)):
                    whitened = 0.0
                    for m in range(k + 1):
                        whitened += factors[s, k, m] * (block[m, i] - means[s, m])
                    square += whitened * whitened
                value = constants[s] - 0.5 * _LOG2_E * square
                shares[s, i] = value
                top[i] = value if value > top[i] else top[i]
    for s in range(weights.size):
        if weights[s] > 0:
            for i in range(count):
                shares[s, i] = exp2(shares[s, i] - top[i])
                total[i] += shares[s, i]


@exact
def _weigh(share, begin, count, weights, shares, top, total, rows):
    """Write responsibility times mass as rows (BLOCK, N); return the sum of mass times log2 density of the points.

    The density lacks the factor (2 pi)^(-K/2).
    """
    likelihood = 0.0
    for i in range(count):
        likelihood += share[begin + i] * (top[i] + np.log2(total[i]))
        total[i] = share[begin + i] / total[i]
    for s in range(weights.size):
        for i in range(count):
            rows[i, s] = shares[s, i] * total[i] if weights[s] > 0 else 0.0
    return likelihood


@exact
def _accumulate(block, count, rows, means, zeroth, first, second, dims):
    """Add the block's moments about the means (K, N). The loop over components vectorises, sums keep their order."""
    K = len(dims)
    for i in range(count):
        for s in range(zeroth.size):
            zeroth[s] += rows[i, s]
            for k in range(K):
                d = rows[i, s] * (block[k, i] - means[k, s])
                first[k, s] += d
                for m in range(k + 1):
                    second[k, m, s] += d * (block[m, i] - means[m, s])


@exact
def step(x, share, weights, means, covariances, floor, blurred, least, dims):
    """Take one EM step in place, unless the log-likelihood is below `least`; return the log-likelihood before it.

    `covariances` stand without the floor, which with `blurred` is the covariance of every point. The
    log-likelihood is the natural one per unit of mass. Moments are taken about the old means, from which the new
    ones differ by about a standard deviation at most: subtracting the squared shift cancels nothing that
    matters, and one pass over the points is enough.
    """
    n, K = weights.size, len(dims)
    factors, constants, shares = np.empty((n, K, K)), np.empty(n), np.empty((n, BLOCK))
    zeroth, first, second = np.zeros(n), np.zeros((K, n)), np.zeros((K, K, n))
    block, top, total, rows = np.empty((K, BLOCK)), np.empty(BLOCK), np.empty(BLOCK), np.empty((BLOCK, n))
    about = np.empty((K, n))
    for s in range(n):
        for k in range(K):
            about[k, s] = means[s, k]
    prepare(weights, covariances, floor, blurred, factors, constants, dims)
    likelihood = 0.0
    for begin in range(0, share.size, BLOCK):
        count = load(x, begin, block, dims)
        expect(block, count, weights, means, factors, constants, shares, top, total, dims)
        likelihood += _weigh(share, begin, count, weights, shares, top, total, rows)
        _accumulate(block, count, rows, about, zeroth, first, second, dims)
    likelihood = likelihood / _LOG2_E - 0.5 * K * _LOG_2PI
    if likelihood < least:
        return likelihood
    for s in range(n):
        weights[s] = zeroth[s] if zeroth[s] > 1e-300 else 0.0  # below, quotients lose their digits: absent
        for k in range(K):
            first[k, s] = first[k, s] / weights[s] if weights[s] > 0 else 0.0
            means[s, k] = means[s, k] + first[k, s] if weights[s] > 0 else 0.0
            for m in range(k + 1):
                value = second[k, m, s] / weights[s] - first[k, s] * first[m, s] if weights[s] > 0 else 0.0
                covariances[s, k, m] = covariances[s, m, k] = value
    return likelihood

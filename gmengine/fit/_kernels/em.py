# mypy: allow-untyped-defs, allow-incomplete-defs
"""Expectation maximisation of many small samples; every sample is one serial piece of work.

Every point stands for a small Gaussian of covariance `floor` I. With that covariance inside the expected log
densities as well as in the new covariances, a step never lowers the bound

    sum_i v_i log sum_s w_s exp(E_i[log N(x; mu_s, C_s)])
"""

import numpy as np
from numba import njit, prange

from gmengine.fit._kernels.frame import gather, put_back


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
def _prepare(weights, covariances, floor, factors, constants, dims):
    """Constants of the log densities, log w + log|F| - floor tr(F^T F) / 2, and the factors F."""
    for s in range(weights.size):
        constants[s] = -np.inf
        if weights[s] > 0:
            log_det = _whiten(covariances[s], floor, factors[s], dims)
            trace = 0.0
            for k in range(len(dims)):
                for m in range(k + 1):
                    trace += factors[s, k, m] ** 2
            constants[s] = np.log(weights[s]) + log_det - 0.5 * floor * trace


@njit(cache=True, error_model="numpy")
def _expect(x, i, means, factors, constants, shares, dims):
    """Fill `shares` with the responsibilities of the components for point i, computed in logarithms."""
    top = -np.inf
    for s in range(constants.size):
        shares[s] = constants[s]
        if constants[s] > -np.inf:
            for k in range(len(dims)):
                whitened = 0.0
                for m in range(k + 1):
                    whitened += factors[s, k, m] * (x[i, m] - means[s, m])
                shares[s] -= 0.5 * whitened * whitened
        top = max(top, shares[s])
    total = 0.0
    for s in range(constants.size):
        shares[s] = np.exp(shares[s] - top)
        total += shares[s]
    for s in range(constants.size):
        shares[s] /= total


@njit(cache=True, error_model="numpy")
def _em_step(x, share, weights, means, covariances, floor, dims):
    """One EM step in place. `covariances` stand without the floor, which is the covariance of every point.

    Moments are taken about the old means, from which the new ones differ by about a standard deviation at
    most: subtracting the squared shift cancels nothing that matters, and one pass over the points is enough.
    """
    n, K = weights.size, len(dims)
    factors, constants, shares = np.zeros((n, K, K)), np.empty(n), np.empty(n)
    zeroth, first, second = np.zeros(n), np.zeros((n, K)), np.zeros((n, K, K))
    _prepare(weights, covariances, floor, factors, constants, dims)
    for i in range(share.size):
        _expect(x, i, means, factors, constants, shares, dims)
        for s in range(n):
            r = shares[s] * share[i]
            if r == 0.0:
                continue
            zeroth[s] += r
            for k in range(K):
                d = r * (x[i, k] - means[s, k])
                first[s, k] += d
                for m in range(k + 1):
                    second[s, k, m] += d * (x[i, m] - means[s, m])
    for s in range(n):
        weights[s] = zeroth[s] if zeroth[s] > 1e-300 else 0.0  # below, quotients lose their digits: absent
        if weights[s] > 0:
            for k in range(K):
                first[s, k] /= weights[s]
                means[s, k] += first[s, k]
                for m in range(k + 1):
                    covariances[s, k, m] = second[s, k, m] / weights[s] - first[s, k] * first[s, m]


@njit(cache=True, error_model="numpy")
def _em_sample(points, masses, steps, floor, weights, means, covariances, dims):
    x, share, index, centre, scale, total = gather(points, masses, dims)
    K, present = len(dims), 0.0
    for s in range(weights.size):
        weights[s] = weights[s] if index.size > 0 else 0.0
        present += weights[s]
    for s in range(weights.size):
        if weights[s] > 0:
            weights[s] /= present
            for k in range(K):
                means[s, k] = (means[s, k] - centre[k]) / scale
                for m in range(k + 1):
                    own = floor if k == m else 0.0
                    covariances[s, k, m] = (covariances[s, k, m] - own) / scale / scale
    if index.size > 0:
        for _ in range(steps):
            _em_step(x, share, weights, means, covariances, floor / scale / scale, dims)
    put_back(weights, means, covariances, floor, centre, scale, total, dims)


@njit(parallel=True, cache=True, error_model="numpy")
def em(points, masses, steps, floors, weights, means, covariances, dims):
    """Replace every sample's mixture by the one after `steps` EM steps. Shapes as in `kmeans`."""
    for s in prange(points.shape[0]):
        _em_sample(points[s], masses[s], steps, floors[s], weights[s], means[s], covariances[s], dims)

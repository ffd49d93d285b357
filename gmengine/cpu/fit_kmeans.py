"""Weighted k-means of many samples at once; every sample is a serial piece of work."""

import numpy as np

from gmengine.cpu._compile import ready, threaded
from gmengine.cpu._fit_assign import assign, loosen, reseed
from gmengine.cpu._fit_parts import exact, gather
from gmengine.cpu._fit_seeding import furthest, plus_plus
from gmengine.errors import ArgumentError


def clusters(points, masses, offsets, frames, uniforms, rounds, furthest):
    """Return (weights, means, covariances, labels) of the clusters of every sample, in its frame.

    points (total, K), masses (total,), frames (S, K + 3) of `fit_em.frames`, all float64; sample s is
    points[offsets[s] : offsets[s + 1]]. Lloyd's iteration starts from the points that the random numbers
    uniforms (S, N, trials) in [0, 1) choose by greedy k-means++, or from furthest points, and takes at most
    `rounds` >= 1 assignments; `trials` may be 0 for furthest points alone. Weights (S, N) are shares of the
    sample's mass, covariances (S, N, K, K) those of the points about their mean; absent components are zeros.
    labels (total,) int32, -1 where the mass is 0.
    """
    (S, N, trials), K = uniforms.shape, points.shape[1]
    if not trials and not furthest:
        raise ArgumentError(
            "k-means++: expected at least one random number per centre, got uniforms of no trial"
        )
    weights, means, covariances = np.zeros((S, N)), np.zeros((S, N, K)), np.zeros((S, N, K, K))
    labels = np.full(len(points), -1, np.int32)
    given = (ready(a) for a in (points, masses, offsets, frames, uniforms))
    _cluster_all(S, *given, rounds, furthest, weights, means, covariances, labels, (0,) * K)
    return weights, means, covariances, labels


@exact
def _move(x, share, labels, weights, means, moves, dims):
    """Put every centre into the mean of its points, and fill how far it has moved."""
    old = means.copy()
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
        square = 0.0
        for k in range(len(dims)):
            square += (means[s, k] - old[s, k]) ** 2
        moves[s] = np.sqrt(square)


@exact
def _covariances(x, share, labels, weights, means, covariances, dims):
    for i in range(share.size):
        s = labels[i]
        if not weights[s] > 0:  # shares too small for float64: absent
            continue
        for k in range(len(dims)):
            for m in range(k + 1):
                covariances[s, k, m] += (
                    share[i] * (x[k, i] - means[s, k]) * (x[m, i] - means[s, m]) / weights[s]
                )
    for s in range(weights.size):
        for k in range(len(dims)):
            for m in range(k):
                covariances[s, m, k] = covariances[s, k, m]


@exact
def _lloyd(x, share, n, rounds, weights, means, covariances, labels, dims):
    """Cluster around the first n means, and fill `labels` and the clusters' moments."""
    upper, lower = np.full(share.size, np.inf), np.zeros(share.size)
    scratch, some = np.empty((len(dims) + 3, share.size)), np.empty(share.size, np.int64)
    moves = np.empty(weights.size)
    labels[:] = -1
    for _ in range(rounds):
        moved = assign(x, means, n, labels, upper, lower, scratch, some, dims)
        moved |= reseed(x, share, means, n, labels, upper, lower, dims)
        if not moved:
            break
        _move(x, share, labels, weights, means, moves, dims)
        loosen(moves, labels, upper, lower)
    _covariances(x, share, labels, weights, means, covariances, dims)


@threaded
def _cluster_all(
    worker,
    workers,
    points,
    masses,
    offsets,
    frames,
    uniforms,
    rounds,
    far,
    weights,
    means,
    covs,
    labels,
    dims,
):
    for s in range(worker, frames.shape[0], workers):
        begin, end = offsets[s], offsets[s + 1]
        x, share, index = gather(points[begin:end], masses[begin:end], frames[s], dims)
        if index.size == 0:
            continue
        n = furthest(x, means[s], dims) if far else plus_plus(x, share, uniforms[s], means[s], dims)
        own = np.empty(index.size, np.int64)
        _lloyd(x, share, n, rounds, weights[s], means[s], covs[s], own, dims)
        for i in range(own.size):
            labels[begin + index[i]] = own[i]

"""Which component of its set's mixture every point belongs to, and by how much."""

import numpy as np

from gmengine.cpu._compile import ready, threaded
from gmengine.cpu._fit_parts import gather
from gmengine.cpu._fit_step import BLOCK, expect, load, prepare


def responsibilities(points, masses, offsets, frames, floors, blurred, weights, means, covariances):
    """Return r (total, N): the E-step of `fit_em.steps`, whose arguments these are; rows of positive mass sum to 1.

    r_is = w_s exp(E_i[log N(x; mu_s, C_s)]) / (sum over s), without `blurred` w_s N(x_i; mu_s, C_s) / (sum);
    0 for absent components and points of mass 0.
    """
    result = np.zeros((len(points), weights.shape[1]))
    given = (ready(a) for a in (points, masses, offsets, frames, floors))
    mixtures = (ready(a) for a in (weights, means, covariances))
    _respond_all(len(weights), *given, bool(blurred), *mixtures, result, (0,) * points.shape[1])
    return result


@threaded
def _respond_all(
    worker,
    workers,
    points,
    masses,
    offsets,
    frames,
    floors,
    blurred,
    weights,
    means,
    covariances,
    result,
    dims,
):
    n, K = weights.shape[1], len(dims)
    factors, constants, shares = np.empty((n, K, K)), np.empty(n), np.empty((n, BLOCK))
    block, top, total = np.empty((K, BLOCK)), np.empty(BLOCK), np.empty(BLOCK)
    for s in range(worker, frames.shape[0], workers):
        begin, end, scale = offsets[s], offsets[s + 1], frames[s, K]
        x, _, index = gather(points[begin:end], masses[begin:end], frames[s], dims)
        floor = floors[s] / scale / scale
        prepare(weights[s], covariances[s], floor, blurred, factors, constants, dims)
        for first in range(0, index.size, BLOCK):
            count = load(x, first, block, dims)
            expect(block, count, weights[s], means[s], factors, constants, shares, top, total, dims)
            for i in range(count):
                for c in range(n):
                    if weights[s, c] > 0:
                        result[begin + index[first + i], c] = shares[c, i] / total[i]

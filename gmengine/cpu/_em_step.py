"""One step of EM that fits fewer components of one sign to many, blockwise; shared by `em` and `hem`.

Components are rows (w, mu, C packed) of float64 with positive weights; parents are some of them, given by their
positions; what is fitted to them starts from one parent each. `em.vjp` has the formulas. Likelihoods are in bits:
with A = sqrt(SCALE) L^-1, C_s = L L^T, the mean over x ~ i of log2 N(x; s) is, but for a constant,
peak_s - |A (mu_i - mu_s)|^2 - <A^T A, C_i>.

Components are taken in blocks, each in the lanes of vector registers; the shares of a block are all that is ever
held of the pairs. Blocks begin at multiples of 64, so that a block's part of a mask is whole words.
"""

from typing import Any, NamedTuple

import numpy as np

from gmengine.cpu._compile import helper, zeros
from gmengine.cpu._exp2 import exp2
from gmengine.cpu._gaussian import SCALE
from gmengine.cpu._pairs import STEP
from gmengine.cpu._rows import LANES, read_lane, read_row, write_lane, write_row
from gmengine.cpu._tuples import (
    added,
    congruence,
    diagonal_product,
    dot,
    lower_times,
    n_packed,
    outer,
    scaled,
    subtracted,
    whitening,
)

WORD = 64
SHARES = 1 << 15  # numbers that a block's shares may take: 256 kB
SMALLEST = np.finfo(np.float64).tiny
PIVOT, LIFT = 2.0**-51, 2.0**-50  # of a diagonal entry, and of the trace

# Columns of a component; the covariance begins at MU + K.
W, MU = 0, 1


class Scratch(NamedTuple):
    """What a step needs besides components, parents and results; S is the largest number of parents."""

    models: Any  # (S, K + 2 T + 2)  of a parent: mean, A, A^T A (off-diagonal entries doubled), peak, log2 w
    share: Any  # (S, block)        of each component of the block that a parent takes
    active: Any  # (S,)             the parents that some component of the block may join
    x: Any  # (K, LANES)            of the block: means,
    c: Any  # (T, LANES)            covariances,
    w: Any  # (LANES,)              weights,
    samples: Any  # (LANES,)        virtual points,
    top: Any  # (LANES,)            largest logarithm,
    total: Any  # (LANES,)          and sum of its exponentials


def zeros_like_components(K):
    """Return zeros whose lengths tell kernels K and T = K (K + 1) / 2."""
    return zeros(K, np.float64), zeros(n_packed(K), np.float64)


@helper
def block_length(parents):
    """Return how many components a block has: so many that the shares stay in the cache."""
    return max(WORD, min(LANES, SHARES // max(parents, 1) // WORD * WORD))


@helper
def new_scratch(parents, like):
    mean, tri = like
    K, T = len(mean), len(tri)
    return Scratch(
        np.empty((parents, K + 2 * T + 2)),
        np.empty((parents, block_length(parents))),
        np.empty(parents, np.int64),
        np.empty((K, LANES)),
        np.empty((T, LANES)),
        np.empty(LANES),
        np.empty(LANES),
        np.empty(LANES),
        np.empty(LANES),
    )


@helper
def prepare_parents(rows, parents, first, last, models, like):
    """Write the models of parents first, ..., last - 1."""
    mean, tri = like
    K, T = len(mean), len(tri)
    for s in range(first, last):
        j = parents[s]
        inverse, _ = whitening(read_row(rows, j, MU + K, tri))
        a = scaled(np.sqrt(SCALE), inverse)
        write_row(models, s, 0, read_row(rows, j, MU, mean))
        write_row(models, s, K, a)
        write_row(models, s, K + T, congruence(a, tri, -1.0))
        for k in range(K):
            for m in range(k):
                models[s, K + T + k * (k + 1) // 2 + m] *= 2.0
        models[s, K + 2 * T] = np.log2(diagonal_product(inverse))
        models[s, K + 2 * T + 1] = np.log2(rows[j, W])


@helper
def load_block(rows, start, stop, whole, t, like):
    """Copy components to the lanes; return their number, filled up with weightless copies of the last one.

    whole: the mass of the mixture, and how many virtual points it stands for.
    """
    mean, tri = like
    length = (stop - start + STEP - 1) // STEP * STEP
    for i in range(length):
        j = min(start + i, stop - 1)
        write_lane(t.x, i, read_row(rows, j, MU, mean))
        write_lane(t.c, i, read_row(rows, j, MU + len(mean), tri))
        t.w[i] = rows[j, W] if start + i < stop else 0.0
        t.samples[i] = whole[1] * (t.w[i] / whole[0])
    return length


@helper
def log_likelihood(x, c, i, mu, a, p, peak):
    """Return the mean over component i of log2 N(. ; parent), but for a constant."""
    mean, tri = mu, p
    y = lower_times(a, subtracted(read_lane(x, i, mean), mu))
    return peak - dot(y, y) - dot(p, read_lane(c, i, tri))


@helper
def _find_active(masks, first, last, word, length, active):
    """List in `active` the parents that some component of the block may join; return their number."""
    n = 0
    for s in range(first, last):
        bits = np.uint64(masks.shape[1] == 0)
        for b in range(min(masks.shape[1], (length + WORD - 1) // WORD)):
            bits |= masks[s, word + b]
        if bits:
            active[n] = s
            n += 1
    return n


@helper
def _forbid(masks, s, word, length, scores):
    """Set the scores to minus infinity where the mask has no bit."""
    for b in range(min(masks.shape[1], (length + WORD - 1) // WORD)):
        bits = masks[s, word + b]
        for i in range(min(WORD, length - b * WORD)):
            allowed = bits >> np.uint64(i) & np.uint64(1)
            scores[b * WORD + i] = scores[b * WORD + i] if allowed else -np.inf


@helper
def take_shares(first, last, masks, word, length, t, like):
    """Set t.share[r, i] to the share that parent t.active[r] takes of component i; return how many are active."""
    mean, tri = like
    K, T = len(mean), len(tri)
    n = _find_active(masks, first, last, word, length, t.active)
    for i in range(length):
        t.top[i], t.total[i] = -np.inf, 0.0
    for r in range(n):
        s, share = t.active[r], t.share[r]
        mu, a = read_row(t.models, s, 0, mean), read_row(t.models, s, K, tri)
        p, peak, log_w = read_row(t.models, s, K + T, tri), t.models[s, K + 2 * T], t.models[s, K + 2 * T + 1]
        for i in range(length):
            share[i] = log_w + t.samples[i] * log_likelihood(t.x, t.c, i, mu, a, p, peak)
        _forbid(masks, s, word, length, share)
        for i in range(length):
            t.top[i] = t.top[i] if t.top[i] > share[i] else share[i]
    for r in range(n):
        share = t.share[r]
        for i in range(length):
            share[i] = exp2(share[i] - t.top[i])
            t.total[i] += share[i]
    for i in range(length):
        t.total[i] = 1.0 / t.total[i]
    for r in range(n):
        share = t.share[r]
        for i in range(length):  # a lane that fills up the block may have no parent
            share[i] = share[i] * t.total[i] if t.w[i] > 0.0 else 0.0
    return n


@helper
def _moments(t, share, length, start, like):
    """Return mass, mean and the sum of rho_i (C_i + d d^T), rho_i = share_i w_i, d = mu_i - mean, of a block."""
    mean, tri = like
    x, c, w = t.x, t.c, t.w
    mass, first, second = 0.0, mean, tri
    for i in range(length):
        rho = share[i] * w[i]
        mass += rho
        first = added(first, scaled(rho, subtracted(read_lane(x, i, mean), start)))
    centre = added(start, scaled(1.0 / mass, first)) if mass >= SMALLEST else start
    for i in range(length):
        d = subtracted(read_lane(x, i, mean), centre)
        rho = share[i] * w[i]
        second = added(second, scaled(rho, added(outer(d, d, tri), read_lane(c, i, tri))))
    return mass, centre, second


@helper
def _merge(fitted, s, mass, centre, second, like):
    """Add the moments of a block to those of the blocks before it: masses, means, and sums about the means."""
    mean, tri = like
    K = len(mean)
    if mass < SMALLEST:
        return
    before = fitted[s, W]
    fitted[s, W] += mass
    part = mass / fitted[s, W]
    old = read_row(fitted, s, MU, mean)
    step = subtracted(centre, old)
    write_row(fitted, s, MU, added(old, scaled(part, step)))
    between = scaled(before * part, outer(step, step, tri))
    write_row(fitted, s, MU + K, added(read_row(fitted, s, MU + K, tri), added(second, between)))


@helper
def _is_definite(c, like):
    """Return whether every pivot of a packed covariance is more than rounding."""
    inverse, definite = whitening(c)
    for k in range(len(like[0])):
        q = k * (k + 3) // 2
        definite &= PIVOT * c[q] * inverse[q] * inverse[q] < 1.0
    return definite


@helper
def _keep_definite(fitted, s, like):
    """Add to the diagonal of a fitted covariance what rounding took, if it is no longer positive definite.

    The spread d d^T of two means that are 1e8 deviations apart drowns their covariances. What is added is a few
    2^-50 of the trace, less than the rounding of the moments themselves; gradients do not see it.
    """
    mean, tri = like
    K, trace = len(mean), 0.0
    for k in range(K):
        trace += fitted[s, MU + K + k * (k + 3) // 2]
    lift = LIFT * trace
    while lift < trace and not _is_definite(read_row(fitted, s, MU + K, tri), like):
        for k in range(K):
            fitted[s, MU + K + k * (k + 3) // 2] += lift
        lift *= 2.0


@helper
def em_step(rows, start, stop, whole, parents, first, last, masks, fitted, t, like):
    """Fit parents first, ..., last - 1 to components start, ..., stop - 1: write rows first, ... of `fitted`.

    whole: the mass of the mixture, and how many virtual points it stands for; masks: (parents, words) with a bit for
    each component that a parent may take, counted from `start`, or without words if it may take all. What is left
    without a mass that a float64 can hold stays at its parent with the least one.
    """
    mean, tri = like
    K = len(mean)
    prepare_parents(rows, parents, first, last, t.models, like)
    for s in range(first, last):
        for q in range(1 + K + len(tri)):
            fitted[s, q] = 0.0
    for begin in range(start, stop, t.share.shape[1]):
        end = min(begin + t.share.shape[1], stop)
        length = load_block(rows, begin, end, whole, t, like)
        n = take_shares(first, last, masks, (begin - start) // WORD, length, t, like)
        for r in range(n):
            s = t.active[r]
            mu = read_row(t.models, s, 0, mean)
            mass, centre, second = _moments(t, t.share[r], length, mu, like)
            _merge(fitted, s, mass, centre, second, like)
    for s in range(first, last):
        if fitted[s, W] < SMALLEST:
            write_row(fitted, s, MU, read_row(rows, parents[s], MU, mean))
            write_row(fitted, s, MU + K, read_row(rows, parents[s], MU + K, tri))
            fitted[s, W] = SMALLEST
        else:
            write_row(fitted, s, MU + K, scaled(1.0 / fitted[s, W], read_row(fitted, s, MU + K, tri)))
            _keep_definite(fitted, s, like)

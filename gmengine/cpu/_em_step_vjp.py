"""The way back through one step of EM, blockwise as `_em_step` (derivation: `em.vjp`).

The gradient of a symmetric matrix is packed with its off-diagonal entries doubled: (k, m) and (m, k) together.
"""

from typing import Any, NamedTuple

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._em_step import MU, WORD, W, load_block, prepare_parents, take_shares
from gmengine.cpu._gaussian import SCALE
from gmengine.cpu._rows import LANES, read_lane, read_row, write_lane, write_row
from gmengine.cpu._tuples import added, dot, lower_times, outer, scaled, subtracted, transposed_times

# Slopes are divided by masses. Those that would overflow are left out: those of the mean and covariance of an output
# lighter than this, and of the weight of such a parent.
_LEAST = 1e-280
_LN2 = float(np.log(2.0))


class Slopes(NamedTuple):
    """Scratch for gradients; S is the largest number of parents."""

    outputs: Any  # (S, 1 + K + T)  per unit of mass: constant part, of means, of covariances
    share: Any  # (S, block)        of what parents take, per weight
    sums: Any  # (S, 2 + K + T)     over components, of log w, and of lam (1, d, d d^T + C), see `_pull_block`
    x: Any  # (K, LANES)            of the block's means,
    c: Any  # (T, LANES)            covariances,
    w: Any  # (LANES,)              weights directly,
    samples: Any  # (LANES,)        and their logarithms in bits through the virtual points


@helper
def new_slopes(parents, block, like):
    mean, tri = like
    K, T = len(mean), len(tri)
    return Slopes(
        np.empty((parents, 1 + K + T)),
        np.empty((parents, block)),
        np.empty((parents, 2 + K + T)),
        np.empty((K, LANES)),
        np.empty((T, LANES)),
        np.empty(LANES),
        np.empty(LANES),
    )


@helper
def _prepare_outputs(fitted, g_fitted, first, last, slopes, like):
    """Divide the gradients of means and covariances by the masses, and take what does not depend on components."""
    mean, tri = like
    K = len(mean)
    for s in range(first, last):
        per_mass = 1.0 / fitted[s, W] if fitted[s, W] >= _LEAST else 0.0
        of_cov = scaled(per_mass, read_row(g_fitted, s, MU + K, tri))
        slopes.outputs[s, W] = g_fitted[s, W] - dot(of_cov, read_row(fitted, s, MU + K, tri))
        write_row(slopes.outputs, s, MU, scaled(per_mass, read_row(g_fitted, s, MU, mean)))
        write_row(slopes.outputs, s, MU + K, of_cov)
        for q in range(slopes.sums.shape[1]):
            slopes.sums[s, q] = 0.0


@helper
def _pull_shares(fitted, n, length, t, slopes, like):
    """Set slopes.share to the gradients of what parents take, slopes.w to their means weighted by shares."""
    mean, tri = like
    K = len(mean)
    for i in range(length):
        slopes.w[i] = 0.0
    for r in range(n):
        s, share, slope = t.active[r], t.share[r], slopes.share[r]
        centre = read_row(fitted, s, MU, mean)
        constant, of_mean = slopes.outputs[s, W], read_row(slopes.outputs, s, MU, mean)
        of_cov = read_row(slopes.outputs, s, MU + K, tri)
        for i in range(length):
            d = subtracted(read_lane(t.x, i, mean), centre)
            linear = dot(d, added(of_mean, lower_times(of_cov, d)))
            slope[i] = constant + linear + dot(of_cov, read_lane(t.c, i, tri))
            slopes.w[i] += share[i] * slope[i]


@helper
def _pull_block(fitted, n, length, t, slopes, like):
    """Set the gradients of the block's components, and add to the sums of the parents."""
    mean, tri = like
    K, T = len(mean), len(tri)
    for i in range(length):
        write_lane(slopes.x, i, mean)
        write_lane(slopes.c, i, tri)
        slopes.samples[i] = 0.0
    for r in range(n):
        s, share, slope = t.active[r], t.share[r], slopes.share[r]
        centre, of_mean = read_row(fitted, s, MU, mean), read_row(slopes.outputs, s, MU, mean)
        of_cov = read_row(slopes.outputs, s, MU + K, tri)
        mu, a = read_row(t.models, s, 0, mean), read_row(t.models, s, K, tri)
        p, peak = read_row(t.models, s, K + T, tri), t.models[s, K + 2 * T]
        n0, n1, n2, n3 = 0.0, 0.0, mean, tri
        for i in range(length):
            c = read_lane(t.c, i, tri)
            rho = share[i] * t.w[i]
            g = rho * (slope[i] - slopes.w[i])  # of log w_s; exactly 0 for an only parent, however light
            lam = t.samples[i] * g * (1.0 / SCALE)  # of the log-likelihood, with the scale of A^T A
            e = subtracted(read_lane(t.x, i, mean), centre)
            through_moments = added(of_mean, added(lower_times(of_cov, e), transposed_times(of_cov, e)))
            d = subtracted(read_lane(t.x, i, mean), mu)
            y = lower_times(a, d)
            g_x = subtracted(scaled(rho, through_moments), scaled(lam, transposed_times(a, y)))
            g_c = added(scaled(rho, of_cov), scaled(-0.5 * lam, p))
            write_lane(slopes.x, i, added(read_lane(slopes.x, i, mean), g_x))
            write_lane(slopes.c, i, added(read_lane(slopes.c, i, tri), g_c))
            slopes.samples[i] += g * (peak - dot(y, y) - dot(p, c))
            n0 += g
            n1 += lam
            n2 = added(n2, scaled(lam, d))
            n3 = added(n3, scaled(lam, added(outer(d, d, tri), c)))
        slopes.sums[s, 0] += n0
        slopes.sums[s, 1] += n1
        write_row(slopes.sums, s, 2, added(read_row(slopes.sums, s, 2, mean), n2))
        write_row(slopes.sums, s, 2 + K, added(read_row(slopes.sums, s, 2 + K, tri), n3))


@helper
def _store_block(rows, begin, end, whole, slopes, g_rows, like):
    """Add the block's gradients; return the sum of wh_i times the gradient of wh_i."""
    mean, tri = like
    K = len(mean)
    through_total, (total, points) = 0.0, whole
    for j in range(begin, end):
        i = j - begin
        of_samples = points * _LN2 * slopes.samples[i]
        through_total += of_samples * (rows[j, W] / total)
        g_rows[j, W] += slopes.w[i] + of_samples / total
        write_row(g_rows, j, MU, added(read_row(g_rows, j, MU, mean), read_lane(slopes.x, i, mean)))
        write_row(g_rows, j, MU + K, added(read_row(g_rows, j, MU + K, tri), read_lane(slopes.c, i, tri)))
    return through_total


@helper
def _pull_parent(rows, j, s, models, sums, g_rows, like):
    """Add the gradients of component j as parent s: of its weight, mean and covariance in the likelihoods."""
    K, T = len(like[0]), len(like[1])
    precision, product = np.empty((K, K)), np.empty((K, K))  # A^T A, and that times the second moment
    g_rows[j, W] += sums[s, 0] / rows[j, W] if rows[j, W] >= _LEAST else 0.0
    for k in range(K):
        for m in range(k + 1):
            value = models[s, K + T + k * (k + 1) // 2 + m]
            precision[k, m] = precision[m, k] = value if k == m else 0.5 * value
    for k in range(K):
        for m in range(K):
            g_rows[j, MU + k] += precision[k, m] * sums[s, 2 + m]
            product[k, m] = 0.0
            for q in range(K):
                moment = sums[s, 2 + K + max(q, m) * (max(q, m) + 1) // 2 + min(q, m)]
                product[k, m] += precision[k, q] * moment
    for k in range(K):
        for m in range(k + 1):
            value = -sums[s, 1] * precision[k, m]
            for q in range(K):
                value += product[k, q] * precision[q, m] * (1.0 / SCALE)
            g_rows[j, MU + K + k * (k + 1) // 2 + m] += 0.5 * value if k == m else value


@helper
def em_step_vjp(rows, start, stop, whole, parents, first, last, masks, fit, t, slopes, like):
    """Add the gradients through `em_step` to those of its rows; return what all weights share through their sum.

    fit: what was fitted, its gradients, and those of the rows. What is returned is sum_i wh_i* wh_i; divided by the
    sum of all weights it is to be subtracted from the gradient of each.
    """
    fitted, g_fitted, g_rows = fit
    prepare_parents(rows, parents, first, last, t.models, like)
    _prepare_outputs(fitted, g_fitted, first, last, slopes, like)
    through_total = 0.0
    for begin in range(start, stop, t.share.shape[1]):
        end = min(begin + t.share.shape[1], stop)
        length = load_block(rows, begin, end, whole, t, like)
        n = take_shares(first, last, masks, (begin - start) // WORD, length, t, like)
        _pull_shares(fitted, n, length, t, slopes, like)
        _pull_block(fitted, n, length, t, slopes, like)
        through_total += _store_block(rows, begin, end, whole, slopes, g_rows, like)
    for s in range(first, last):
        _pull_parent(rows, parents[s], s, t.models, slopes.sums, g_rows, like)
    return through_total

"""From a mixture through one level or many of EM to fewer components, and gradients back.

A level takes the rows of M sources, at most P each, to at most n each. Its plan is a tuple of integer arrays:

- ``order (M, P)``: the rows that there are, positive ones first; -1 past the end,
- ``ends (M, 2)``: where in that order the positive and the negative ones end,
- ``parents (M, n)``: the places in that order from which the rows of the result start, those of positive rows first,
- ``parent_ends (M, 2)``: where among the parents those of positive and of negative rows end,
- ``masks (M, n, words)``: as bits, the places that each parent may take, counted from the first one of its sign;
  without words it may take all.

A source that has no more rows than the whole reduction is to give passes through, in that order.
"""

import numpy as np

from gmengine.cpu import top
from gmengine.cpu._compile import helper, ready, threaded
from gmengine.cpu._em_rows import cotangents_to_rows, rows_to_gradients, to_mixtures
from gmengine.cpu._em_step import MU, W, em_step, new_scratch, zeros_like_components
from gmengine.cpu._em_step_vjp import em_step_vjp, new_slopes
from gmengine.cpu._morton_tree import bounding_box
from gmengine.cpu._rows import read_row, read_symmetric, write_row
from gmengine.cpu._tree_faults import NON_FINITE, NOT_DEFINITE, SOUND, first_stranger, raise_first
from gmengine.cpu._tuples import subtracted, whitening
from gmengine.errors import NonFiniteError


@helper
def _load_row(mixture, i, centre, rows, like):
    """Write component i as row i; return SOUND or its fault."""
    weights, means, covariances = mixture
    mean, tri = like
    finite = np.isfinite(weights[i])
    for k in range(len(mean)):
        finite &= np.isfinite(means[i, k])
    for k in range(len(mean) ** 2):
        finite &= np.isfinite(covariances[i, k])
    if not finite:
        return NON_FINITE
    rows[i, W] = abs(weights[i])
    write_row(rows, i, MU, subtracted(read_row(means, i, 0, mean), read_row(centre, 0, 0, mean)))
    covariance = read_symmetric(covariances, i, tri)
    write_row(rows, i, MU + len(mean), covariance)
    return SOUND if whitening(covariance)[1] else NOT_DEFINITE


@threaded
def _load_all(worker, workers, mixtures, order, ends, sources, centres, faults, like):
    weights, means, covariances = mixtures
    low, high, centre = np.empty(len(like[0])), np.empty(len(like[0])), np.empty((1, len(like[0])))
    for m in range(worker, weights.shape[0], workers):
        mixture = (weights[m], means[m], covariances[m])
        code, i = first_stranger(weights[m], order[m], ends[m, 0])
        for j in range(weights.shape[1] - 1, -1, -1):
            if not np.isfinite(weights[m, j]):
                code, i = NON_FINITE, j
        bounding_box(weights[m], means[m], low, high, centre[0])
        for k in range(centre.shape[1]):
            centres[m, k] = centre[0, k]
        for p in range(ends[m, 1]):
            if code == SOUND:
                i = order[m, p]
                code = _load_row(mixture, i, centre, sources[m], like)
        faults[m, 0], faults[m, 1] = code, i


def load(weights, means, covariances, order, ends):
    """Return (rows (M, N, 1 + K + T), centres (M, K)): a row is (|w|, mean from the centre, packed covariance).

    Rows are float64 whatever the dtype, so that kernels are compiled once per K; only those that `order` names are
    written. Raises what is wrong with a mixture, or that its signs are not those in `order`.
    """
    (M, N, K), like = means.shape, zeros_like_components(means.shape[-1])
    w, mu, cov = (ready(np.asarray(a, np.float64)) for a in (weights, means, covariances))
    sources, centres, faults = np.empty((M, N, 1 + K + len(like[1]))), np.empty((M, K)), np.zeros((M, 2), int)
    _load_all(M, (w, mu, cov.reshape(M, N, K * K)), order, ends, sources, centres, faults, like)
    if faults[:, 0].any():
        raise_first(faults, covariances)
    return sources, centres


@helper
def gather(source, order, stop, rows):
    """Copy the rows in their order; return the sum of their weights."""
    total = 0.0
    for p in range(stop):
        for q in range(rows.shape[1]):
            rows[p, q] = source[order[p], q]
        total += rows[p, W]
    return total


@threaded
def _fit_all(worker, workers, enough, sources, points, level, fitted, like):
    order, ends, parents, parent_ends, masks = level
    rows, t = np.empty(sources.shape[1:]), new_scratch(parents.shape[1], like)
    for m in range(worker, sources.shape[0], workers):
        if ends[m, 1] <= enough:
            gather(sources[m], order[m], ends[m, 1], fitted[m])
            continue
        whole = gather(sources[m], order[m], ends[m, 1], rows), points[m]
        start, first = np.int64(0), np.int64(0)
        for sign in range(2):
            stop, last = np.int64(ends[m, sign]), np.int64(parent_ends[m, sign])
            em_step(rows, start, stop, whole, parents[m], first, last, masks[m], fitted[m], t, like)
            start, first = stop, last


def fit(enough, sources, points, level, like):
    """Return the rows (M, n, 1 + K + T) of a level's result; a source of up to `enough` rows passes through.

    points (M,): how many virtual points the mass of a source stands for.
    """
    fitted = np.zeros((sources.shape[0], level[2].shape[1], sources.shape[2]))
    _fit_all(sources.shape[0], enough, sources, points, level, fitted, like)
    return fitted


@threaded
def _pull_all(worker, workers, enough, sources, points, level, fitted, g_fitted, g_sources, like):
    order, ends, parents, parent_ends, masks = level
    rows, g_rows = np.empty(sources.shape[1:]), np.empty(sources.shape[1:])
    t = new_scratch(parents.shape[1], like)
    slopes = new_slopes(parents.shape[1], t.share.shape[1], like)
    for m in range(worker, sources.shape[0], workers):
        whole = gather(sources[m], order[m], ends[m, 1], rows), points[m]
        passes, shared = ends[m, 1] <= enough, 0.0
        for p in range(ends[m, 1]):
            for q in range(rows.shape[1]):
                g_rows[p, q] = g_fitted[m, p, q] if passes else 0.0
        start, first = np.int64(0), np.int64(0)
        for sign in range(0 if passes else 2):
            stop, last = np.int64(ends[m, sign]), np.int64(parent_ends[m, sign])
            fit = (fitted[m], g_fitted[m], g_rows)
            shared += em_step_vjp(
                rows, start, stop, whole, parents[m], first, last, masks[m], fit, t, slopes, like
            )
            start, first = stop, last
        for p in range(ends[m, 1]):
            g_rows[p, W] -= shared / whole[0]
            for q in range(rows.shape[1]):
                g_sources[m, order[m, p], q] = g_rows[p, q]


def _small_enough(weights, ends, n):
    """Return which mixtures are kept as they are, and (kept, n) their present components in order, then -1."""
    kept = np.flatnonzero(ends[:, 1] <= n)
    first = np.argsort(weights[kept] == 0, axis=1, kind="stable")[:, :n]
    return kept, np.where(np.arange(n) < ends[kept, 1:], first, -1)


def results(weights, means, covariances, levels, fitted, centres):
    """Return weights (M, n), means and covariances that the last level's rows stand for."""
    n, inputs = fitted.shape[1], (weights, means, covariances)
    if not np.isfinite(fitted).all():
        m = int(np.argmin(np.isfinite(fitted).all(axis=(1, 2))))
        raise NonFiniteError(
            f"reduce: mixture [{m}] cannot be merged: its moments are beyond float64's range"
        )
    outputs = to_mixtures(fitted, levels[-1][3][:, 0], centres, weights.dtype)
    kept, indices = _small_enough(weights, levels[0][1], n)
    if kept.size:
        copies, _ = top.forward(*(x[kept] for x in inputs), indices)
        for output, copy in zip(outputs, copies, strict=True):
            output[kept] = copy
    return outputs


def forward(weights, means, covariances, points, levels, values=None):
    """Return ((weights, means, covariances) of the result, residuals): inputs, points, levels and their fits.

    points (M,): how many virtual points the mass of a mixture stands for, on every level; values: (result, fits) if
    planning has found them already. The fits (M, n_l, 1 + K + T) are float64.
    """
    if values is None:
        n, like = levels[-1][2].shape[1], zeros_like_components(means.shape[-1])
        rows, centres = load(weights, means, covariances, *levels[0][:2])
        fits = []
        for level in levels:
            rows = fit(n, rows, points, level, like)
            fits.append(rows)
        values = results(weights, means, covariances, levels, rows, centres), tuple(fits)
    return values[0], (weights, means, covariances, points, levels, values[1])


def vjp(residuals, g_weights, g_means, g_covariances, needs):
    """Return the gradients of weights, means and covariances with the plan held (derivation: `em.vjp`)."""
    *inputs, points, levels, fits = residuals
    (M, n), K, dtype = levels[-1][2].shape, inputs[1].shape[-1], inputs[0].dtype
    cotangents, like = (g_weights, g_means, g_covariances), zeros_like_components(K)
    sources, _ = load(*inputs, *levels[0][:2])
    g_rows = cotangents_to_rows(fits[-1], levels[-1][3][:, 0], cotangents, dtype)
    for level, source, fitted in zip(levels[::-1], (sources, *fits)[-2::-1], fits[::-1], strict=True):
        g_source = np.zeros(source.shape)
        _pull_all(M, n, source, points, level, fitted, g_rows, g_source, like)
        g_rows = g_source
    grads = rows_to_gradients(g_rows, inputs[0], K)
    kept, indices = _small_enough(inputs[0], levels[0][1], n)
    if kept.size:
        residuals = *(x[kept] for x in inputs), indices
        copied = top.vjp(residuals, *(np.asarray(g)[kept] for g in cotangents), (True,) * 3)
        for grad, copy in zip(grads, copied, strict=True):
            grad[kept] = copy
    return tuple(g if need else None for g, need in zip(grads, needs, strict=True))

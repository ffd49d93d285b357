"""Values of mixtures at points by Numba (paper eq. 1-2).

Of large mixtures that are spread out, `forward` leaves out what no point can feel (`_tiles`). `vjp` takes every pair:
what does not count for a value may well be all that a gradient consists of, such as that of a weight near 0.
"""

import numpy as np

from gmengine.cpu._compile import helper, n_slices, ready, threaded
from gmengine.cpu._component_rows import flat, new_rows, start
from gmengine.cpu._gaussian import SCALE, SOUND, raise_faults, write_component_gradient
from gmengine.cpu._pairs import block_range, load_points, new_lanes, pair_slopes, zeros_like_pairs
from gmengine.cpu._rows import LANES
from gmengine.cpu._tuples import as_double, n_packed
from gmengine.cpu._values import LEAST_COMPONENTS, LEAST_POINTS, dense_slice, values_planned


@threaded
def _forward(worker, workers, slices, mixture, points, values, faults, like):
    """A task is one slice of one mixture's points; faults (tasks, 2)."""
    weights, means, covariances = mixture
    mean, _, amp = like
    M, N = weights.shape
    index, peaks, rows = np.empty(N, np.int64), np.empty(N), new_rows(N, like)
    x, sums, totals = new_lanes(mean), new_lanes(amp), np.empty((1, LANES))
    for task in range(worker, M * slices, workers):
        m, s = task // slices, task % slices
        n, fault, where = start(weights[m], means[m], covariances[m], index, peaks, rows, like)
        faults[task, 0], faults[task, 1] = fault, where
        if fault != SOUND:
            continue
        dense_slice(rows, n, points[m], s, slices, x, sums, totals, values[m], like)


def _every_pair(weights, means, covariances, points):
    """Return values (M, P), every pair computed."""
    M, P, K = points.shape
    slices = n_slices(M, P)
    values = np.empty((M, P), weights.dtype)
    faults = np.zeros((M * slices, 2), np.int64)
    like = zeros_like_pairs(K, 1, weights.dtype)
    _forward(M * slices, slices, flat(weights, means, covariances), points, values, faults, like)
    raise_faults("evaluate", faults[::slices], covariances)
    return values


def forward(weights, means, covariances, points):
    """Evaluate mixtures (M, N) at their points (M, P, K); returns (values (M, P), residuals)."""
    inputs = ready(weights), ready(means), ready(covariances), ready(points)
    large = weights.shape[1] >= LEAST_COMPONENTS and points.shape[1] >= LEAST_POINTS
    return values_planned(*inputs)[0] if large else _every_pair(*inputs), inputs


@threaded
def _vjp(worker, workers, slices, mixture, points, g, grads, g_points, moments, like, wants):
    """A task is one slice of one mixture's points; moments (tasks, N, 1 + K + T) float64."""
    weights, means, covariances = mixture
    mean, _, amp = like
    of_points, of_components = wants
    M, N = weights.shape
    index, peaks, rows = np.empty(N, np.int64), np.empty(N), new_rows(N, like)
    x, lanes, sums, totals = new_lanes(mean), new_lanes(amp), new_lanes(mean), np.empty((len(mean), LANES))
    own = np.empty((N, moments.shape[2]))
    for task in range(worker, M * slices, workers):
        m, s = task // slices, task % slices
        n, _, _ = start(weights[m], means[m], covariances[m], index, peaks, rows, like)
        total = own if slices == 1 else moments[task]
        for r in range(n):
            for q in range(total.shape[1]):
                total[r, q] = 0.0
        length, lower, upper = block_range(points.shape[1], s, slices)
        for first in range(lower, upper, length):
            last = min(first + length, points.shape[1])
            filled = load_points(points[m], first, last, x)
            for i in range(filled):
                lanes[0, i] = g[m, first + i] if first + i < last else 0.0
            pair_slopes(rows, n, x, lanes, filled, sums, totals, total, like, of_points, of_components)
            for i in range(first, last):
                for k in range(len(mean)):
                    g_points[m, i, k] = -totals[k, i - first] * (1.0 / SCALE)
        if slices == 1 and len(of_components):
            _finish(m, n, index, peaks, rows, total, grads, like)


@helper
def _finish(m, n, index, peaks, rows, moments, grads, like):
    """Turn the moments into the gradients of mixture m."""
    mean, tri, _ = like
    for r in range(n):
        i = index[r]
        grads[0][m, i] = peaks[r] * moments[r, 0]
        h = float(rows[r, len(mean) + len(tri)]) * moments[r, 0]
        write_component_gradient(rows, r, moments, 1, h, as_double(mean), grads[1][m], grads[2][m], i, like)


@threaded
def _add_slices(worker, workers, slices, mixture, grads, moments, like):
    """Add up the moments of each mixture's slices, in their order, and finish its gradients."""
    weights, means, covariances = mixture
    M, N = weights.shape
    index, peaks, rows = np.empty(N, np.int64), np.empty(N), new_rows(N, like)
    for m in range(worker, M, workers):
        n, _, _ = start(weights[m], means[m], covariances[m], index, peaks, rows, like)
        total = moments[m * slices]
        for s in range(1, slices):
            for r in range(n):
                for q in range(total.shape[1]):
                    total[r, q] += moments[m * slices + s, r, q]
        _finish(m, n, index, peaks, rows, total, grads, like)


def vjp(residuals, g_values, needs):
    """Return the gradients of weights, means, covariances and points, None where `needs` is False.

    With cotangent g of the values f_i = sum_j w_j N_ij, N_ij = N(x_i; mu_j, C_j), d = x_i - mu_j, P = C^-1 and
    h_ij = g_i w_j N_ij:

        g_w_j = sum_i g_i N_ij                  g_mu_j = sum_i h_ij P_j d
        g_C_j = 1/2 sum_i h_ij (P_j d d^T P_j - P_j)
        g_x_i = -sum_j h_ij P_j d

    because dN/dmu = N P d, dN/dx = -N P d, and dN/dC = N/2 (P d d^T P - P) (symmetric; off-diagonal entries
    count as independent). The sums are taken in whitened coordinates y = A d, see `pair_slopes`.
    """
    *mixture, points = residuals
    M, P, K = points.shape
    N = mixture[0].shape[1]
    of_mixture, of_points = any(needs[:3]), needs[3]
    columns = 1 + K + n_packed(K)
    slices = n_slices(M, P, scratch=N * columns)
    grads = tuple(np.zeros_like(a) for a in mixture)
    g_points = np.empty_like(points)
    moments = np.empty((M * slices if slices > 1 else 0, N, columns))
    like = zeros_like_pairs(K, 1, points.dtype)
    wants = (0,) * of_points, (0,) * of_mixture  # by type, so that what is not wanted is not compiled either
    mixtures, of_mixtures = flat(*mixture), flat(*grads)
    _vjp(M * slices, slices, mixtures, points, ready(g_values), of_mixtures, g_points, moments, like, wants)
    if slices > 1 and of_mixture:
        _add_slices(M, slices, mixtures, of_mixtures, moments, like)
    return tuple(grad if need else None for grad, need in zip((*grads, g_points), needs, strict=True))

"""Gradients and Hessians of mixtures with respect to the point, by Numba."""

import numpy as np

from gmengine.cpu._compile import helper, n_slices, ready, threaded, zeros
from gmengine.cpu._component_rows import flat, new_rows, start
from gmengine.cpu._derivative_pairs import form_of, pair_derivative_slopes, pair_derivatives
from gmengine.cpu._gaussian import (
    SCALE,
    SOUND,
    raise_faults,
    write_component_gradient,
)
from gmengine.cpu._pairs import block_range, load_points, new_lanes
from gmengine.cpu._rows import LANES, read_row, write_row
from gmengine.cpu._symmetric import sandwich
from gmengine.cpu._tuples import added, as_double, n_packed, scaled


def _like(K, dtype):
    dtype = np.dtype(dtype)
    return zeros(K, dtype), zeros(n_packed(K), dtype), (dtype.type(SCALE),)


@helper
def _store(totals, first, last, values, dim, order):
    """Write the sums of `pair_derivatives` as derivatives, values (P, K) or (P, K K)."""
    for i in range(first, last):
        if len(order) == 1:
            for k in range(dim):
                values[i, k] = totals[k, i - first] * (-1.0 / SCALE)
        else:
            t = 0
            for k in range(dim):
                for l in range(k + 1):
                    value = totals[t, i - first] * (1.0 / SCALE**2)
                    values[i, k * dim + l] = value
                    values[i, l * dim + k] = value
                    t += 1


@helper
def _load(g, first, last, filled, lanes, dim, order):
    """Fill `lanes` with cotangents (P, K) over SCALE, or (P, K K), made symmetric, over SCALE^2."""
    for i in range(filled):
        j = min(first + i, last - 1)
        factor = (1.0 / SCALE if len(order) == 1 else 1.0 / SCALE**2) if first + i < last else 0.0
        if len(order) == 1:
            for k in range(dim):
                lanes[k, i] = factor * g[j, k]
        else:
            t = 0
            for k in range(dim):
                for l in range(k + 1):
                    lanes[t, i] = 0.5 * factor * (float(g[j, k * dim + l]) + float(g[j, l * dim + k]))
                    t += 1


@threaded
def _forward(worker, workers, slices, mixture, points, values, faults, like, order):
    """A task is one slice of one mixture's points; faults (tasks, 2)."""
    weights, means, covariances = mixture
    M, N = weights.shape
    K, form = len(like[0]), form_of(like, order)
    index, peaks, rows = np.empty(N, np.int64), np.empty(N), new_rows(N, like)
    x, sums, totals = new_lanes(like[0]), new_lanes(form), np.empty((len(form), LANES))
    for task in range(worker, M * slices, workers):
        m, s = task // slices, task % slices
        n, fault, where = start(weights[m], means[m], covariances[m], index, peaks, rows, like)
        faults[task, 0], faults[task, 1] = fault, where
        if fault != SOUND:
            continue
        length, lower, upper = block_range(points.shape[1], s, slices)
        for first in range(lower, upper, length):
            last = min(first + length, points.shape[1])
            filled = load_points(points[m], first, last, x)
            pair_derivatives(rows, n, x, filled, sums, totals, like, order)
            _store(totals, first, last, values[m], K, order)


def forward(weights, means, covariances, points, *, order):
    """Differentiate mixtures (M, N) at their points (M, P, K), `order` times, once or twice.

    Returns (gradients (M, P, K) or Hessians (M, P, K, K), residuals).
    """
    inputs = ready(weights), ready(means), ready(covariances), ready(points)
    M, P, K = points.shape
    slices = n_slices(M, P)
    values = np.empty((M, P, *(K,) * order), weights.dtype)
    faults = np.zeros((M * slices, 2), np.int64)
    like = _like(K, weights.dtype)
    _forward(
        M * slices,
        slices,
        flat(*inputs[:3]),
        inputs[3],
        values.reshape(M, P, K**order),
        faults,
        like,
        (0,) * order,
    )
    raise_faults("density_gradient" if order == 1 else "density_hessian", faults[::slices], inputs[2])
    return values, (*inputs, order)


@threaded
def _vjp(worker, workers, slices, mixture, points, g, grads, g_points, moments, like, order, of_components):
    """A task is one slice of one mixture's points; moments (tasks, N, columns) float64."""
    weights, means, covariances = mixture
    M, N = weights.shape
    K, form = len(like[0]), form_of(like, order)
    index, peaks, rows = np.empty(N, np.int64), np.empty(N), new_rows(N, like)
    x, lanes, sums = new_lanes(like[0]), new_lanes(form), new_lanes(like[0])
    totals, own = np.empty((K, LANES)), np.empty((N, moments.shape[2]))
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
            _load(g[m], first, last, filled, lanes, K, order)
            pair_derivative_slopes(rows, n, x, lanes, filled, sums, totals, total, like, order, of_components)
            for i in range(first, last):
                for k in range(K):
                    g_points[m, i, k] = -totals[k, i - first] * (1.0 / SCALE)
        if slices == 1 and len(of_components):
            _finish(m, n, index, weights, peaks, rows, total, grads, like, order)


@helper
def _finish(m, n, index, weights, peaks, rows, moments, grads, like, order):
    """Turn the moments into the gradients of mixture m."""
    mean, tri = as_double(like[0]), as_double(like[1])
    K, T = len(mean), len(tri)
    for r in range(n):
        i = index[r]
        w = float(weights[m, i])
        grads[0][m, i] = peaks[r] * moments[r, 0]
        for q in range(moments.shape[1]):
            moments[r, q] *= w * peaks[r]
        if len(order) == 2:
            a, bent = as_double(read_row(rows, r, K, like[1])), read_row(moments, r, 1 + K + T, tri)
            second = added(read_row(moments, r, 1 + K, tri), scaled(2.0 * SCALE**2, sandwich(a, bent)))
            write_row(moments, r, 1 + K, second)
        write_component_gradient(rows, r, moments, 1, moments[r, 0], mean, grads[1][m], grads[2][m], i, like)


@threaded
def _add_slices(worker, workers, slices, mixture, grads, moments, like, order):
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
        _finish(m, n, index, weights, peaks, rows, total, grads, like, order)


def vjp(residuals, g_values, needs):
    """Return the gradients of weights, means, covariances and points, None where `needs` is False.

    With d = x - mu, P = C^-1, q = P d and E = w N(x; mu, C), the pair's part of <cotangent, derivative> is

        s = -E g.q                      of the gradient, with cotangent g (K,)
        s = E (q.G q - tr G P)          of the Hessian, with cotangent G (K, K), made symmetric

    From dE/dx = -E q, dE/dC = E/2 (q q^T - P), dq/dx = P, dq = -P dC q and dP = -P dC P, with sym X = (X + X^T)/2:

        ds/dx = -s q - E P g            ds/dC = s/2 (q q^T - P) + E sym(P g q^T)
        ds/dx = -s q + 2 E P G q        ds/dC = s/2 (q q^T - P) - 2 E sym(P G q q^T) + E P G P

    and ds/dmu = -ds/dx, ds/dw = s/w. In whitened coordinates, y = A d with A^T A = c P (c is SCALE), q = A^T y / c.
    Let u = A g, or u = -2 A G A^T y / c = -2 A G q: both read P g, or -2 P G q, as A^T u / c. Then, with psi = s / E,

        v = psi y + u                   ds/dx = -E A^T v / c
        ds/dC = A^T (E/2c^2 (psi y y^T + u y^T + y u^T) - s/2c) A + E P G P

    so that what `evaluate.vjp` sums over points, h y and h y y^T, becomes E v and E (psi y y^T + u y^T + y u^T). The
    last term, of the Hessian alone, is linear in G: E G is summed over points, and A (sum E G) A^T, times 2, joins
    the latter sum, as P G P = A^T (1/c^2 A G A^T) A. All sums are taken with 2^(-y.y) for E.
    """
    *mixture, points, order = residuals
    M, P, K = points.shape
    N = mixture[0].shape[1]
    of_mixture = any(needs[:3])
    columns = 1 + K + n_packed(K) * order
    slices = n_slices(M, P, scratch=N * columns)
    grads = tuple(np.zeros_like(a) for a in mixture)
    g_points = np.empty_like(points)
    moments = np.empty((M * slices if slices > 1 else 0, N, columns))
    like, orders = _like(K, points.dtype), (0,) * order
    wanted = (0,) * of_mixture  # by type, so that what is not wanted is not compiled either
    mixtures, of_mixtures = flat(*mixture), flat(*grads)
    g = ready(g_values).reshape(M, P, K**order)
    _vjp(M * slices, slices, mixtures, points, g, of_mixtures, g_points, moments, like, orders, wanted)
    if slices > 1 and of_mixture:
        _add_slices(M, slices, mixtures, of_mixtures, moments, like, orders)
    return tuple(grad if need else None for grad, need in zip((*grads, g_points), needs, strict=True))

"""The dense fit of a rectified mixture by Numba (paper section 4.2, with epsilons relative to the mixture).

Forward and vjp take one pass over pairs each; everything else here is linear in the number of components.
Both evaluations, of the weights and of their coarse fit, share the pass and so every exponential.
"""

import numpy as np
from numba import prange

from gmengine.cpu._compile import helper, kernel, n_packed, n_slices, n_workers, ready, zeros
from gmengine.cpu._gaussian import (
    SCALE,
    SOUND,
    add_component_gradient,
    gather_present,
    prepare,
    raise_faults,
)
from gmengine.cpu._pairs import LANES, block_length, load_points, pair_slopes, pair_values


@helper
def _set_amplitudes(weights, bias, index, n, peaks, rows, coarse, epsilons, relative, first):
    """Set coarse weights x0 and both amplitudes, w N(mu; mu, C) and x0 N(mu; mu, C); return (e1, e2, e3)."""
    of_weights, of_values = 1.0, 1.0
    if relative:
        of_weights, of_values = 0.0, 0.0
        for r in range(n):
            size = abs(float(weights[index[r]]))
            of_weights += size / n
            of_values += size * peaks[r] / n
    e1, e2, e3 = epsilons[0] * of_weights, epsilons[1] * of_values, epsilons[2] * of_values
    for r in range(n):
        w = float(weights[index[r]])
        start = w if w + bias > 0.0 else -max(bias, 0.0)
        coarse[r] = abs(start) + e1
        rows[r, first] = w * peaks[r]
        rows[r, first + 1] = coarse[r] * peaks[r]
    return e1, e2, e3


@helper
def _ratio(v, u, bias, e2, e3):
    """Return (b + e2) / (u + e3), the factor of a coarse weight, and the denominator."""
    rectified = max(v + bias, 0.0) - max(bias, 0.0)
    denominator = u + e3
    # Without epsilons u may be 0: then the coarse weight is 0 too, and stays so.
    return (rectified + e2) / denominator if denominator > 0.0 else 0.0, denominator


@kernel
def _forward(weights, means, covariances, bias, epsilons, relative, out, v, u, faults, slices, workers, like):
    mean, tri, amp, tri64 = like
    M, N = weights.shape
    K, width = len(mean), len(mean) + len(tri) + len(amp)
    for worker in prange(workers):
        index, peaks, coarse = np.empty(N, np.int64), np.empty(N), np.empty(N)
        rows = np.empty((N, width), weights.dtype)
        x, sums = np.empty((K, LANES), weights.dtype), np.empty((2, LANES), weights.dtype)
        totals = np.empty((2, LANES))
        for task in range(worker, M * slices, workers):
            m, s = task // slices, task % slices
            n = gather_present(weights[m], index)
            fault, where = prepare(weights[m], means[m], covariances[m], index, n, rows, peaks, mean, tri64)
            faults[task, 0], faults[task, 1] = fault, where
            if fault != SOUND:
                continue
            c = float(bias[m])
            _, e2, e3 = _set_amplitudes(
                weights[m], c, index, n, peaks, rows, coarse, epsilons, relative, width - 2
            )
            length = block_length(n)
            blocks = (n + length - 1) // length
            for block in range(s * blocks // slices, (s + 1) * blocks // slices):
                start, stop = block * length, min((block + 1) * length, n)
                filled = load_points(rows, start, stop, x)
                pair_values(rows, n, x, filled, sums, totals, mean, tri, amp)
                for r in range(start, stop):
                    i = index[r]
                    v[m, i], u[m, i] = totals[0, r - start], totals[1, r - start]
                    out[m, i] = coarse[r] * _ratio(float(v[m, i]), float(u[m, i]), c, e2, e3)[0]


def forward(weights, means, covariances, bias, *, epsilons, relative):
    """Fit mixtures (M, N) in K dimensions after adding bias (M,).

    Returns (new weights (M, N), residuals); residuals are the inputs and the two evaluations (M, N).
    """
    inputs = ready(weights), ready(means), ready(covariances), ready(bias)
    M, N, K = means.shape
    slices = n_slices(M, N)
    out = np.zeros((M, N), weights.dtype)
    v, u = np.empty_like(out), np.empty_like(out)
    faults = np.zeros((M * slices, 2), np.int64)
    epsilons = tuple(float(e) for e in epsilons)
    like = _zeros(K, weights.dtype)
    _forward(*inputs, epsilons, bool(relative), out, v, u, faults, slices, n_workers(M * slices), like)
    raise_faults("relu", faults[::slices], inputs[2])
    return out, (*inputs, v, u, epsilons, bool(relative))


def _zeros(K, dtype):
    """Return zeros that tell the kernels the lengths and types of (mean, A, amplitudes, A in float64)."""
    return zeros(K, dtype), zeros(n_packed(K), dtype), zeros(2, dtype), zeros(n_packed(K), "float64")


@helper
def _pull_back_points(g, v, u, bias, e2, e3, index, n, coarse, g_coarse, g_values):
    """Set the cotangents of x0 (direct part), v and u at every centre; return those of (bias, e2, e3).

    g_values (2, N): cotangents of v and of u, in the dtype of the pair loops.
    """
    g_bias, g_e2, g_e3 = 0.0, 0.0, 0.0
    for r in range(n):
        i = index[r]
        ratio, denominator = _ratio(float(v[i]), float(u[i]), bias, e2, e3)
        g_coarse[r] = float(g[i]) * ratio
        g_b = float(g[i]) * coarse[r] / denominator if denominator > 0.0 else 0.0
        g_u = -g_b * ratio
        passes = 1.0 if float(v[i]) + bias > 0.0 else 0.0
        g_bias += g_b * (passes - (1.0 if bias > 0.0 else 0.0))
        g_e2 += g_b
        g_e3 += g_u
        g_values[0, r] = g_b * passes
        g_values[1, r] = g_u
    return g_bias, g_e2, g_e3


@helper
def _pull_back_pairs(
    rows, n, index, g_values, moments, g_means, s, slices, x, g_lanes, sums, totals, mean, tri, amp
):
    """Take this slice's centres through `pair_slopes`: fill `moments`, and set their part of `g_means`."""
    K = len(mean)
    moments[:n] = 0.0
    length = block_length(n)
    blocks = (n + length - 1) // length
    for block in range(s * blocks // slices, (s + 1) * blocks // slices):
        start, stop = block * length, min((block + 1) * length, n)
        filled = load_points(rows, start, stop, x)
        for a in range(2):
            for r in range(filled):
                g_lanes[a, r] = g_values[a, start + r] if start + r < stop else 0.0
        order = amp, mean, tri
        pair_slopes(rows, n, x, g_lanes, filled, sums, totals, moments, mean, tri, amp, mean, order)
        for r in range(start, stop):
            for k in range(K):
                g_means[index[r], k] = -totals[k, r - start] * (1.0 / SCALE)


@helper
def _finish(
    weights, bias, epsilons, relative, g_scalars, index, n, rows, peaks, g_coarse, moments, g_weights, g_means,
    g_covariances, mean, tri64,
):  # fmt: skip
    """From the moments to the gradients of one mixture; returns the gradient of its bias."""
    first = len(mean) + len(tri64)
    g_bias, g_e2, g_e3 = g_scalars
    g_e1 = 0.0
    for r in range(n):
        g_coarse[r] += peaks[r] * moments[r, 1]
        g_e1 += g_coarse[r]
    of_weights = epsilons[0] * g_e1 / n if relative else 0.0
    of_values = (epsilons[1] * g_e2 + epsilons[2] * g_e3) / n if relative else 0.0
    for r in range(n):
        i = index[r]
        w = float(weights[i])
        sign = 1.0 if w > 0.0 else -1.0
        g_w = peaks[r] * moments[r, 0] + sign * (of_weights + of_values * peaks[r])
        if w + bias > 0.0:
            g_w += sign * g_coarse[r]
        elif bias > 0.0:
            g_bias += g_coarse[r]
        g_weights[i] = g_w
        h = float(rows[r, first]) * moments[r, 0] + float(rows[r, first + 1]) * moments[r, 1]
        # A peak's derivative with respect to C is -1/2 peak C^-1, like that of a pair at distance 0.
        h += of_values * abs(w) * peaks[r]
        add_component_gradient(rows, r, moments, 2, h, g_means[i], g_covariances[i], mean, tri64)
    return g_bias


@kernel
def _vjp(
    weights, means, covariances, bias, v, u, epsilons, relative, g, g_weights, g_means, g_covariances, g_bias,
    slices, workers, like,
):  # fmt: skip
    mean, tri, amp, tri64 = like
    M, N = weights.shape
    K, width = len(mean), len(mean) + len(tri) + len(amp)
    dtype = weights.dtype
    # Slices of one mixture sum into moments of their own, which its first slice's task adds up in fixed order.
    for worker in prange(workers):
        index, peaks, coarse, g_coarse = np.empty(N, np.int64), np.empty(N), np.empty(N), np.empty(N)
        rows, g_values = np.empty((N, width), dtype), np.empty((2, N), dtype)
        x, g_lanes, sums = np.empty((K, LANES), dtype), np.empty((2, LANES), dtype), np.empty((K, LANES), dtype)
        totals = np.empty((K, LANES))
        moments = np.empty((N, width))

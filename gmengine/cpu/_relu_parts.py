"""What `cpu.relu` does with one mixture, beside the pass over pairs; `relu.vjp` derives the formulas."""

from typing import NamedTuple

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._gaussian import (
    OVERFLOW,
    SCALE,
    SOUND,
    gather_present,
    prepare,
    write_component_gradient,
)
from gmengine.cpu._pairs import block_range, lane_dtype, load_points, new_lanes, pair_slopes
from gmengine.cpu._rows import LANES, read_row
from gmengine.cpu._tuples import as_double


class Scratch(NamedTuple):
    """One mixture's present components: r-th present one -> its number (N,), N(mu; mu, C), x0 and coefficients."""

    present: np.ndarray
    peaks: np.ndarray
    coarse: np.ndarray
    rows: np.ndarray


class VjpScratch(NamedTuple):
    """Cotangents of x0 (N,) and of v and u (2, N), moments (N, 2 + K + T), and the lanes of `pair_slopes`."""

    g_coarse: np.ndarray
    g_values: np.ndarray
    moments: np.ndarray
    x: np.ndarray
    g: np.ndarray
    sums: np.ndarray
    totals: np.ndarray


@helper
def new_scratch(N, like):
    mean, tri, amp = like
    rows = np.empty((N, len(mean) + len(tri) + len(amp)), lane_dtype(mean))
    return Scratch(np.empty(N, np.int64), np.empty(N), np.empty(N), rows)


@helper
def new_vjp_scratch(N, like):
    mean, tri, amp = like
    moments = np.empty((N, len(amp) + len(mean) + len(tri)))
    x, g, sums = new_lanes(mean), new_lanes(amp), new_lanes(mean)
    g_values = np.empty((2, N), x.dtype)
    return VjpScratch(np.empty(N), g_values, moments, x, g, sums, np.empty((len(mean), LANES)))


@helper
def start(weights, means, covariances, bias, epsilons, relative, t, like):
    """Prepare a mixture in the scratch `t`; return (number present, fault, its component, e2, e3)."""
    first = len(like[0]) + len(like[1])
    n = gather_present(weights, t.present)
    fault, where = prepare(weights, means, covariances, t.present, n, t.rows, t.peaks, like)
    of_weights, of_values = 1.0, 1.0
    if relative:
        of_weights, of_values = 0.0, 0.0
        for r in range(n):
            size = abs(float(weights[t.present[r]]))
            of_weights += size / n
            of_values += size * t.peaks[r] / n
    for r in range(n):
        w = float(weights[t.present[r]])
        kept = w if w + bias > 0.0 else -max(bias, 0.0)
        t.coarse[r] = abs(kept) + epsilons[0] * of_weights
        t.rows[r, first] = w * t.peaks[r]
        t.rows[r, first + 1] = t.coarse[r] * t.peaks[r]
        if fault == SOUND and not np.isfinite(t.rows[r, first + 1]):
            fault, where = OVERFLOW, t.present[r]
    return n, fault, where, epsilons[1] * of_values, epsilons[2] * of_values


@helper
def fit_ratio(v, u, bias, e2, e3):
    """Return R = (b + e2) / (u + e3), the factor of a coarse weight, and the denominator."""
    rectified = max(v + bias, 0.0) - max(bias, 0.0)
    denominator = u + e3
    # Without epsilons u may be 0: then the coarse weight is 0 too, and stays so.
    return (rectified + e2) / denominator if denominator > 0.0 else 0.0, denominator


@helper
def pull_back_centres(g, v, u, bias, e2, e3, n, t, p):
    """Set the cotangents of x0 (direct part), v and u at every centre; return those of (bias, e2, e3)."""
    g_bias, g_e2, g_e3 = 0.0, 0.0, 0.0
    for r in range(n):
        i = t.present[r]
        ratio, denominator = fit_ratio(float(v[i]), float(u[i]), bias, e2, e3)
        p.g_coarse[r] = float(g[i]) * ratio
        g_b = float(g[i]) * t.coarse[r] / denominator if denominator > 0.0 else 0.0
        passes = 1.0 if float(v[i]) + bias > 0.0 else 0.0
        g_bias += g_b * (passes - (1.0 if bias > 0.0 else 0.0))
        g_e2 += g_b
        g_e3 -= g_b * ratio
        p.g_values[0, r] = g_b * passes
        p.g_values[1, r] = -g_b * ratio
    return g_bias, g_e2, g_e3


@helper
def pull_back_pairs(t, p, n, moments, g_means, s, slices, like):
    """Take slice s of the centres through `pair_slopes`: fill `moments`, and set their part of `g_means`."""
    mean = like[0]
    for r in range(n):
        for q in range(moments.shape[1]):
            moments[r, q] = 0.0
    length, lower, upper = block_range(n, s, slices)
    for first in range(lower, upper, length):
        last = min(first + length, n)
        filled = load_points(t.rows, first, last, p.x)
        for a in range(2):
            for i in range(filled):
                p.g[a, i] = p.g_values[a, first + i] if first + i < last else 0.0
        pair_slopes(t.rows, n, p.x, p.g, filled, p.sums, p.totals, moments, like, (0,), (0,))
        for r in range(first, last):
            for k in range(len(mean)):
                g_means[t.present[r], k] = -p.totals[k, r - first] * (1.0 / SCALE)


@helper
def finish(m, inputs, epsilons, relative, scalars, n, t, p, moments, grads, like):
    """Turn the moments into the gradients of mixture m."""
    g_weights, g_means, g_covariances, g_biases = grads
    first = len(like[0]) + len(like[1])
    bias = float(inputs[3][m])
    g_bias, g_e2, g_e3 = scalars
    g_e1 = 0.0
    for r in range(n):
        p.g_coarse[r] += t.peaks[r] * moments[r, 1]
        g_e1 += p.g_coarse[r]
    of_weights = epsilons[0] * g_e1 / n if relative else 0.0
    of_values = (epsilons[1] * g_e2 + epsilons[2] * g_e3) / n if relative else 0.0
    for r in range(n):
        i = t.present[r]
        w = float(inputs[0][m, i])
        sign = 1.0 if w > 0.0 else -1.0
        g_w = t.peaks[r] * moments[r, 0] + sign * (of_weights + of_values * t.peaks[r])
        if w + bias > 0.0:
            g_w += sign * p.g_coarse[r]
        elif bias > 0.0:
            g_bias += p.g_coarse[r]
        g_weights[m, i] = g_w
        h = float(t.rows[r, first]) * moments[r, 0] + float(t.rows[r, first + 1]) * moments[r, 1]
        # A peak's derivative with respect to C is -1/2 peak C^-1, like that of a pair at distance 0.
        h += of_values * abs(w) * t.peaks[r]
        at_centre = as_double(read_row(g_means[m], i, 0, like[0]))
        write_component_gradient(t.rows, r, moments, 2, h, at_centre, g_means[m], g_covariances[m], i, like)
    g_biases[m] = g_bias

"""The dense fit of a rectified mixture by Numba (paper section 4.2, with epsilons relative to the mixture).

Forward and vjp take one pass over pairs each; everything else here is linear in the number of components.
Both evaluations, of the weights and of their coarse fit, share the pass and so every exponential.
"""

import numpy as np

from gmengine.cpu._compile import n_slices, ready, threaded
from gmengine.cpu._component_rows import flat
from gmengine.cpu._gaussian import SOUND, raise_faults
from gmengine.cpu._pairs import block_range, load_points, new_lanes, pair_values, zeros_like_pairs
from gmengine.cpu._relu_parts import (
    finish,
    fit_ratio,
    new_scratch,
    new_vjp_scratch,
    pull_back_centres,
    pull_back_pairs,
    start,
)
from gmengine.cpu._rows import LANES
from gmengine.cpu._tuples import n_packed


@threaded
def _forward(worker, workers, slices, inputs, epsilons, relative, outputs, like):
    """A task is one slice of one mixture's centres; faults (tasks, 2)."""
    weights, means, covariances, bias = inputs
    out, v, u, faults = outputs
    mean, _, amp = like
    M, N = weights.shape
    t = new_scratch(N, like)
    x, sums, totals = new_lanes(mean), new_lanes(amp), np.empty((2, LANES))
    for task in range(worker, M * slices, workers):
        m, s = task // slices, task % slices
        c = float(bias[m])
        n, fault, where, e2, e3 = start(weights[m], means[m], covariances[m], c, epsilons, relative, t, like)
        faults[task, 0], faults[task, 1] = fault, where
        if fault != SOUND:
            continue
        length, lower, upper = block_range(n, s, slices)
        for first in range(lower, upper, length):
            last = min(first + length, n)
            filled = load_points(t.rows, first, last, x)
            pair_values(t.rows, n, x, filled, sums, totals, like)
            for r in range(first, last):
                i = t.present[r]
                v[m, i], u[m, i] = totals[0, r - first], totals[1, r - first]
                out[m, i] = t.coarse[r] * fit_ratio(float(v[m, i]), float(u[m, i]), c, e2, e3)[0]


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
    like = zeros_like_pairs(K, 2, weights.dtype)
    _forward(M * slices, slices, _flat(inputs), epsilons, bool(relative), (out, v, u, faults), like)
    raise_faults("relu", faults[::slices], inputs[2])
    return out, (*inputs, v, u, epsilons, bool(relative))


def _flat(inputs):
    """Return the inputs with covariances (M, N, K K)."""
    *mixture, bias = inputs
    return *flat(*mixture), bias


@threaded
def _vjp(worker, workers, slices, inputs, values, g, grads, moments, like):
    """A task is one slice of one mixture's centres.

    If a mixture is several slices they sum into moments (tasks, N, 2 + K + T) of their own, for `_add_slices`.
    """
    weights, means, covariances, bias = inputs
    v, u, epsilons, relative = values
    M, N = weights.shape
    t = new_scratch(N, like)
    p = new_vjp_scratch(N, like)
    for task in range(worker, M * slices, workers):
        m, s = task // slices, task % slices
        c = float(bias[m])
        n, _, _, e2, e3 = start(weights[m], means[m], covariances[m], c, epsilons, relative, t, like)
        scalars = pull_back_centres(g[m], v[m], u[m], c, e2, e3, n, t, p)
        sums = p.moments if slices == 1 else moments[task]
        pull_back_pairs(t, p, n, sums, grads[1][m], s, slices, like)
        if slices == 1:
            finish(m, inputs, epsilons, relative, scalars, n, t, p, sums, grads, like)


@threaded
def _add_slices(worker, workers, slices, inputs, values, g, grads, moments, like):
    """Add up the moments of each mixture's slices, in their order, and finish its gradients."""
    weights, means, covariances, bias = inputs
    v, u, epsilons, relative = values
    M, N = weights.shape
    t, p = new_scratch(N, like), new_vjp_scratch(N, like)
    for m in range(worker, M, workers):
        c = float(bias[m])
        n, _, _, e2, e3 = start(weights[m], means[m], covariances[m], c, epsilons, relative, t, like)
        scalars = pull_back_centres(g[m], v[m], u[m], c, e2, e3, n, t, p)
        sums = moments[m * slices]
        for s in range(1, slices):
            for r in range(n):
                for q in range(sums.shape[1]):
                    sums[r, q] += moments[m * slices + s, r, q]
        finish(m, inputs, epsilons, relative, scalars, n, t, p, sums, grads, like)


def vjp(residuals, g_out, needs):
    """Return the gradients of weights, means, covariances and bias, None where `needs` is False.

    Per mixture, over present components, with bias c, c+ = max(c, 0) and G_ij = N(mu_i; mu_j, C_j):

        w0_i = w_i if w_i + c > 0 else -c+     x0_i = |w0_i| + e1
        v_i = sum_j w_j G_ij                   u_i = sum_j x0_j G_ij
        b_i = max(v_i + c, 0) - c+             x_i = x0_i R_i,   R_i = (b_i + e2) / D_i,   D_i = u_i + e3

    Backwards, from the cotangent g of x:

        g_x0_i = g_i R_i      g_b_i = g_i x0_i / D_i      g_u_i = -g_b_i R_i      g_v_i = g_b_i [v_i + c > 0]
        g_c = sum_i g_b_i ([v_i + c > 0] - [c > 0])       g_e2 = sum_i g_b_i      g_e3 = sum_i g_u_i

    The pass over pairs gives, with h_ij = (g_v_i w_j + g_u_i x0_j) G_ij, d = mu_i - mu_j and P = C^-1:

        g_w_j += sum_i g_v_i G_ij              g_x0_j += sum_i g_u_i G_ij
        g_mu_i -= sum_j h_ij P_j d             g_mu_j += sum_i h_ij P_j d
        g_C_j  += 1/2 sum_i h_ij (P_j d d^T P_j - P_j)

    and then g_e1 = sum_i g_x0_i; where w_j + c > 0, g_w_j += g_x0_j sign(w_j), else g_c += g_x0_j [c > 0].
    Relative epsilons are e1 = eps1 s_w and e2, e3 = eps2 s_v, eps3 s_v, with means over the n components present
    s_w = mean |w_i| and s_v = mean |w_i| G_ii, so that with g_s_w = eps1 g_e1 and g_s_v = eps2 g_e2 + eps3 g_e3

        g_w_i += sign(w_i) (g_s_w + g_s_v G_ii) / n        g_C_i += -1/2 g_s_v |w_i| G_ii P_i / n
    """
    *inputs, v, u, epsilons, relative = residuals
    M, N, K = inputs[1].shape
    columns = 2 + K + n_packed(K)
    slices = n_slices(M, N, scratch=N * columns)
    grads = tuple(np.zeros_like(a) for a in inputs)
    moments = np.empty((M * slices if slices > 1 else 0, N, columns))
    like = zeros_like_pairs(K, 2, v.dtype)
    args = slices, _flat(inputs), (v, u, epsilons, relative), ready(g_out), _flat(grads), moments, like
    _vjp(M * slices, *args)
    if slices > 1:
        _add_slices(M, *args)
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))

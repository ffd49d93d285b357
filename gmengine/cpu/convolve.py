"""Convolution of mixtures by Numba: weights multiply, means and covariances add (paper eq. 3-4).

Component (n, i, m) of the result, data component n, input channel i, kernel component m, has index
n + N (i + I m). All loops run in this order, so that rows of N components are read and written in one go.
"""

import numpy as np
from numba import prange

from gmengine.cpu._compile import helper, kernel, ready, zeros

# Parallel work of the vjp per input channel is cut into enough slices of the batch to occupy this many threads.
# A constant: the order of sums, and so their bits, must not depend on the machine.
TASKS = 64


@helper
def _write(w, mu, cov, kw, kmu, kcov, out_w, out_mu, out_cov, dims):
    """Write one batch element and output channel."""
    K = len(dims)
    I, N = w.shape
    for m in range(kw.shape[1]):
        for i in range(I):
            for n in range(N):
                c = n + N * (i + I * m)
                out_w[c] = kw[i, m] * w[i, n]
                for k in range(K):
                    out_mu[c, k] = mu[i, n, k] + kmu[i, m, k]
                    for e in range(k + 1):
                        value = cov[i, n, k, e] + kcov[i, m, k, e]
                        out_cov[c, k, e] = value
                        out_cov[c, e, k] = value


@kernel
def _forward(w, mu, cov, kw, kmu, kcov, out_w, out_mu, out_cov, dims):
    B, O = w.shape[0], kw.shape[0]
    for task in prange(B * O):
        b, o = task // O, task % O
        _write(w[b], mu[b], cov[b], kw[o], kmu[o], kcov[o], out_w[b, o], out_mu[b, o], out_cov[b, o], dims)


def forward(weights, means, covariances, kernel_weights, kernel_means, kernel_covariances):
    """Convolve data (B, I, N) with kernels (O, I, M).

    Returns ((weights (B, O, I N M), means (..., K), covariances (..., K, K)), residuals).
    """
    data = ready(weights), ready(means), ready(covariances)
    kern = ready(kernel_weights), ready(kernel_means), ready(kernel_covariances)
    (B, I, N), (O, _, M), K = weights.shape, kernel_weights.shape, means.shape[-1]
    n_out = I * N * M
    out = tuple(np.empty((B, O, n_out, *(K,) * rank), weights.dtype) for rank in range(3))
    _forward(*data, *kern, *out, zeros(K, np.int64))
    return out, (data[0], kern[0])


@helper
def _add_to_data(weight, w, g_w, g_mu, g_cov, total, dims):
    """Add the cotangents of one row, N products with one kernel component, to the data's sums (N, 1 + K + T)."""
    K = len(dims)
    for n in range(w.shape[0]):
        total[n, 0] += weight * g_w[n]
        p = 1 + K
        for k in range(K):
            total[n, 1 + k] += g_mu[n, k]
            for e in range(k + 1):
                total[n, p] += 0.5 * (g_cov[n, k, e] + g_cov[n, e, k])
                p += 1


@helper
def _add_to_kernel(w, g_w, g_mu, g_cov, total, dims):
    """Add the cotangents of one row to the kernel component's sums (1 + K + T,)."""
    K = len(dims)
    for n in range(w.shape[0]):
        if w[n] == 0.0:
            continue
        total[0] += w[n] * g_w[n]
        p = 1 + K
        for k in range(K):
            total[1 + k] += g_mu[n, k]
            for e in range(k + 1):
                total[p] += 0.5 * (g_cov[n, k, e] + g_cov[n, e, k])
                p += 1


@helper
def _unpack(total, out_w, out_mu, out_cov, index, dims):
    """Store one component's sums as the gradients of its weight, mean and covariance."""
    K = len(dims)
    out_w[index] = total[0]
    p = 1 + K
    for k in range(K):
        out_mu[index, k] = total[1 + k]
        for e in range(k + 1):
            out_cov[index, k, e] = total[p]
            out_cov[index, e, k] = total[p]
            p += 1


@kernel
def _vjp(w, kw, g_w, g_mu, g_cov, out_w, out_mu, out_cov, totals, slices, wants, dims):
    """One task is one input channel and one slice of the batch; totals (slices, O, I, M, 1 + K + T) float64."""
    B, I, N = w.shape
    O, M = kw.shape[0], kw.shape[2]
    of_data, of_kernel = wants
    for task in prange(I * slices):
        i, s = task // slices, task % slices
        sums = np.empty((N, totals.shape[4]))
        for b in range(s * B // slices, (s + 1) * B // slices):
            sums[:] = 0.0
            for m in range(M):
                first = N * (i + I * m)
                row = slice(first, first + N)
                for o in range(O):
                    if kw[o, i, m] == 0.0:
                        continue
                    gw, gmu, gcov = g_w[b, o, row], g_mu[b, o, row], g_cov[b, o, row]
                    if of_data:
                        _add_to_data(kw[o, i, m], w[b, i], gw, gmu, gcov, sums, dims)
                    if of_kernel:
                        _add_to_kernel(w[b, i], gw, gmu, gcov, totals[s, o, i, m], dims)
            if of_data:
                for n in range(N):
                    if w[b, i, n] != 0.0:
                        _unpack(sums[n], out_w[b, i], out_mu[b, i], out_cov[b, i], n, dims)


def vjp(residuals, g_weights, g_means, g_covariances, needs):
    """Return the gradients of the six inputs of `forward`, None where `needs` is False.

    With cotangents g of the product c = (n, i, m) in output channel o, and out_w = w v, out_mu = mu + nu,
    out_C = C + D for data (w, mu, C) and kernel (v, nu, D):

        g_w[b,i,n]  = sum_{o,m} v[o,i,m] g_w[b,o,c]        g_v[o,i,m]  = sum_{b,n} w[b,i,n] g_w[b,o,c]
        g_mu[b,i,n] = sum_{o,m} g_mu[b,o,c]                g_nu[o,i,m] = sum_{b,n} g_mu[b,o,c]
        g_C[b,i,n]  = sum_{o,m} (G + G^T)/2 [b,o,c]        g_D[o,i,m]  = sum_{b,n} (G + G^T)/2 [b,o,c]

    A product with an absent component (weight 0) is absent: its cotangents reach neither factor. All sums
    are gathered in float64 in an order that does not depend on the number of threads.
    """
    w, kw = residuals
    (B, I, _), (O, _, M), K = w.shape, kw.shape, g_means.shape[-1]
    wants = any(needs[:3]), any(needs[3:])
    slices = max(1, min(B, -(-TASKS // max(I, 1))))
    totals = np.zeros((slices, O, I, M, 1 + K + K * (K + 1) // 2) if wants[1] else (slices, 0, 0, 0, 1 + K + K * (K + 1) // 2))
    of_data = tuple(np.zeros((*w.shape, *(K,) * rank) if wants[0] else (0, 0, 0, *(K,) * rank), w.dtype) for rank in range(3))
    g = ready(g_weights), ready(g_means), ready(g_covariances)
    dims = zeros(K, np.int64)
    _vjp(w, kw, *g, *of_data, totals, slices, wants, dims)
    grads = of_data + (_kernel_gradients(totals.sum(axis=0), K, w.dtype) if wants[1] else (None,) * 3)
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _kernel_gradients(totals, K, dtype):
    rows, columns = np.tril_indices(K)
    covariances = np.empty((*totals.shape[:-1], K, K), dtype)
    covariances[..., rows, columns] = covariances[..., columns, rows] = totals[..., 1 + K :]
    return totals[..., 0].astype(dtype), totals[..., 1 : 1 + K].astype(dtype), covariances

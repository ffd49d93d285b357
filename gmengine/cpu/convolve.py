"""Convolution of mixtures by Numba: weights multiply, means and covariances add (paper eq. 3-4).

Component (n, i, m) of the result, data component n, input channel i, kernel component m, has index
n + N (i + I m). All loops run in this order, so that rows of N components are read and written in one go.
"""

import numpy as np

from gmengine.cpu._compile import TASKS, helper, ready, threaded, zeros
from gmengine.cpu._tuples import n_packed


@threaded
def _forward(worker, workers, data, kern, out, dims):
    """A task is one batch element and output channel."""
    w, mu, cov = data
    kw, kmu, kcov = kern
    B, I, N = w.shape
    O, _, M = kw.shape
    K = len(dims)
    for task in range(worker, B * O, workers):
        b, o = task // O, task % O
        out_w, out_mu, out_cov = out[0][b, o], out[1][b, o], out[2][b, o]
        for m in range(M):
            for i in range(I):
                for n in range(N):
                    c = n + N * (i + I * m)
                    out_w[c] = kw[o, i, m] * w[b, i, n]
                    for k in range(K):
                        out_mu[c, k] = mu[b, i, n, k] + kmu[o, i, m, k]
                        for e in range(k + 1):
                            value = cov[b, i, n, k, e] + kcov[o, i, m, k, e]
                            out_cov[c, k, e] = value
                            out_cov[c, e, k] = value


def forward(weights, means, covariances, kernel_weights, kernel_means, kernel_covariances):
    """Convolve data (B, I, N) with kernels (O, I, M).

    Returns ((weights (B, O, I N M), means (..., K), covariances (..., K, K)), residuals).
    """
    data = ready(weights), ready(means), ready(covariances)
    kern = ready(kernel_weights), ready(kernel_means), ready(kernel_covariances)
    (B, I, N), (O, _, M), K = weights.shape, kernel_weights.shape, means.shape[-1]
    n_out = I * N * M
    out = tuple(np.empty((B, O, n_out, *(K,) * rank), weights.dtype) for rank in range(3))
    _forward(B * O, data, kern, out, zeros(K, np.int64))
    return out, (data[0], kern[0])


@helper
def _add_to_data(weight, cotangents, total, dims):
    """Add the cotangents of one row, N products with one kernel component, to the data's sums (N, 1 + K + T)."""
    g_w, g_mu, g_cov = cotangents
    K = len(dims)
    for n in range(g_w.shape[0]):
        total[n, 0] += weight * g_w[n]
        p = 1 + K
        for k in range(K):
            total[n, 1 + k] += g_mu[n, k]
            for e in range(k + 1):
                total[n, p] += 0.5 * (g_cov[n, k, e] + g_cov[n, e, k])
                p += 1


@helper
def _add_to_kernel(w, cotangents, total, dims):
    """Add the cotangents of one row to the kernel component's sums (1 + K + T,)."""
    g_w, g_mu, g_cov = cotangents
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
def _store(w, sums, out_w, out_mu, out_cov, dims):
    """Store the sums of the components that are present as the gradients of weight, mean and covariance."""
    for n in range(w.shape[0]):
        if w[n] == 0.0:
            continue
        out_w[n] = sums[n, 0]
        p = 1 + len(dims)
        for k in range(len(dims)):
            out_mu[n, k] = sums[n, 1 + k]
            for e in range(k + 1):
                out_cov[n, k, e] = sums[n, p]
                out_cov[n, e, k] = sums[n, p]
                p += 1


@threaded
def _vjp(worker, workers, slices, factors, cotangents, grads, totals, wants, dims):
    """A task is one input channel and one slice of the batch; totals (slices, O, I, M, 1 + K + T) float64."""
    w, kw = factors
    g_w, g_mu, g_cov = cotangents
    B, I, N = w.shape
    O, _, M = kw.shape
    of_data, of_kernel = wants
    sums = np.empty((N, totals.shape[4]))
    for task in range(worker, I * slices, workers):
        i, s = task // slices, task % slices
        for b in range(s * B // slices, (s + 1) * B // slices):
            sums[:] = 0.0
            for m in range(M):
                first = N * (i + I * m)
                row = slice(first, first + N)
                for o in range(O):
                    weight = kw[o, i, m]
                    if weight == 0.0:
                        continue
                    g = g_w[b, o, row], g_mu[b, o, row], g_cov[b, o, row]
                    if of_data:
                        _add_to_data(weight, g, sums, dims)
                    if of_kernel:
                        _add_to_kernel(w[b, i], g, totals[s, o, i, m], dims)
            if of_data:
                _store(w[b, i], sums, grads[0][b, i], grads[1][b, i], grads[2][b, i], dims)


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
    (B, I, _), K = w.shape, g_means.shape[-1]
    wants = any(needs[:3]), any(needs[3:])
    slices = max(1, min(B, -(-TASKS // max(I, 1))))
    totals = np.zeros((slices, *(kw.shape if wants[1] else (0, 0, 0)), 1 + K + n_packed(K)))
    shape = w.shape if wants[0] else (0, 0, 0)
    of_data = tuple(np.zeros((*shape, *(K,) * rank), w.dtype) for rank in range(3))
    g = ready(g_weights), ready(g_means), ready(g_covariances)
    _vjp(I * slices, slices, (w, kw), g, of_data, totals, wants, zeros(K, np.int64))
    grads = of_data + (_kernel_gradients(totals.sum(axis=0), K, w.dtype) if wants[1] else (None,) * 3)
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _kernel_gradients(totals, K, dtype):
    rows, columns = np.tril_indices(K)
    covariances = np.empty((*totals.shape[:-1], K, K), dtype)
    covariances[..., rows, columns] = covariances[..., columns, rows] = totals[..., 1 + K :]
    return totals[..., 0].astype(dtype), totals[..., 1 : 1 + K].astype(dtype), covariances

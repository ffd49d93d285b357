"""Between the arrays of mixtures and the rows (w, mu, C packed) of `_em_step`, by NumPy: results and gradients.

Gradients of covariances are packed with their off-diagonal entries doubled.
"""

import numpy as np


def _entries(K):
    """Yield (column of a row, k, m) for every entry of a packed triangle."""
    for k in range(K):
        for m in range(k + 1):
            yield 1 + K + k * (k + 1) // 2 + m, k, m


def _signs(positive, n):
    """Return (M, n) ones with the sign of the places of which the first `positive` (M,) are positive."""
    return np.where(np.arange(n) < positive[:, None], 1.0, -1.0)


def to_mixtures(rows, positive, centres, dtype):
    """Return weights (M, n), means and covariances of rows; those without a mass that `dtype` can hold are absent.

    That is, a mass up to the smallest normal number, which is what `em_step` leaves of nothing.
    """
    (M, n, _), K = rows.shape, centres.shape[1]
    present = rows[..., 0] > np.finfo(dtype).tiny
    weights = np.where(present, _signs(positive, n) * rows[..., 0], 0.0)
    means = np.where(present[..., None], rows[..., 1 : 1 + K] + centres[:, None], 0.0)
    covariances = np.empty((M, n, K, K), dtype)
    for q, k, m in _entries(K):
        covariances[..., k, m] = covariances[..., m, k] = np.where(present, rows[..., q], float(k == m))
    return weights.astype(dtype), means.astype(dtype), covariances


def cotangents_to_rows(rows, positive, cotangents, dtype):
    """Return the gradients of rows from the cotangents of `to_mixtures`; those of absent components are ignored."""
    g_weights, g_means, g_covariances = cotangents
    K, g_rows = g_means.shape[-1], np.empty(rows.shape)
    g_rows[..., 0] = g_weights * _signs(positive, rows.shape[1])
    g_rows[..., 1 : 1 + K] = g_means
    for q, k, m in _entries(K):
        g_rows[..., q] = g_covariances[..., k, m]
        if m < k:
            g_rows[..., q] += g_covariances[..., m, k]
    g_rows[rows[..., 0] <= np.finfo(dtype).tiny] = 0.0
    return g_rows


def rows_to_gradients(g_rows, weights, K):
    """Return the gradients of weights (M, N), means and covariances from those of their rows."""
    g_covariances = np.empty((*weights.shape, K, K), weights.dtype)
    for q, k, m in _entries(K):
        share = g_rows[..., q] if k == m else 0.5 * g_rows[..., q]
        g_covariances[..., k, m] = g_covariances[..., m, k] = share
    g_weights = (np.sign(weights) * g_rows[..., 0]).astype(weights.dtype)
    return g_weights, g_rows[..., 1 : 1 + K].astype(weights.dtype), g_covariances

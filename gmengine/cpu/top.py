"""Keep the components of largest |weight|, by NumPy."""

import numpy as np


def plan(weights, n):
    """Return (M, n) indices of the heaviest components, heaviest first, ties by index; -1 for absent ones.

    weights (M, N), finite; n <= N.
    """
    chosen = np.argsort(-np.abs(weights), axis=1, kind="stable")[:, :n]
    return np.where(np.take_along_axis(weights, chosen, axis=1) != 0, chosen, -1).astype(np.int32)


def forward(weights, means, covariances, indices):
    """Return ((weights, means, covariances) of the chosen components, residuals)."""
    rows, columns = np.arange(weights.shape[0])[:, None], np.where(indices >= 0, indices, 0)
    present = (indices >= 0) & (
        weights[rows, columns] != 0
    )  # a plan may meet other weights than it was made for
    eye = np.eye(means.shape[-1], dtype=means.dtype)
    zero = weights.dtype.type(0)
    outputs = (
        np.where(present, weights[rows, columns], zero),
        np.where(present[..., None], means[rows, columns], zero),
        np.where(present[..., None, None], covariances[rows, columns], eye),
    )
    return outputs, (weights, means, covariances, indices)


def vjp(residuals, g_weights, g_means, g_covariances, needs):
    """Return the gradients of weights, means and covariances (None where not needed).

    A kept component's gradient is its output's cotangent, that of a covariance symmetrised; all others are zero.
    """
    *inputs, indices = residuals
    named = np.where(indices >= 0, indices, 0)
    rows, columns = np.nonzero((indices >= 0) & (np.take_along_axis(inputs[0], named, axis=1) != 0))
    symmetric = (g_covariances + np.swapaxes(g_covariances, -1, -2)) / 2
    grads = []
    for x, g, need in zip(inputs, (g_weights, g_means, symmetric), needs, strict=True):
        grads.append(np.zeros_like(x) if need else None)
        if need:
            grads[-1][rows, indices[rows, columns]] = g[rows, columns]
    return tuple(grads)

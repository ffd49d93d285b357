"""The formulas of evaluate and the ReLU fit in the words that NumPy, JAX and PyTorch have in common.

Two forms of the sum over pairs: `fused` leaves (P, N) expressions to a compiler, which may fuse them with their sum;
`gemm` writes the exponent as an inner product of monomials, so that a matrix product does most of the work. What makes
one faster is the library's matter; the benchmark takes the better one.
"""

from __future__ import annotations

import math
from typing import Any

FORMS = ("fused", "gemm")


def whitening(xp: Any, covariances: Any) -> tuple[list[list[Any]], Any]:
    """Return the entries of L^-1 (lists of arrays of the batch's shape) for C = L L^T, and 1 / sqrt((2 pi)^K det C)."""
    K = covariances.shape[-1]
    L: list[list[Any]] = []
    for k in range(K):
        row: list[Any] = []
        for m in range(k + 1):
            v = covariances[..., k, m]
            for i in range(m):
                v = v - row[i] * (L[m][i] if m < k else row[i])
            row.append(v / L[m][m] if m < k else xp.sqrt(v))
        L.append(row)
    inverse: list[list[Any]] = []
    peak = (2.0 * math.pi) ** (-K / 2)
    for k in range(K):
        peak = peak / L[k][k]
        row = []
        for m in range(k):
            row.append(-sum(L[k][i] * inverse[i][m] for i in range(m, k)) / L[k][k])
        inverse.append([*row, 1.0 / L[k][k]])
    return inverse, peak


def sums(
    xp: Any, form: str, amplitudes: list[Any], means: Any, inverse: list[list[Any]], points: Any
) -> list[Any]:
    """Return sum_j amplitude_j exp(-|A_j (x_i - mu_j)|^2 / 2), one array (M, P) for each set of amplitudes (M, N)."""
    K = means.shape[-1]
    if form == "fused":
        d = [points[:, :, None, k] - means[:, None, :, k] for k in range(K)]
        squares: Any = 0.0
        for k in range(K):
            y = sum(inverse[k][m][:, None, :] * d[m] for m in range(k + 1))
            squares = squares + y * y
        e = xp.exp(-0.5 * squares)
        return [(a[:, None, :] * e).sum(-1) for a in amplitudes]
    e = xp.exp(xp.matmul(*_monomials(xp, means, inverse, points)))
    stacked = xp.matmul(e, xp.stack(amplitudes, -1))
    return [stacked[..., s] for s in range(len(amplitudes))]


def _monomials(xp: Any, means: Any, inverse: list[list[Any]], points: Any) -> tuple[Any, Any]:
    """Return (M, P, F) and (M, F, N) whose product is the exponent."""
    K = means.shape[-1]
    precision = [
        [sum(inverse[i][k] * inverse[i][m] for i in range(max(k, m), K)) for m in range(K)] for k in range(K)
    ]
    slope = [sum(precision[k][m] * means[..., m] for m in range(K)) for k in range(K)]
    constant = -0.5 * sum(slope[k] * means[..., k] for k in range(K))
    x = [points[..., k] for k in range(K)]
    left, right = [x[0] * 0 + 1.0, *x], [constant, *slope]
    for k in range(K):
        for m in range(k + 1):
            left.append(x[k] * x[m])
            right.append(precision[k][m] * (-0.5 if k == m else -1.0))
    return xp.stack(left, -1), xp.stack(right, -2)


def evaluate(xp: Any, form: str, weights: Any, means: Any, covariances: Any, points: Any) -> Any:
    """Return the values (M, P) of mixtures at points."""
    inverse, peak = whitening(xp, covariances)
    return sums(xp, form, [weights * peak], means, inverse, points)[0]


def relu(xp: Any, form: str, weights: Any, means: Any, covariances: Any) -> Any:
    """Return the new weights (M, N) of the dense ReLU fit, as `gmengine.relu` with its default epsilons and no bias."""
    inverse, peak = whitening(xp, covariances)
    size = xp.abs(weights)
    unit = 0.05 * (size * peak).mean(-1)[:, None]
    coarse = xp.where(weights > 0, weights, weights * 0) + 0.1 * size.mean(-1)[:, None]
    v, u = sums(xp, form, [weights * peak, coarse * peak], means, inverse, means)
    return coarse * (xp.where(v > 0, v, v * 0) + unit) / (u + unit)

"""Inner products, convolutions and steps of EM in the words that NumPy, JAX and PyTorch have in common."""

from __future__ import annotations

import math
from typing import Any

from bench.peers.formulas import whitening


def product(xp: Any, wa: Any, mua: Any, cova: Any, wb: Any, mub: Any, covb: Any) -> Any:
    """Return the inner products (M,) of mixtures (M, N) and (M, N'): every pair has its own L D L^T = C_i + D_j."""
    K = mua.shape[-1]
    d = [mua[:, :, None, k] - mub[:, None, :, k] for k in range(K)]
    L: list[list[Any]] = []
    pivots: list[Any] = []
    z: list[Any] = []
    squares: Any = 0.0
    volume: Any = (2.0 * math.pi) ** K
    for k in range(K):
        row: list[Any] = []
        for m in range(k + 1):
            s = cova[:, :, None, k, m] + covb[:, None, :, k, m]
            for i in range(m):
                s = s - row[i] * pivots[i] * (L[m][i] if m < k else row[i])
            if m < k:
                row.append(s / pivots[m])
            else:
                pivots.append(s)
        L.append(row)
        z.append(d[k] - sum(row[i] * z[i] for i in range(k)))
        squares = squares + z[k] * z[k] / pivots[k]
        volume = volume * pivots[k]
    pairs = xp.exp(-0.5 * squares) / xp.sqrt(volume)
    return (wa * (pairs * wb[:, None, :]).sum(-1)).sum(-1)


def l2_distance(xp: Any, *both: Any) -> Any:
    """Return the distances (M,) as sqrt(<a, a> - 2 <a, b> + <b, b>)."""
    a, b = both[:3], both[3:]
    return xp.sqrt(product(xp, *a, *a) - 2.0 * product(xp, *a, *b) + product(xp, *b, *b))


def convolve(xp: Any, w: Any, mu: Any, cov: Any, kw: Any, kmu: Any, kcov: Any) -> tuple[Any, Any, Any]:
    """Return the convolution of data (B, I, N) with kernels (O, I, M): three arrays (B, O, M I N, ...)."""
    (B, I, N), (O, _, M), K = w.shape, kw.shape, mu.shape[-1]

    def meet(x: Any, y: Any) -> tuple[Any, Any]:  # (B, 1, 1, I, N, ...) and (1, O, M, I, 1, ...)
        return x[:, None, None], xp.swapaxes(y, 1, 2)[None, :, :, :, None]

    a, b = meet(w, kw)
    means, spreads = (x + y for x, y in (meet(mu, kmu), meet(cov, kcov)))
    n = M * I * N
    return (a * b).reshape(B, O, n), means.reshape(B, O, n, K), spreads.reshape(B, O, n, K, K)


def features(xp: Any, means: Any, covariances: Any) -> Any:
    """Return (M, N, 1 + K + K^2): 1, the mean, and the mean's outer product plus the covariance."""
    second = means[..., :, None] * means[..., None, :] + covariances
    flat = second.reshape(*means.shape[:-1], -1)
    return xp.concatenate([means[..., :1] * 0 + 1.0, means, flat], -1)


def likelihoods(xp: Any, seen: Any, means: Any, covariances: Any) -> Any:
    """Return E_i[log N(x; s)] but for a constant, (M, N, S): features (M, N, F) times those of models (M, S)."""
    K = means.shape[-1]
    inverse, peak = whitening(xp, covariances)
    precision = [
        [sum(inverse[i][k] * inverse[i][m] for i in range(max(k, m), K)) for m in range(K)] for k in range(K)
    ]
    slope = [sum(precision[k][m] * means[..., m] for m in range(K)) for k in range(K)]
    constant = xp.log(peak) - 0.5 * sum(slope[k] * means[..., k] for k in range(K))
    quadratic = [-0.5 * precision[k][m] for k in range(K) for m in range(K)]
    return xp.matmul(seen, xp.stack([constant, *slope, *quadratic], -2))


def em_step(
    xp: Any, weights: Any, means: Any, covariances: Any, parents: Any, points: float, reach: float | None
) -> tuple[Any, Any, Any]:
    """Return one step of EM of positive components (M, N) from the `parents` (M, S) among them.

    points: how many virtual points a mixture stands for. reach: the divergence up to which a component may join a
    parent; it may always join the nearest.
    """
    K = means.shape[-1]
    seen = features(xp, means, covariances)
    rows = xp.arange(len(weights))[:, None]
    w, mu, cov = weights[rows, parents], means[rows, parents], covariances[rows, parents]
    logs = likelihoods(xp, seen, mu, cov)
    share = weights / weights.sum(-1)[:, None]
    scores = xp.log(w)[:, None, :] + points * share[:, :, None] * logs
    if reach is not None:
        own = xp.log(whitening(xp, covariances)[1]) - 0.5 * K
        away = own[:, :, None] - logs
        nearest = away.min(-1)[:, :, None]
        scores = xp.where((away <= reach) | (away <= nearest), scores, scores * 0 - math.inf)
    top = scores.max(-1)[:, :, None]
    shares = xp.exp(scores - top)
    rho = weights[:, :, None] * shares / shares.sum(-1)[:, :, None]
    sums = xp.matmul(xp.swapaxes(rho, 1, 2), seen)
    mass = sums[..., 0]
    centre = sums[..., 1 : 1 + K] / mass[..., None]
    second = (sums[..., 1 + K :] / mass[..., None]).reshape(*mass.shape, K, K)
    return mass, centre, second - centre[..., :, None] * centre[..., None, :]


def heaviest(xp: Any, weights: Any, n: int) -> Any:
    """Return the `n` heaviest components of positive mixtures (M, N), heaviest first."""
    return xp.argsort(-weights)[:, :n]


def em(xp: Any, n: int, weights: Any, means: Any, covariances: Any) -> tuple[Any, Any, Any]:
    """Return positive mixtures reduced by one step of EM from the heaviest components (the paper's MEM)."""
    return em_step(xp, weights, means, covariances, heaviest(xp, weights, n), 20.0, None)

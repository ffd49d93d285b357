"""What every op should give, slow and obvious, from the formulas alone: shares no code with the package.

NumPy arrays in, NumPy float64 out. A mixture is three arrays, ``weights (*batch, N)``, ``means (*batch, N,
K)``, ``covariances (*batch, N, K, K)``; a component of weight 0 is absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any

import mpmath
import numpy as np
from scipy.signal import fftconvolve
from scipy.stats import multivariate_normal

Triple = tuple[Any, Any, Any]


def density(x: Any, mean: Any, covariance: Any) -> float:
    """Return N(x; mean, covariance) of one point."""
    return float(multivariate_normal(np.float64(mean), np.float64(covariance)).pdf(np.float64(x)))


def present(weights: Any) -> list[int]:
    """Return the indices of the components of one mixture that exist."""
    return [i for i, w in enumerate(weights) if w != 0]


def evaluate(weights: Any, means: Any, covariances: Any, points: Any) -> Any:
    """Return ``sum_i w_i N(x; mu_i, C_i)``; points ``(*batch, P, K)`` to ``(*batch, P)``, broadcast."""
    batch = np.broadcast_shapes(weights.shape[:-1], points.shape[:-2])
    w, mu, cov, x = _broadcast(batch, (weights, 1), (means, 2), (covariances, 3), (points, 2))
    values = np.zeros((*batch, points.shape[-2]))
    for b in np.ndindex(*batch):
        for i in present(w[b]):
            values[b] += w[b][i] * _densities(mu[b][i], cov[b][i], x[b])
    return values


def evaluate_precise(weights: Any, means: Any, covariances: Any, points: Any, digits: int = 60) -> Any:
    """Return `evaluate` of one mixture, computed with `digits` digits: the judge of ill-conditioned cases."""
    with mpmath.workdps(digits):
        values = []
        for x in points:
            total = mpmath.mpf(0)
            for i in present(weights):
                c = mpmath.matrix([[mpmath.mpf(float(v)) for v in row] for row in covariances[i]])
                d = mpmath.matrix(
                    [mpmath.mpf(float(a)) - mpmath.mpf(float(b)) for a, b in zip(x, means[i], strict=True)]
                )
                maha = (d.T * mpmath.lu_solve(c, d))[0]
                norm = mpmath.sqrt((2 * mpmath.pi) ** len(x) * mpmath.det(c))
                total += mpmath.mpf(float(weights[i])) * mpmath.exp(-maha / 2) / norm
            values.append(float(total))
    return np.array(values)


def peaks(weights: Any, covariances: Any) -> Any:
    """Return ``N(mu_i; mu_i, C_i)``, shape ``(*batch, N)``; 1 for absent components."""
    density_at_mean = np.ones(weights.shape)
    zero = np.zeros(covariances.shape[-1])
    for index in zip(*np.nonzero(weights), strict=True):
        density_at_mean[index] = density(zero, zero, covariances[index])
    return density_at_mean


def peak_sum(weights: Any, covariances: Any) -> Any:
    """Return ``sum_i |w_i| N(mu_i; mu_i, C_i)``, shape ``(*batch,)``: the unit of errors of values."""
    return np.sum(np.abs(weights.astype(float)) * peaks(weights, covariances), axis=-1)


def integrate(weights: Any) -> Any:
    """Return the sum of the weights, shape ``(*batch,)``."""
    return np.array([sum(float(w) for w in row) for row in weights.reshape(-1, weights.shape[-1])]).reshape(
        weights.shape[:-1]
    )


def convolve(data: Triple, kernel: Triple) -> Triple:
    """Convolve data ``(I, N)``, kernels ``(O, I, M)`` -> ``(O, I*N*M)``, component ``n + N*(i + I*m)``."""
    (dw, dmu, dcov), (kw, kmu, kcov) = data, kernel
    (i_channels, n_data), (o_channels, _, n_kernel), dim = dw.shape, kw.shape, dmu.shape[-1]
    total = i_channels * n_data * n_kernel
    w, mu = np.zeros((o_channels, total)), np.zeros((o_channels, total, dim))
    cov = np.zeros((o_channels, total, dim, dim))
    for o in range(o_channels):
        for i in range(i_channels):
            for n in range(n_data):
                for m in range(n_kernel):
                    c = n + n_data * (i + i_channels * m)
                    w[o, c] = float(dw[i, n]) * float(kw[o, i, m])
                    mu[o, c] = dmu[i, n].astype(float) + kmu[o, i, m].astype(float)
                    cov[o, c] = dcov[i, n].astype(float) + kcov[o, i, m].astype(float)
    return w, mu, cov


def convolve_on_grid(data: Triple, kernel: Triple, radius: float, n: int) -> tuple[Any, Any]:
    """Return points ``(P, K)`` and values there of the convolution of two mixtures, from samples on a grid.

    Knows nothing of the algebra: both functions are sampled at ``(2n + 1)^K`` points of [-radius, radius]^K
    and convolved by FFT; both must have died away at the border.
    """
    dim, axis = data[1].shape[-1], np.linspace(-radius, radius, 2 * n + 1)
    points = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    f, g = (evaluate(*m, points).reshape((len(axis),) * dim) for m in (data, kernel))
    values = fftconvolve(f, g, mode="same") * (axis[1] - axis[0]) ** dim
    return points, values.reshape(-1)


def relu(
    weights: Any,
    means: Any,
    covariances: Any,
    bias: float = 0.0,
    epsilons: tuple[float, float, float] = (0.1, 0.05, 0.05),
    relative: bool = True,
) -> Any:
    """Return the new weights ``(N,)`` of one mixture under the dense fit of max(0, m + bias) - max(0, bias).

    Paper eqs. 6 and 7 with the bias moved into the constant: with c+ = max(c, 0), w0 = w or -c+,
    x0 = |w0| + e1, b = max(v + c, 0) - c+, the result is x0 (b + e2) / (u + e3).
    """
    e1, e2, e3 = epsilons
    live = present(weights)
    new = np.zeros(len(weights))
    g = np.zeros((len(weights), len(weights)))
    for j in live:
        g[:, j] = _densities(means[j], covariances[j], means)
    if relative and live:
        e1 *= sum(abs(float(weights[i])) for i in live) / len(live)
        value_scale = sum(abs(float(weights[i])) * g[i, i] for i in live) / len(live)
        e2, e3 = e2 * value_scale, e3 * value_scale
    above = max(bias, 0.0)
    x0 = {i: abs(float(weights[i]) if weights[i] + bias > 0 else -above) + e1 for i in live}
    for i in live:
        v = sum(float(weights[j]) * g[i, j] for j in live)
        u = sum(x0[j] * g[i, j] for j in live)
        new[i] = x0[i] * (max(v + bias, 0.0) - above + e2) / (u + e3)
    return new


def moments(weights: Any, means: Any, covariances: Any) -> Triple:
    """Return the integrals of f, x f and x x^T f of one mixture: shapes (), (K,), (K, K)."""
    dim = means.shape[-1]
    m0, m1, m2 = 0.0, np.zeros(dim), np.zeros((dim, dim))
    for i in present(weights):
        w, mu = float(weights[i]), np.float64(means[i])
        m0 += w
        m1 += w * mu
        m2 += w * (np.float64(covariances[i]) + np.outer(mu, mu))
    return m0, m1, m2


def domain_scale(weights: Any, covariances: Any) -> float:
    """Return the s that makes the mean of tr(s^2 C) over present components K; 1 if there are none."""
    traces = [float(np.trace(np.float64(covariances[i]))) for i in present(weights)]
    return sqrt(covariances.shape[-1] * len(traces) / sum(traces)) if traces else 1.0


def _densities(mean: Any, covariance: Any, points: Any) -> Any:
    pdf = multivariate_normal(np.float64(mean), np.float64(covariance)).pdf(np.float64(points))
    return np.reshape(pdf, len(points))


def _broadcast(batch: tuple[int, ...], *arrays: tuple[Any, int]) -> Iterator[Any]:
    """Yield each array with its leading axes broadcast to `batch`; its last axes stay."""
    return (np.broadcast_to(a, (*batch, *a.shape[a.ndim - core :])) for a, core in arrays)

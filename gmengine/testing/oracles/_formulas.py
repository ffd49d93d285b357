"""Closed forms as loops over components."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi, sqrt
from typing import Any

import mpmath
import numpy as np
from scipy.stats import multivariate_normal

Triple = tuple[Any, Any, Any]


def density(x: Any, mean: Any, covariance: Any) -> float:
    """Return N(x; mean, covariance) of one point."""
    return float(multivariate_normal(_double(mean), _double(covariance)).pdf(_double(x)))


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
                term = _precise_density(x, means[i], _matrix(covariances[i]))
                total += mpmath.mpf(float(weights[i])) * term
            values.append(float(total))
    return np.array(values)


def peaks(weights: Any, covariances: Any) -> Any:
    """Return ``N(mu_i; mu_i, C_i)``, shape ``(*batch, N)``; 1 for absent components."""
    density_at_mean = np.ones(weights.shape)
    for index in zip(*np.nonzero(weights), strict=True):
        density_at_mean[index] = 1.0 / sqrt(np.linalg.det(2 * pi * _double(covariances[index])))
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
        w, mu = float(weights[i]), _double(means[i])
        m0 += w
        m1 += w * mu
        m2 += w * (_double(covariances[i]) + np.outer(mu, mu))
    return m0, m1, m2


def domain_scale(weights: Any, covariances: Any) -> float:
    """Return the s that makes the mean of tr(s^2 C) over present components K; 1 if there are none."""
    traces = [float(np.trace(_double(covariances[i]))) for i in present(weights)]
    return sqrt(covariances.shape[-1] * len(traces) / sum(traces)) if traces else 1.0


def product(a: Triple, b: Triple, digits: int = 40) -> float:
    """Return the integral of f g of two mixtures, ``sum_ij w_i v_j N(mu_i; nu_j, C_i + D_j)``."""
    with mpmath.workdps(digits):
        return float(_product(a, b))


def l2_distance(a: Triple, b: Triple, digits: int = 40) -> float:
    """Return the square root of the integral of ``(f - g)^2``: <f, f> - 2 <f, g> + <g, g>, in many digits."""
    with mpmath.workdps(digits):
        squared = _product(a, a) - 2 * _product(a, b) + _product(b, b)
        return float(mpmath.sqrt(max(squared, mpmath.mpf(0))))


def mean_and_covariance(weights: Any, means: Any, covariances: Any) -> tuple[Any, Any]:
    """Return the mean and the covariance of one mixture divided by its integral."""
    total, first, second = moments(weights, means, covariances)
    mean = first / total
    return mean, second / total - np.outer(mean, mean)


def derivatives(weights: Any, means: Any, covariances: Any, points: Any) -> tuple[Any, Any]:
    """Return the gradients (P, K) and Hessians (P, K, K) of one mixture at points (P, K)."""
    dim = means.shape[-1]
    gradients, hessians = np.zeros((len(points), dim)), np.zeros((len(points), dim, dim))
    for i in present(weights):
        p = np.linalg.inv(_double(covariances[i]))
        for x, g, h in zip(_double(points), gradients, hessians, strict=True):
            term = float(weights[i]) * density(x, means[i], covariances[i])
            pull = p @ (x - _double(means[i]))
            g -= term * pull
            h += term * (np.outer(pull, pull) - p)
    return gradients, hessians


def push_forward(weights: Any, means: Any, covariances: Any, matrix: Any, shift: Any) -> Triple:
    """Return one mixture pushed through ``x -> A x + t``."""
    a, t = _double(matrix), _double(shift)
    rows = len(t)
    mu, cov = np.zeros((len(weights), rows)), np.tile(np.eye(rows), (len(weights), 1, 1))
    for i in present(weights):
        mu[i] = a @ _double(means[i]) + t
        cov[i] = a @ _double(covariances[i]) @ a.T
    return _double(weights), mu, cov


def conditional(weights: Any, means: Any, covariances: Any, axes: Any, values: Any) -> Triple:
    """Return the slice of one mixture where the coordinates `axes` equal `values`, not normalised."""
    dim = means.shape[-1]
    b = list(axes)
    a = [k for k in range(dim) if k not in b]
    w, mu = np.zeros(len(weights)), np.zeros((len(weights), len(a)))
    cov = np.tile(np.eye(len(a)), (len(weights), 1, 1))
    for i in present(weights):
        c, m, v = _double(covariances[i]), _double(means[i]), _double(values)
        gain = c[np.ix_(a, b)] @ np.linalg.inv(c[np.ix_(b, b)])
        w[i] = float(weights[i]) * density(v, m[b], c[np.ix_(b, b)])
        mu[i] = m[a] + gain @ (v - m[b])
        cov[i] = c[np.ix_(a, a)] - gain @ c[np.ix_(b, a)]
    return w, mu, cov


def _product(a: Triple, b: Triple) -> Any:
    total = mpmath.mpf(0)
    for i in present(a[0]):
        for j in present(b[0]):
            weight = mpmath.mpf(float(a[0][i])) * mpmath.mpf(float(b[0][j]))
            c = _matrix(a[2][i]) + _matrix(b[2][j])
            total += weight * _precise_density(a[1][i], b[1][j], c)
    return total


def _matrix(rows: Any) -> Any:
    return mpmath.matrix([[mpmath.mpf(float(v)) for v in row] for row in rows])


def _precise_density(x: Any, mean: Any, c: Any) -> Any:
    d = mpmath.matrix([mpmath.mpf(float(p)) - mpmath.mpf(float(q)) for p, q in zip(x, mean, strict=True)])
    maha = (d.T * mpmath.lu_solve(c, d))[0]
    return mpmath.exp(-maha / 2) / mpmath.sqrt((2 * mpmath.pi) ** len(x) * mpmath.det(c))


def _double(x: Any) -> Any:
    return np.asarray(x, np.float64)


def _densities(mean: Any, covariance: Any, points: Any) -> Any:
    pdf = multivariate_normal(_double(mean), _double(covariance)).pdf(_double(points))
    return np.reshape(pdf, len(points))


def _broadcast(batch: tuple[int, ...], *arrays: tuple[Any, int]) -> Iterator[Any]:
    """Yield each array with its leading axes broadcast to `batch`; its last axes stay."""
    return (np.broadcast_to(a, (*batch, *a.shape[a.ndim - core :])) for a, core in arrays)

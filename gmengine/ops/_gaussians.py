"""Single Gaussians by array functions: densities and divergences, from means and Cholesky factors.

Quadratic forms are squares |L^-1 d|^2, whose rounding carries the square root of C's condition number; written with
C^-1 they would carry all of it, and float32 would be lost at a condition of 1e4.
"""

from __future__ import annotations

from math import log, pi
from typing import Any

import numpy as np

from gmengine._components import blank_absent, factorise, half_log_determinant
from gmengine.autograd import arrays, value_of
from gmengine.backend import namespace
from gmengine.mixture import Mixture


def blanked(m: Mixture) -> Mixture:
    """Return the mixture with absent components blank: weight 0, mean 0, covariance I, all constants."""
    return Mixture(*blank_absent(*m.arrays))


def factorised(op: str, m: Mixture) -> tuple[Mixture, Any]:
    """Return `blanked(m)` and the Cholesky factors (*batch, N, K, K) of its covariances.

    Raises
    ------
    NonFiniteError, NotPositiveDefinite
        If a present component is no Gaussian; names it.
    """
    blank, factors = factorise(op, *m.arrays)
    return Mixture(*blank), factors


def whitened(points: Any, means: Any, factors: Any) -> Any:
    """Return z = L_n^-1 (x_p - mu_n), shape (*batch, N, P, K): standard normal if x is drawn from component n.

    `points` is (*batch', P, K), batches broadcast. Coordinates are cut off where their square would overflow.
    """
    gaps = arrays.subtract(arrays.expand_dims(points, -3), arrays.expand_dims(means, -2))
    z = arrays.matmul(gaps, arrays.matrix_transpose(arrays.inv(factors)))
    value = value_of(z)
    most = 0.5 * float(namespace(value).finfo(value.dtype).max / value.shape[-1]) ** 0.5
    return arrays.maximum(arrays.minimum(z, most), -most)


def log_normals(points: Any, means: Any, factors: Any) -> Any:
    """Return log N(x_p; mu_n, C_n), shape (*batch, P, N)."""
    squares = arrays.sum(arrays.square(whitened(points, means, factors)), axis=-1)
    peaks = arrays.add(half_log_determinant(factors), 0.5 * int(factors.shape[-1]) * log(2.0 * pi))
    exponents = arrays.add(arrays.multiply(squares, 0.5), arrays.expand_dims(peaks, -1))
    return arrays.negative(arrays.matrix_transpose(exponents))


def log_weights(m: Mixture) -> Any:
    """Return log |w_i|, shape (*batch, N); -inf, a constant, for absent components."""
    present = value_of(m.weights) != 0
    sizes = arrays.where(present, arrays.abs(m.weights), 1.0)
    return arrays.where(present, arrays.log(sizes), -float("inf"))


def divergences(a_means: Any, a_factors: Any, b_means: Any, b_factors: Any) -> Any:
    """Return KL(a_i || b_j) of single Gaussians, shape (*batch, N_a, N_b); batches broadcast.

    Twice that is |L_b^-1 (mu_a - mu_b)|^2 + |L_b^-1 L_a|^2 - K + log det C_b - log det C_a (|.| is the Frobenius
    norm: the square of L_b^-1 L_a is the trace of C_b^-1 C_a). Of shape (*batch, N_a K, N_b K) is the largest
    intermediate result.
    """
    (n_a, dim), n_b = a_means.shape[-2:], b_means.shape[-2]
    batch = np.broadcast_shapes(a_means.shape[:-2], b_means.shape[:-2])
    squares = arrays.sum(arrays.square(whitened(a_means, b_means, b_factors)), axis=-1)  # (*, N_b, N_a)
    # All products L_b^-1 L_a as one matrix product: rows (b, r), columns (a, c).
    left = arrays.reshape(arrays.inv(b_factors), (*b_factors.shape[:-3], n_b * dim, dim))
    lead = range(len(a_factors.shape) - 3)
    rows_first = arrays.permute_dims(a_factors, (*lead, -2, -3, -1))
    right = arrays.reshape(rows_first, (*a_factors.shape[:-3], dim, n_a * dim))
    products = arrays.reshape(arrays.matmul(left, right), (*batch, n_b, dim, n_a, dim))
    traces = arrays.sum(arrays.square(products), axis=(-3, -1))
    halves = arrays.multiply(arrays.add(squares, arrays.subtract(traces, float(dim))), 0.5)
    spreads = arrays.subtract(
        arrays.expand_dims(half_log_determinant(b_factors), -1),
        arrays.expand_dims(half_log_determinant(a_factors), -2),
    )
    return arrays.matrix_transpose(arrays.add(halves, spreads))

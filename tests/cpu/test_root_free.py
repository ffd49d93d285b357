"""The root-free factorisation in registers, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from gmengine.cpu import _root_free, _tuples

DIMS = [1, 2, 3, 4, 7]


def pack(matrix):
    return tuple(matrix[np.tril_indices(len(matrix))])


def lower(packed, dim):
    matrix = np.zeros((dim, dim))
    matrix[np.tril_indices(dim)] = packed
    return matrix


@njit
def _all(c, v):
    f = _root_free.root_free(c)
    z = _root_free.half_solved(f, v)
    u = _root_free.over_pivots(f, z)
    return f, z, u, _root_free.back_solved(f, u), _root_free.inverted(f), _tuples.diagonal_product(f)


@pytest.mark.parametrize("dim", DIMS)
def test_the_factor_multiplies_to_the_matrix_and_solves_with_it(dim):
    rng = np.random.default_rng(dim)
    root, v = rng.standard_normal((dim, dim)), rng.standard_normal(dim)
    c = root @ root.T + np.eye(dim)
    f, z, u, x, inverse, product = _all(pack(c), tuple(v))
    factor = lower(f, dim)
    unit, pivots = np.tril(factor, -1) + np.eye(dim), 1.0 / np.diag(factor)
    want = (
        (unit @ np.diag(pivots) @ unit.T, c),
        (unit @ np.array(z), v),
        (pivots * np.array(u), z),
        (c @ np.array(x), v),
        (lower(inverse, dim), np.tril(np.linalg.inv(c))),
        (product, 1.0 / np.linalg.det(c)),
        (np.dot(z, u), v @ np.linalg.solve(c, v)),
    )
    for got, expected in want:
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
def test_hard_conditioning_costs_no_more_than_with_square_roots(dim):
    rng = np.random.default_rng(10 + dim)
    q, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    c = q @ np.diag(np.logspace(0, -8, dim)) @ q.T
    c = (c + c.T) / 2
    v = np.linalg.cholesky(c) @ rng.standard_normal(dim)  # a vector of the length that C gives it
    _, z, u, *_ = _all(pack(c), tuple(v))
    whitened = np.linalg.solve(np.linalg.cholesky(c), v)
    np.testing.assert_allclose(np.dot(z, u), whitened @ whitened, rtol=1e-7)

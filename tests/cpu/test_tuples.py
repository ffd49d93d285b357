"""Small vectors and triangles in registers, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from gmengine.cpu import _rows, _tuples

DIMS = [1, 2, 3, 4, 7]


def pack(matrix):
    return tuple(matrix[np.tril_indices(len(matrix))])


def lower(packed, dim):
    matrix = np.zeros((dim, dim))
    matrix[np.tril_indices(dim)] = packed
    return matrix


def symmetric(packed, dim):
    matrix = lower(packed, dim)
    return matrix + np.tril(matrix, -1).T


def spd(rng, dim):
    a = rng.standard_normal((dim, dim))
    return a @ a.T + np.eye(dim)


@njit
def _products(a, u, v, like):
    return (
        _tuples.lower_times(a, v),
        _tuples.transposed_times(a, v),
        _tuples.outer(u, v, like),
        _tuples.dot(u, v),
        _tuples.diagonal_product(a),
        _tuples.added(u, v),
        _tuples.subtracted(u, v),
        _tuples.scaled(2.5, u),
    )


@pytest.mark.parametrize("dim", DIMS)
def test_products_are_those_of_matrices(dim):
    rng = np.random.default_rng(dim)
    a, u, v = np.tril(rng.standard_normal((dim, dim))), rng.standard_normal(dim), rng.standard_normal(dim)
    got = _products(pack(a), tuple(u), tuple(v), pack(a))
    want = (a @ v, a.T @ v, pack(np.outer(u, v)), u @ v, np.prod(np.diag(a)), u + v, u - v, 2.5 * u)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-14, atol=1e-14)


@njit
def _congruence(a, s, shift):
    return _tuples.congruence(a, s, shift)


@pytest.mark.parametrize("dim", DIMS)
def test_a_congruence_is_a_product_of_three(dim):
    rng = np.random.default_rng(dim)
    a, s = np.tril(rng.standard_normal((dim, dim))), spd(rng, dim)
    got = symmetric(_congruence(pack(a), pack(s), 0.75), dim)
    np.testing.assert_allclose(got, a.T @ (s - 0.75 * np.eye(dim)) @ a, rtol=1e-13, atol=1e-13)


@njit
def _whitening(c):
    return _tuples.whitening(c)


@pytest.mark.parametrize("dim", DIMS)
def test_whitening_turns_the_covariance_into_the_identity(dim):
    c = spd(np.random.default_rng(dim), dim)
    packed, definite = _whitening(pack(c))
    a = lower(packed, dim)
    assert definite
    np.testing.assert_allclose(a @ c @ a.T, np.eye(dim), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim", DIMS)
def test_whitening_tells_whether_a_matrix_is_definite(dim):
    rng = np.random.default_rng(dim)
    q, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    for smallest in (-0.5, -1e-9):
        values = np.linspace(1.0, 2.0, dim)
        values[rng.integers(dim)] = smallest
        assert not _whitening(pack(q @ np.diag(values) @ q.T))[1]
    assert not _whitening(pack(np.zeros((dim, dim))))[1]
    assert not _whitening(pack(np.full((dim, dim), np.nan)))[1]


@njit
def _move(rows, matrices, lanes, vector, triangle):
    row = _rows.read_row(rows, 1, 2, vector)
    lane = _rows.read_lane(lanes, 3, vector)
    packed = _rows.read_symmetric(matrices, 1, triangle)
    _rows.write_row(rows, 0, 1, _tuples.as_double(vector))
    _rows.write_lane(lanes, 4, vector)
    _rows.write_symmetric(matrices, 0, packed)
    return row, lane, packed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", DIMS)
def test_rows_and_lanes_are_read_and_written_where_they_belong(dim, dtype):
    rng = np.random.default_rng(dim)
    rows = rng.standard_normal((3, dim + 4)).astype(dtype)
    lanes = rng.standard_normal((dim, _rows.LANES)).astype(dtype)
    matrices = rng.standard_normal((2, dim, dim)).astype(dtype)
    vector = tuple(rng.standard_normal(dim).astype(dtype))
    triangle = pack(np.zeros((dim, dim), dtype))
    want = (
        rows[1, 2 : 2 + dim].copy(),
        lanes[:, 3].copy(),
        (matrices[1] + matrices[1].T.astype(np.float64)) / 2,
    )
    want_rows, want_lanes = rows.copy(), lanes.copy()
    want_rows[0, 1 : 1 + dim], want_lanes[:, 4] = vector, vector
    row, lane, packed = _move(rows, matrices.reshape(2, dim * dim), lanes, vector, triangle)
    np.testing.assert_array_equal(row, want[0])
    np.testing.assert_array_equal(lane, want[1])
    np.testing.assert_array_equal(symmetric(packed, dim), want[2])
    np.testing.assert_array_equal(rows, want_rows)
    np.testing.assert_array_equal(lanes, want_lanes)
    np.testing.assert_array_equal(matrices[0], want[2].astype(dtype))

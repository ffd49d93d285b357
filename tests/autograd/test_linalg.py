"""inv, det, cholesky, trace: values and gradients, also where matrices are singular or large."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.autograd import Tape, arrays, check_vjp
from gmengine.errors import ArgumentError, NotPositiveDefinite, ShapeError
from gmengine.testing import assert_close

SIZES = [1, 2, 3, 5]


def general(n: int, batch: tuple[int, ...] = (2, 3)) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((*batch, n, n)) + 2.0 * np.eye(n)


def positive(n: int, batch: tuple[int, ...] = (2, 3)) -> np.ndarray:
    a = general(n, batch)
    return a @ a.swapaxes(-1, -2) + 0.2 * np.eye(n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_values_solve_the_defining_equations(library, n, dtype):
    x = positive(n).astype(dtype)
    given, condition = library.asarray(x), float(np.linalg.cond(positive(n)).max())
    inverse, factor = library.asnumpy(arrays.inv(given)), library.asnumpy(arrays.cholesky(given))
    assert inverse.dtype == factor.dtype == np.dtype(dtype)
    assert_close("solve", inverse @ x, np.broadcast_to(np.eye(n), x.shape), size=n, condition=condition)
    assert_close("sum", factor @ factor.swapaxes(-1, -2), x, size=n)
    assert_close("exact", factor, np.tril(factor))
    determinant = library.asnumpy(arrays.det(given))
    assert_close(
        "solve", determinant, np.prod(np.linalg.eigvalsh(positive(n)), -1), size=n, condition=condition
    )
    assert_close("sum", library.asnumpy(arrays.trace(given)), np.einsum("...ii", x), size=n)


@pytest.mark.parametrize("batch", [(), (2, 3), (0,)])
@pytest.mark.parametrize("n", SIZES)
def test_gradients_of_general_matrices(library, n, batch):
    x = library.asarray(general(n, batch))
    for function in (arrays.inv, arrays.det, arrays.trace):
        check_vjp(function, x)


@pytest.mark.parametrize("n", SIZES)
def test_the_gradient_of_cholesky_is_right_and_symmetric(library, n):
    x = library.asarray(positive(n))
    check_vjp(arrays.cholesky, x, symmetric=(0,), n_directions=3)
    tape = Tape()
    t = tape.watch(x)
    g = library.asarray(np.random.default_rng(0).standard_normal(t.shape))
    grad = library.asnumpy(tape.gradient(arrays.cholesky(t), t, g))
    assert_close("exact", grad, grad.swapaxes(-1, -2))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_gradient_of_det_holds_for_singular_matrices(library, n):
    x = general(n)
    x[..., -1] = x[..., 0]  # rank n - 1: the cofactors do not vanish
    check_vjp(arrays.det, library.asarray(x))
    tape = Tape()
    t = tape.watch(library.asarray(np.zeros((n, n))))
    assert_close("exact", library.asnumpy(tape.gradient(arrays.det(t), t)), np.eye(n) * (n == 1))


def test_the_gradient_of_a_log_determinant_is_the_inverse():
    x = positive(3)
    tape = Tape()
    t = tape.watch(x)
    factor = arrays.cholesky(t)
    diagonal = factor[..., [0, 1, 2], [0, 1, 2]]
    by_cholesky = tape.gradient((2.0 * arrays.log(diagonal)).sum(), t)
    by_det = tape.gradient(arrays.log(arrays.det(t)).sum(), t)
    condition = float(np.linalg.cond(x).max())
    for grad in (by_cholesky, by_det):
        assert_close("gradient", grad, np.linalg.inv(x), condition=condition)


def test_only_the_lower_triangle_of_the_cotangent_reaches_cholesky():
    x = positive(3, ())
    tape = Tape()
    t = tape.watch(x)
    g = np.random.default_rng(1).standard_normal((3, 3))
    factor = arrays.cholesky(t)
    assert_close("exact", tape.gradient(factor, t, g), tape.gradient(factor, t, np.tril(g)))


def test_singular_and_indefinite_matrices_are_named(library):
    x = positive(2)
    x[1, 2] = [[1.0, 2.0], [2.0, 4.0]]
    with pytest.raises(ArgumentError, match=r"inv: matrix \(1, 2\) of shape \(2, 3, 2, 2\) is singular"):
        arrays.inv(library.asarray(x))
    x[0, 1] = [[1.0, 3.0], [3.0, 4.0]]
    with pytest.raises(
        NotPositiveDefinite, match=r"cholesky: matrix \(0, 1\) .* smallest eigenvalue is -0.854"
    ):
        arrays.cholesky(library.asarray(x))


@pytest.mark.parametrize("function", [arrays.inv, arrays.det, arrays.cholesky, arrays.trace])
@pytest.mark.parametrize("shape", [(3,), (2, 3), ()])
def test_only_square_matrices_will_do(function, shape):
    with pytest.raises(ShapeError, match="square matrices"):
        function(np.ones(shape))

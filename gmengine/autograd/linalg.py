"""Differentiable functions of matrices in the trailing two axes."""

from __future__ import annotations

from typing import Any

from gmengine.autograd.elementwise import Cotangents, Needs, same_dtype, unbroadcast
from gmengine.autograd.primitive import Primitive
from gmengine.autograd.shapes import expand_dims, reshape
from gmengine.autograd.tensor import value_of
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError, NotPositiveDefinite, ShapeError


def _swap(x: Array) -> Array:
    return namespace(x).matrix_transpose(x)


@Primitive
def matmul_p(x: Array, y: Array) -> Any:
    return (namespace(x, y).matmul(x, y),), (x, y)


@matmul_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    """From <g, dx y> = <g y^T, dx> and <g, x dy> = <x^T g, dy>, summed over the axes that were broadcast."""
    (x, y), (g,) = residuals, cotangents
    return (
        unbroadcast(g @ _swap(y), tuple(x.shape)) if needs[0] else None,
        unbroadcast(_swap(x) @ g, tuple(y.shape)) if needs[1] else None,
    )


@Primitive
def inv_p(x: Array) -> Any:
    xp = namespace(x)
    try:
        out = xp.linalg.inv(x)
    except ValueError as error:  # numpy.linalg.LinAlgError is one
        index = _first(xp.linalg.det(x) == 0.0)
        raise ArgumentError(f"inv: matrix {index} of shape {tuple(x.shape)} is singular") from error
    return (out,), out


@inv_p.defvjp
def _(out: Any, cotangents: Cotangents, needs: Needs) -> Any:
    """d X^-1 = -X^-1 dX X^-1, hence G = -X^-T g X^-T."""
    transposed = _swap(out)
    return (-(transposed @ cotangents[0] @ transposed),)


@Primitive
def det_p(x: Array) -> Any:
    return (namespace(x).linalg.det(x),), x


@det_p.defvjp
def _(x: Any, cotangents: Cotangents, needs: Needs) -> Any:
    """d det X = <cof X, dX> (Jacobi). With X = U diag(s) V^T, the matrix of cofactors is

    cof X = det(U) det(V) U diag(prod_{j != i} s_j) V^T,

    which needs no division and therefore holds for singular X too.
    """
    (g,) = cotangents
    xp = namespace(x)
    u, s, vt = xp.linalg.svd(x, full_matrices=False)
    n = x.shape[-1]
    others = xp.where(xp.eye(n, dtype=x.dtype) > 0.0, 1.0, xp.expand_dims(s, axis=-2))
    factor = g * xp.linalg.det(u) * xp.linalg.det(vt)
    columns = xp.expand_dims(xp.expand_dims(factor, axis=-1) * xp.prod(others, axis=-1), axis=-2)
    return ((u * columns) @ vt,)


@Primitive
def cholesky_p(x: Array) -> Any:
    xp = namespace(x)
    try:
        factor = xp.linalg.cholesky(x)
    except ValueError as error:  # numpy.linalg.LinAlgError is one
        smallest = xp.min(xp.linalg.eigvalsh(x), axis=-1)
        index = _first(~(smallest > 0.0))
        raise NotPositiveDefinite(
            f"cholesky: matrix {index} of shape {tuple(x.shape)} is not positive definite: "
            f"its smallest eigenvalue is {float(smallest[index]):.3g}"
        ) from error
    return (factor,), factor


@cholesky_p.defvjp
def _(factor: Any, cotangents: Cotangents, needs: Needs) -> Any:
    """Differentiate X = L L^T: L^-1 dX L^-T = M + M^T with M = L^-1 dL lower triangular.

    M is therefore Phi(L^-1 dX L^-T), where Phi keeps the lower triangle and halves the diagonal, and
    <g, dL> = <L^T g, M> = <Phi(L^T g), L^-1 dX L^-T> = <L^-T Phi(L^T g) L^-1, dX>, symmetrised since dX is
    symmetric. Only g's lower triangle counts: the upper one of L is constant.
    """
    (g,) = cotangents
    xp = namespace(factor)
    below = xp.tril(_swap(factor) @ xp.tril(g))
    halved = below - 0.5 * below * xp.eye(factor.shape[-1], dtype=factor.dtype)
    left = xp.linalg.solve(_swap(factor), halved)  # L^-T Phi
    grad = _swap(xp.linalg.solve(_swap(factor), _swap(left)))
    return (0.5 * (grad + _swap(grad)),)


@Primitive
def trace_p(x: Array) -> Any:
    return (namespace(x).linalg.trace(x),), x.shape[-1]


@trace_p.defvjp
def _(n: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (g,) = cotangents
    xp = namespace(g)
    return (xp.reshape(g, (*g.shape, 1, 1)) * xp.eye(n, dtype=g.dtype),)


def _first(bad: Array) -> tuple[int, ...]:
    """Return the index of the first True."""
    xp = namespace(bad)
    flat = int(xp.argmax(xp.reshape(xp.astype(bad, xp.int64), (-1,))))
    index: tuple[int, ...] = ()
    for n in reversed(bad.shape):
        flat, i = divmod(flat, n)
        index = (i, *index)
    return index


def _square_matrices(op: str, x: Array) -> None:
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{op}: expected square matrices in the last two axes, got shape {tuple(x.shape)}")


def matmul(x: Array, y: Array) -> Array:
    """Return the matrix product of the last two axes; the leading ones broadcast.

    A vector on the left is a row, on the right a column, and its axis is missing in the result.
    """
    namespace(value_of(x), value_of(y))
    same_dtype("matmul", x, y)
    row, column = len(x.shape) == 1, len(y.shape) == 1
    if not x.shape or not y.shape:
        raise ShapeError("matmul: expected vectors or matrices, got a 0-d array")
    out = matmul_p(expand_dims(x, 0) if row else x, expand_dims(y, -1) if column else y)[0]
    if row or column:
        batch = out.shape[:-2]
        return reshape(out, (*batch, *(() if row else out.shape[-2:-1]), *(() if column else out.shape[-1:])))
    return out


def inv(x: Array) -> Array:
    """Return the inverse of each matrix, shape (..., n, n).

    Raises
    ------
    ArgumentError
        If a matrix is singular, on NumPy (a CuPy array becomes inf or NaN without a look at it).
    """
    _square_matrices("inv", x)
    return inv_p(x)[0]


def det(x: Array) -> Array:
    """Return the determinant of each matrix, shape (..., n, n); its gradient holds for singular ones too."""
    _square_matrices("det", x)
    return det_p(x)[0]


def cholesky(x: Array) -> Array:
    """Return the lower triangular L with L L^T = X for symmetric positive definite X, shape (..., n, n).

    Only the lower triangle of X is read; the gradient is symmetric.

    Raises
    ------
    NotPositiveDefinite
        If a matrix is not positive definite, on NumPy (a CuPy array becomes NaN without a look at it).
    """
    _square_matrices("cholesky", x)
    return cholesky_p(x)[0]


def trace(x: Array) -> Array:
    """Return the trace of each matrix, shape (..., n, n)."""
    _square_matrices("trace", x)
    return trace_p(x)[0]

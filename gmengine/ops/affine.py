"""Push mixtures forward through x -> s x, x -> x + t and x -> A x + t.

Absent components: `scale` and `translate` carry along what they hold, and cotangents of it, as indexing and + do; no op
that reads mixtures sends any. `affine` and `marginal` never read it and return it blank: mean 0, covariance I.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from gmengine._components import symmetric
from gmengine.autograd import arrays, value_of
from gmengine.backend import Array, float_dtype, namespace
from gmengine.deferred import check
from gmengine.errors import ArgumentError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._checks import first_false
from gmengine.ops._gaussians import blanked
from gmengine.ops._points import spatial_axes


def scale(m: Mixture, s: Array | float, per_axis: bool = False) -> Mixture:
    """Return each mixture with its space scaled: means become s mu, covariances s C s.

    Every integral is unchanged, so values are divided by the factor's volume:
    ``scale(f, s)(s x) = f(x) / |s|^K``. A negative factor is a reflection.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        In any units.
    s : number, list, or array that broadcasts with `batch`
        Not zero, finite. With `per_axis`, the last axis of `s` holds one factor per spatial axis (length K),
        and the axes before it broadcast with `batch`. Gradients flow through `s`.
    per_axis : bool
        Whether `s` has that last axis.

    Returns
    -------
    Mixture, of the batch shape that `batch` and the shape of `s` broadcast to

    Raises
    ------
    ArgumentError
        If a factor is zero, NaN or infinite; names its index.
    ShapeError
        If the shapes do not broadcast.
    DTypeError
        If `s` is an array of another dtype.
    """
    s = _operand("scale", m, s)
    shape = tuple(s.shape)
    if per_axis and shape[-1:] != (m.dim,):
        raise ShapeError(
            f"scale: with per_axis expected one factor for each of {m.dim} axes, got shape {shape}"
        )
    check(value_of(s), _refuse_unless_invertible)
    m = m.broadcast_to(_broadcast("scale", m, shape[:-1] if per_axis else shape))
    if not per_axis:
        s = arrays.expand_dims(s, -1)
    means = arrays.multiply(m.means, arrays.expand_dims(s, -2))  # (*, 1, K), or (*, 1, 1)
    # One factor after the other: their product may under- or overflow where s C s does not.
    first, second = _two_factors(s)
    return Mixture(m.weights, means, arrays.multiply(arrays.multiply(m.covariances, first), second))


def translate(m: Mixture, t: Array) -> Mixture:
    """Return each mixture moved by t, so that ``translate(f, t)(x + t) = f(x)``.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        In any units.
    t : array, shape (K,) or (*batch', K)
        In units of the means; `batch'` broadcasts with `batch`. Gradients flow through `t`.

    Returns
    -------
    Mixture, of the batch shape that `batch` and `batch'` broadcast to

    Raises
    ------
    ShapeError
        If `t` is not K long in its last axis, or the shapes do not broadcast.
    NonFiniteError
        If `t` holds NaN or infinity.
    DTypeError
        If `t` has another dtype.
    """
    t = _shift("translate", m, t, m.dim)
    m = m.broadcast_to(_broadcast("translate", m, tuple(t.shape[:-1])))
    return Mixture(m.weights, arrays.add(m.means, arrays.expand_dims(t, -2)), m.covariances)


def affine(m: Mixture, matrix: Array, shift: Array | float = 0.0) -> Mixture:
    """Return each mixture pushed forward through x -> A x + t: means become A mu + t, covariances A C A^T.

    The integral is unchanged. For a square A, ``affine(f, A, t)(A x + t) = f(x) / |det A|``; for fewer rows than
    columns the result is a marginal: the density of A x + t where x has the density f.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        In any units.
    matrix : array, shape (*batch', K', K), K' <= K
        A, of full row rank; `batch'` broadcasts with `batch`. Gradients flow through it.
    shift : array, shape (K',) or (*batch'', K'), or a number for all coordinates
        t, in units of the result's means. Gradients flow through it.

    Returns
    -------
    Mixture, K'-dimensional, of the batch shape that all three broadcast to

    Raises
    ------
    ArgumentError
        If the rows of a matrix are linearly dependent: its smallest singular value is at most K eps times its
        largest. Names its index and that ratio.
    ShapeError
        If the shapes do not fit, or K' > K.
    NonFiniteError
        If the matrix or the shift holds NaN or infinity.
    DTypeError
        If a dtype differs from the mixture's.
    """
    matrix = _matrix(m, matrix)
    if isinstance(shift, Real):
        shift = [float(shift)] * matrix.shape[-2]
    shift = _shift("affine", m, shift, matrix.shape[-2])
    batch = _broadcast("affine", m, tuple(matrix.shape[:-2]), tuple(shift.shape[:-1]))
    m = blanked(m.broadcast_to(batch))
    means = arrays.matmul(m.means, arrays.matrix_transpose(matrix))
    a = arrays.expand_dims(matrix, -3)
    # Symmetric before and after: the first makes its cotangent symmetric to the last bit, the second the result.
    covariances = arrays.matmul(arrays.matmul(a, symmetric(m.covariances)), arrays.matrix_transpose(a))
    return blanked(
        Mixture(m.weights, arrays.add(means, arrays.expand_dims(shift, -2)), symmetric(covariances))
    )


def marginal(m: Mixture, axes: int | Sequence[int]) -> Mixture:
    """Return the integral of each mixture over all coordinates but `axes`, which are kept in that order.

    Means and covariances keep their rows and columns `axes`, without rounding; the integral is unchanged.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        In any units.
    axes : int or sequence of int
        One coordinate, or distinct ones; negative ones count from the end. All K of them reorder the coordinates.

    Returns
    -------
    Mixture of batch shape (*batch), of dimension len(axes)

    Raises
    ------
    ArgumentError
        If `axes` is empty, or its entries are not distinct coordinates.
    """
    kept = spatial_axes("marginal", axes, m.dim, most=m.dim)
    order = namespace(value_of(m.weights)).asarray(kept)
    m = blanked(m)
    rows = arrays.take(m.covariances, order, axis=-2)
    return Mixture(m.weights, arrays.take(m.means, order, axis=-1), arrays.take(rows, order, axis=-1))


def _two_factors(s: Any) -> tuple[Any, Any]:
    """Return s_min(i, j) and s_max(i, j), shape (*, 1, K, K), of s (*, K): symmetric, so that products with C are."""
    xp, dim = namespace(value_of(s)), s.shape[-1]
    if dim == 1:
        return (arrays.reshape(s, (*s.shape[:-1], 1, 1, 1)),) * 2
    k = xp.arange(dim)
    pairs = (xp.minimum(k[:, None], k[None, :]), xp.maximum(k[:, None], k[None, :]))
    first, second = (
        arrays.reshape(arrays.take(s, xp.reshape(pair, (-1,)), axis=-1), (*s.shape[:-1], 1, dim, dim))
        for pair in pairs
    )
    return first, second


def _matrix(m: Mixture, matrix: Any) -> Any:
    """Return `matrix` as an array or Tensor of full row rank."""
    matrix = _operand("affine", m, matrix)
    shape, value = tuple(matrix.shape), value_of(matrix)
    if len(shape) < 2 or shape[-1] != m.dim or not 1 <= shape[-2] <= m.dim:
        raise ShapeError(f"affine: expected a matrix (..., K', {m.dim}) with 1 <= K' <= {m.dim}, got {shape}")
    _require_finite("affine: the matrix", value)
    xp = namespace(value)
    singular = xp.linalg.svdvals(value)  # in descending order
    smallest, largest = singular[..., -1], singular[..., 0]
    bad = first_false(smallest > m.dim * float(xp.finfo(value.dtype).eps) * largest)
    if bad is not None:
        low, high = float(smallest[bad]), float(largest[bad])
        raise ArgumentError(
            f"affine: the rows of matrix {list(bad)} are linearly dependent: its smallest singular value is "
            f"{low / high if high else 0.0:.3g} of its largest, {high:.3g}"
        )
    return matrix


def _shift(op: str, m: Mixture, t: Any, dim: int) -> Any:
    """Return the finite shift (..., dim) as an array or Tensor."""
    t = _operand(op, m, t)
    if tuple(t.shape[-1:]) != (dim,):
        raise ShapeError(f"{op}: expected t of shape (..., {dim}), got {tuple(t.shape)}")
    _require_finite(f"{op}: t", value_of(t))
    return t


def _require_finite(what: str, value: Array) -> None:
    def judge(finite: np.ndarray) -> None:
        if not finite:
            raise NonFiniteError(f"{what} holds NaN or infinity")

    xp = namespace(value)
    check(xp.all(xp.isfinite(value)), judge)


def _operand(op: str, m: Mixture, x: Any) -> Any:
    """Return `x` if it is an array or Tensor, else (a number, NumPy's too, or a list) in the mixture's dtype."""
    if isinstance(x, Real | list | tuple):
        return namespace(value_of(m.weights)).asarray(x, dtype=m.dtype)
    float_dtype(op, mixture=m.weights, factor=x)
    return x


def _broadcast(op: str, m: Mixture, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(m.batch, *shapes)
    except ValueError:
        given = " and ".join(str(shape) for shape in shapes)
        raise ShapeError(
            f"{op}: shape {given} does not broadcast with the mixture's batch {m.batch}"
        ) from None


def _refuse_unless_invertible(factors: np.ndarray) -> None:
    bad = first_false(np.isfinite(factors) & (factors != 0))
    if bad is not None:
        raise ArgumentError(
            f"scale: factor {list(bad)} is {float(factors[bad])}, expected a finite number other than 0"
        )

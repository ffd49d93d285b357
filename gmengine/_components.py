"""What a component must be to count, and what stands in for one that is absent. Knows arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.autograd import arrays, value_of
from gmengine.backend import namespace, to_device
from gmengine.errors import NonFiniteError, NotPositiveDefinite

Triple = tuple[Any, Any, Any]
"""Weights (*batch, N), means (*batch, N, K), covariances (*batch, N, K, K)."""


def check_components(op: str, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> None:
    """Raise NonFiniteError or NotPositiveDefinite for the first invalid present component (NumPy arrays).

    `op` begins the message, which names the index of the component and its smallest eigenvalue.
    """
    if weights.size == 0:
        return
    present = weights != 0  # NaN counts as present
    for name, array in (("weight", weights), ("mean", means), ("covariance", covariances)):
        bad = ~np.isfinite(array)
        bad = bad if array.ndim == weights.ndim else bad.any(axis=tuple(range(weights.ndim, array.ndim)))
        bad &= present
        if bad.any():
            index = _first(bad)
            raise NonFiniteError(f"{op}: {name} of component {list(index)} is {array[index]}")
    eye = np.eye(means.shape[-1])
    cov = np.where(present[..., None, None], covariances.astype(np.float64), eye)
    size = np.abs(cov).max(axis=(-1, -2))
    skewed = np.abs(cov - np.swapaxes(cov, -1, -2)).max(axis=(-1, -2)) > 1e-4 * size
    if skewed.any():
        index = _first(skewed)
        raise NotPositiveDefinite(
            f"{op}: covariance of component {list(index)} is not symmetric: {cov[index].tolist()}"
        )
    smallest = np.linalg.eigvalsh(cov)[..., 0]
    bad = smallest <= 0
    if bad.any():
        index = _first(bad)
        raise NotPositiveDefinite(
            f"{op}: covariance of component {list(index)} is not positive definite, "
            f"its smallest eigenvalue is {smallest[index]:.3g}"
        )


def blank_absent(weights: Any, means: Any, covariances: Any) -> Triple:
    """Return the arrays with absent components blank: weight 0, mean 0, covariance I, all of them constants.

    What an absent component holds is thus never read, and its gradients are exactly 0 whatever comes after.
    Where every component is present the arrays come back as they are.
    """
    present = value_of(weights) != 0
    xp = namespace(value_of(weights))
    if bool(xp.all(present)):
        return weights, means, covariances
    rows = xp.expand_dims(present, axis=-1)
    eye = xp.eye(int(means.shape[-1]), dtype=means.dtype)
    return (
        arrays.where(present, weights, 0.0),
        arrays.where(rows, means, 0.0),
        arrays.where(xp.expand_dims(rows, axis=-1), covariances, eye),
    )


def factorise(op: str, weights: Any, means: Any, covariances: Any) -> tuple[Triple, Any]:
    """Return the arrays with absent components blank, and L, lower triangular, with L L^T = (C + C^T) / 2.

    Raises
    ------
    NonFiniteError, NotPositiveDefinite
        If a present component is no Gaussian; `op` begins the message, which names it.
    """
    blank = blank_absent(weights, means, covariances)
    xp = namespace(value_of(weights))
    try:
        if not all(bool(xp.all(xp.isfinite(value_of(a)))) for a in blank):
            raise NonFiniteError(f"{op}: a component is not finite")
        factors = arrays.cholesky(symmetric(blank[2]))
        if not bool(xp.all(xp.isfinite(value_of(factors)))):  # CuPy's way of saying it
            raise NotPositiveDefinite(f"{op}: a covariance is not positive definite in {weights.dtype}")
    except (NonFiniteError, NotPositiveDefinite):
        check_components(op, *(to_device(value_of(a), "cpu") for a in (weights, means, covariances)))
        raise
    return blank, factors


def symmetric(matrices: Any) -> Any:
    """Return (X + X^T) / 2."""
    return arrays.multiply(arrays.add(matrices, arrays.matrix_transpose(matrices)), 0.5)


def diagonal(matrices: Any) -> Any:
    """Return the diagonals (..., K) of matrices (..., K, K)."""
    value = value_of(matrices)
    eye = namespace(value).eye(int(value.shape[-1]), dtype=value.dtype)
    return arrays.sum(arrays.multiply(matrices, eye), axis=-1)


def half_log_determinant(factors: Any) -> Any:
    """Return (log det C) / 2, shape (...), from the Cholesky factors (..., K, K) of C."""
    return arrays.sum(arrays.log(diagonal(factors)), axis=-1)


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))

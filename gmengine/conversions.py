"""Other descriptions of a mixture: peak values, scikit-learn's models, equality; factors. Knows arrays only.

The public doors are methods of `Mixture`.
"""

from __future__ import annotations

from collections import deque
from math import log, pi
from numbers import Real
from typing import Any

import numpy as np

from gmengine._components import Triple, factorise, half_log_determinant
from gmengine.autograd import arrays, value_of
from gmengine.backend import namespace
from gmengine.errors import ArgumentError, BackendError, NonFiniteError, ShapeError


def to_amplitudes(op: str, weights: Any, means: Any, covariances: Any) -> Any:
    """Return the peak values a_i = w_i / sqrt((2 pi)^K det C_i), shape of `weights`; 0 for absent ones."""
    (weights, *_), factors = factorise(op, weights, means, covariances)
    return arrays.multiply(weights, arrays.exp(arrays.negative(_log_volume(factors))))


def to_weights(op: str, amplitudes: Any, means: Any, covariances: Any) -> Any:
    """Return the integrals w_i = a_i sqrt((2 pi)^K det C_i); an amplitude of exactly 0 is an absent component."""
    (amplitudes, *_), factors = factorise(op, amplitudes, means, covariances)
    return arrays.multiply(amplitudes, arrays.exp(_log_volume(factors)))


def _log_volume(factors: Any) -> Any:
    """Return log sqrt((2 pi)^K det C): in logarithms, so that no determinant under- or overflows."""
    dim = int(factors.shape[-1])
    return arrays.add(half_log_determinant(factors), 0.5 * dim * log(2.0 * pi))


# --- factors ------------------------------------------------------------------------------------------------


def checked_factor(op: str, weights: Any, factor: Any, divides: bool = False) -> tuple[Any, tuple[int, ...]]:
    """Return what to multiply weights (*batch, N) by, and the shape that `batch` and that of the factor broadcast to.

    A number, of whatever real type, never changes the dtype; a list takes it over. NonFiniteError for NaN and
    infinity, and ArgumentError for a divisor of 0, which would make numbers of absent components; ShapeError if
    nothing broadcasts.
    """
    if isinstance(factor, Real):
        factor = float(factor)
    elif isinstance(factor, list | tuple):
        factor = namespace(value_of(weights)).asarray(factor, dtype=weights.dtype)
    value = value_of(factor)
    xp = namespace(value if hasattr(value, "shape") else value_of(weights))
    numbers = value if hasattr(value, "shape") else xp.asarray(value)
    if not bool(xp.all(xp.isfinite(numbers))):
        raise NonFiniteError(f"{op}: expected finite numbers, got {value}")
    if divides and bool(xp.any(numbers == 0)):
        raise ArgumentError(f"{op}: expected a divisor other than 0, got {value}")
    shape, batch = tuple(getattr(factor, "shape", ())), tuple(weights.shape[:-1])
    try:
        common = np.broadcast_shapes(batch, shape)
    except ValueError:
        raise ShapeError(f"{op}: batch {batch} and shape {shape} do not broadcast") from None
    return (arrays.expand_dims(factor, axis=-1) if shape else factor), tuple(common)


# --- scikit-learn -------------------------------------------------------------------------------------------


def from_sklearn(model: Any) -> Triple:
    """Return weights (N,), means (N, K) and full covariances (N, K, K) of a fitted scikit-learn mixture."""
    kind = getattr(model, "covariance_type", None)
    if kind not in ("full", "tied", "diag", "spherical"):
        raise ArgumentError(
            "Mixture.from_sklearn: expected a GaussianMixture or BayesianGaussianMixture, "
            f"got {type(model).__name__}"
        )
    if not all(hasattr(model, name) for name in ("weights_", "means_", "covariances_")):
        raise ArgumentError(
            f"Mixture.from_sklearn: this {type(model).__name__} is not fitted; call fit first"
        )
    means = np.asarray(model.means_)
    dtype = np.float32 if means.dtype == np.float32 else np.float64
    n, dim = means.shape
    given, eye = np.asarray(model.covariances_), np.eye(dim)
    if kind == "spherical":
        given = given[:, None, None] * eye
    elif kind == "diag":
        given = given[:, :, None] * eye
    covariances = np.broadcast_to(given, (n, dim, dim)).astype(dtype)  # tied: one matrix for all
    return np.asarray(model.weights_).astype(dtype), means.astype(dtype), covariances


def to_sklearn(weights: Any, means: Any, covariances: Any) -> Any:
    """Return a fitted sklearn.mixture.GaussianMixture, in float64, of the present components (NumPy arrays)."""
    if weights.ndim != 1:
        raise ShapeError(
            f"Mixture.to_sklearn: expected one mixture, got the batch {weights.shape[:-1]}; index it first"
        )
    factorise("Mixture.to_sklearn", weights, means, covariances)
    rounding = (4 + weights.size) * float(np.finfo(weights.dtype).eps)
    present = weights != 0
    w, mu, cov = (a[present].astype(np.float64) for a in (weights, means, covariances))
    if not w.size or w.min() < 0:
        raise ArgumentError(
            "Mixture.to_sklearn: expected components of positive weight, "
            + (f"got the weight {w.min():.6g}" if w.size else "got none")
        )
    if abs(w.sum() - 1.0) > rounding:
        raise ArgumentError(
            f"Mixture.to_sklearn: expected a density, of integral 1, got the integral {w.sum():.9g}; "
            "convert m * (1.0 / gmengine.integrate(m)) instead"
        )
    return _fitted(_sklearn_mixture(), w / w.sum(), mu, (cov + np.swapaxes(cov, -1, -2)) / 2)


def _fitted(model_type: Any, weights: Any, means: Any, covariances: Any) -> Any:
    n, dim = means.shape
    model = model_type(n_components=n, covariance_type="full")
    # P = U U^T with U = L^-T upper triangular is what scikit-learn calls the Cholesky factor of a precision.
    upper = np.swapaxes(np.linalg.inv(np.linalg.cholesky(covariances)), -1, -2)
    model.weights_, model.means_, model.covariances_ = weights, means, covariances
    model.precisions_cholesky_, model.precisions_ = upper, upper @ np.swapaxes(upper, -1, -2)
    # No data was seen: there is no likelihood of any, and nothing to iterate on.
    model.converged_, model.n_iter_, model.lower_bound_ = True, 0, float("nan")
    model.n_features_in_ = dim
    return model


def _sklearn_mixture() -> Any:
    from importlib import import_module

    try:
        return import_module("sklearn.mixture").GaussianMixture
    except ImportError:
        raise BackendError(
            "Mixture.to_sklearn: scikit-learn is missing: pip install 'gmengine[sklearn]'"
        ) from None


# --- equality -----------------------------------------------------------------------------------------------


def all_close(a: Triple, b: Triple, rtol: float, atol: float, any_order: bool) -> bool:
    """Return whether two mixtures of one batch shape and K have close components (NumPy arrays).

    Numbers x and y of a field of two components are close if |x - y| <= atol + rtol s, where s is the largest
    magnitude in that field of the two. With `any_order` the present components need only be paired somehow:
    whether a pairing of close components exists is decided exactly, by augmenting paths.
    """
    if not any_order:
        return a[0].shape == b[0].shape and bool(np.all(_close(a, b, rtol, atol) & _equally_present(a, b)))
    return all(
        _paired(_present(a, index), _present(b, index), rtol, atol) for index in np.ndindex(a[0].shape[:-1])
    )


def _present(arrays: Triple, index: tuple[int, ...]) -> Triple:
    keep = arrays[0][index] != 0
    w, mu, cov = (x[index][keep] for x in arrays)
    return w, mu, cov


def _equally_present(a: Triple, b: Triple) -> Any:
    return (a[0] != 0) == (b[0] != 0)


def _close(a: Triple, b: Triple, rtol: float, atol: float) -> Any:
    """Return a boolean array over components, which broadcast; what two absent components hold is ignored."""
    core = 0
    good: Any = True
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are simply not close
        for x, y in zip(a, b, strict=True):
            axes = tuple(range(-core, 0))
            size = np.maximum(np.abs(x).max(axis=axes), np.abs(y).max(axis=axes))
            gap = np.abs(x.astype(np.float64) - y.astype(np.float64)).max(axis=axes)
            good = good & (gap <= atol + rtol * size.astype(np.float64)) & np.isfinite(size)
            core += 1
    return good | ((a[0] == 0) & (b[0] == 0))


def _paired(a: Triple, b: Triple, rtol: float, atol: float) -> bool:
    """Return whether the components of two mixtures can be paired so that all pairs are close."""
    n = len(a[0])
    if len(b[0]) != n:
        return False
    if np.all(_close(a, b, rtol, atol)):
        return True
    ones = ((a[0][i : i + 1], a[1][i : i + 1], a[2][i : i + 1]) for i in range(n))
    close = [np.flatnonzero(_close(one, b, rtol, atol)).tolist() for one in ones]
    return _perfect_matching(close, n)


def _perfect_matching(close: list[list[int]], n: int) -> bool:
    """Return whether every row gets a column of its own; `close[i]` lists the columns that row i may take.

    Row by row, the shortest augmenting path is searched breadth first; if there is none, Berge's theorem says
    that no pairing is larger.
    """
    owner = [-1] * n
    for start in range(n):
        came_from: dict[int, int] = {}  # column -> row that it was reached from
        rows, free = deque([start]), -1
        while rows and free < 0:
            row = rows.popleft()
            for column in close[row]:
                if column not in came_from:
                    came_from[column] = row
                    if owner[column] < 0:
                        free = column
                        break
                    rows.append(owner[column])
        if free < 0:
            return False
        _augment(owner, came_from, free, start)
    return True


def _augment(owner: list[int], came_from: dict[int, int], column: int, start: int) -> None:
    """Give each column of the path to the row that it was reached from, back to the row `start`."""
    held = {row: c for c, row in enumerate(owner) if row >= 0}
    while True:
        row = came_from[column]
        owner[column] = row
        if row == start:
            return
        column = held[row]


# --- words --------------------------------------------------------------------------------------------------


def presence(weights: Any) -> str:
    """Return the number of components and, where some are absent, how many are present: "4 (2..3 present)"."""
    n = int(weights.shape[-1])
    value = value_of(weights)
    if not value.size:
        return str(n)
    xp = namespace(value)
    counts = xp.sum(xp.astype(value != 0, xp.int64), axis=-1)
    low, high = int(xp.min(counts)), int(xp.max(counts))
    if low == n:
        return str(n)
    return f"{n} ({low} present)" if low == high else f"{n} ({low}..{high} present)"


def total(weights: Any) -> float:
    """Return the integral of one mixture, weights (N,); NaN or infinite where its weights are."""
    with np.errstate(all="ignore"):
        return float(value_of(arrays.sum(value_of(weights))))

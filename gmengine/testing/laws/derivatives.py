"""Laws of derivatives with respect to the point: the slope and the curvature of a mixture."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.mixture import Mixture
from gmengine.ops.derivatives import density_gradient, density_hessian
from gmengine.ops.evaluate import evaluate
from gmengine.testing import oracles
from gmengine.testing.assertions import asnumpy, assert_close
from gmengine.testing.laws._common import Evaluate, spread, triple

_STEP = 3e-3  # in smallest standard deviations; the error of the differences is of fourth order in it


def slopes_follow_their_formula(
    m: Mixture, points: Array, condition: float = 10.0, *, density_gradient: Evaluate = density_gradient
) -> None:
    """``grad f(x) = -sum_i w_i N(x; mu_i, C_i) C_i^-1 (x - mu_i)``, for a single mixture."""
    want, _ = oracles.derivatives(*triple(m), asnumpy(points))
    _close("gradient", density_gradient(m, points), want, m, 1, condition)


def curvatures_follow_their_formula(
    m: Mixture, points: Array, condition: float = 10.0, *, density_hessian: Evaluate = density_hessian
) -> None:
    """``H(x) = sum_i w_i N(x; mu_i, C_i) (P d d^T P - P)`` with P the precision, d = x - mu; single mixtures."""
    _, want = oracles.derivatives(*triple(m), asnumpy(points))
    got = asnumpy(density_hessian(m, points))
    _close("gradient", got, want, m, 2, condition)
    assert_close("exact", got, np.swapaxes(got, -1, -2), name="transposed curvatures")


def slopes_are_those_of_differences(
    m: Mixture, points: Array, *, density_gradient: Evaluate = density_gradient, evaluate: Evaluate = evaluate
) -> None:
    """The gradient is that of central differences of `evaluate`, in float64."""
    got = asnumpy(density_gradient(m, points))
    _close("quadrature", got, _differences(evaluate, m, points), m, 1, 1.0)


def curvatures_are_those_of_differences(
    m: Mixture,
    points: Array,
    *,
    density_hessian: Evaluate = density_hessian,
    density_gradient: Evaluate = density_gradient,
) -> None:
    """The Hessian is that of central differences of `density_gradient`, in float64."""
    got = asnumpy(density_hessian(m, points))
    _close("quadrature", got, _differences(density_gradient, m, points), m, 2, 1.0)


def _differences(f: Evaluate, m: Mixture, points: Array) -> Any:
    """Return the derivatives of ``f(m, points)`` along every axis of the points, on a new last axis."""
    assert m.dtype == np.float64, "differences need float64"
    h = _STEP * _smallest_deviation(m)
    columns = []
    for axis in range(m.dim):
        e = namespace(points).asarray(np.eye(m.dim)[axis] * h)
        near, far = (asnumpy(f(m, points + k * e)) - asnumpy(f(m, points - k * e)) for k in (1.0, 2.0))
        columns.append((8.0 * near - far) / (12.0 * h))
    return np.stack(columns, axis=-1)


def _smallest_deviation(m: Mixture) -> float:
    one = asnumpy(m)
    c = one.covariances[one.weights != 0].astype(np.float64)
    return float(np.sqrt(np.linalg.eigvalsh(c).min(initial=1e30))) if c.size else 1.0


def _close(kind: str, got: Any, want: Any, m: Mixture, order: int, condition: float) -> None:
    """Errors are relative to the sum of the peaks, over the smallest deviation to the power of the order."""
    unit = spread(m).reshape((*m.batch, 1, *(1,) * order)) / _smallest_deviation(m) ** order
    scale = np.broadcast_to(unit, want.shape)
    assert_close(kind, got, want, size=m.n_components, condition=condition, scale=scale)

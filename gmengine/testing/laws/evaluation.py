"""Laws of values: `evaluate`, `evaluate_components`, `integrate`, amplitudes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.mixture import Mixture
from gmengine.ops.evaluate import evaluate, evaluate_components
from gmengine.ops.integrate import integrate
from gmengine.testing import oracles
from gmengine.testing.assertions import asnumpy, assert_close, assert_mixtures_close
from gmengine.testing.laws._common import (
    Evaluate,
    Integrate,
    close_values,
    moved,
    padded,
    permuted,
    spread,
    stretched,
    symmetric,
    triple,
)


def evaluation_follows_its_formula(
    m: Mixture, points: Array, condition: float = 10.0, *, evaluate: Evaluate = evaluate
) -> None:
    """``m(x) = sum_i w_i N(x; mu_i, C_i)``, as SciPy computes it."""
    want = oracles.evaluate(*triple(m), asnumpy(points))
    close_values(evaluate(m, points), want, spread(m), m.n_components, condition)


def evaluation_is_linear(
    a: Mixture,
    b: Mixture,
    points: Array,
    factor: float,
    condition: float = 10.0,
    *,
    evaluate: Evaluate = evaluate,
) -> None:
    """``(factor a + b)(x) = factor a(x) + b(x)``."""
    together = evaluate(a * factor + b, points)
    apart = evaluate(a, points) * factor + evaluate(b, points)
    size = a.n_components + b.n_components
    close_values(together, apart, abs(factor) * spread(a) + spread(b), size, condition)


def evaluation_ignores_order(
    m: Mixture, order: Any, points: Array, condition: float = 10.0, *, evaluate: Evaluate = evaluate
) -> None:
    """``m(x)`` is a sum: it does not depend on the order of the components."""
    got, want = evaluate(permuted(m, order), points), evaluate(m, points)
    close_values(got, want, spread(m), m.n_components, condition)


def evaluation_ignores_absent(
    m: Mixture,
    points: Array,
    value: float = 0.0,
    condition: float = 10.0,
    *,
    evaluate: Evaluate = evaluate,
) -> None:
    """Absent components, whatever else they hold, add nothing to ``m(x)``."""
    got, want = evaluate(padded(m, 2, value), points), evaluate(m, points)
    close_values(got, want, spread(m), m.n_components, condition)


def evaluation_follows_translation(
    m: Mixture, shift: Array, points: Array, condition: float = 10.0, *, evaluate: Evaluate = evaluate
) -> None:
    """``(translated m)(x + t) = m(x)``."""
    got, want = evaluate(moved(m, shift), points + shift), evaluate(m, points)
    close_values(got, want, spread(m), m.n_components, 16 * condition)


def evaluation_is_exact_far_from_the_origin(
    m: Mixture, points: Array, shift: int = 1024, condition: float = 10.0, *, evaluate: Evaluate = evaluate
) -> None:
    """Moving mixture and points together by a number that rounds nothing changes no value.

    Means and points are rounded to multiples of 2^-10 first, so that adding an integer up to 2^11 is exact in
    float32: an error is one of the function, such as the cancellation in ``x.x - 2 x.m + m.m``.
    """
    grid = 2.0**10
    xp = namespace(m.weights)
    m, points = (
        Mixture(m.weights, xp.round(m.means * grid) / grid, m.covariances),
        xp.round(points * grid) / grid,
    )
    got, want = evaluate(moved(m, float(shift)), points + float(shift)), evaluate(m, points)
    close_values(got, want, spread(m), m.n_components, condition)


def evaluation_follows_scale(
    m: Mixture, factor: float, points: Array, condition: float = 10.0, *, evaluate: Evaluate = evaluate
) -> None:
    """``(scaled m)(s x) |s|^K = m(x)``: pushed forward, the integral is kept and the density thins out."""
    values = evaluate(stretched(m, factor), points * factor) * abs(factor) ** m.dim
    close_values(values, evaluate(m, points), spread(m), m.n_components, condition)


def evaluation_follows_rotation(
    m: Mixture, rotation: Array, points: Array, condition: float = 10.0, *, evaluate: Evaluate = evaluate
) -> None:
    """``(rotated m)(Q x) = m(x)`` for an orthogonal Q."""
    q = namespace(m.weights).asarray(rotation, dtype=m.dtype)
    rotated = Mixture(m.weights, m.means @ q.T, symmetric(q @ m.covariances @ q.T))
    got, want = evaluate(rotated, points @ q.T), evaluate(m, points)
    close_values(got, want, spread(m), m.n_components, 16 * condition)


def evaluation_broadcasts(
    m: Mixture, points: Array, condition: float = 10.0, *, evaluate: Evaluate = evaluate
) -> None:
    """Batches of mixtures and of points broadcast: every pair has the values that it has alone."""
    got = asnumpy(evaluate(m, points))
    batch = np.broadcast_shapes(m.batch, tuple(points.shape[:-2]))
    assert got.shape == (*batch, points.shape[-2]), f"values of shape {got.shape} for the batch {batch}"
    x = namespace(points).broadcast_to(points, (*batch, *points.shape[-2:]))
    m = m.broadcast_to(batch)
    for b in np.ndindex(*batch):
        alone = asnumpy(evaluate(m[b], x[b]))
        close_values(got[b], alone, spread(m[b]), m.n_components, condition)


def quadrature_gives_the_integral(
    m: Mixture, *, evaluate: Evaluate = evaluate, integrate: Integrate = integrate
) -> None:
    """The sum of values over a fine grid, times its cell, is the integral; every mixture has its own grid.

    The grid has hundreds of points in 1D, thousands in 2D, a hundred thousand in 3D.
    """
    xp = namespace(m.weights)
    whole = asnumpy(integrate(m))
    assert whole.shape == m.batch, f"integrals of shape {whole.shape} instead of {m.batch}"
    for b in np.ndindex(*m.batch):
        one = asnumpy(m[b])
        points, volume = oracles.grid_over(triple(one))
        values = asnumpy(evaluate(m[b], xp.asarray(points, dtype=m.dtype)))
        size = np.abs(one.weights).sum() or 1.0
        found = np.asarray(values.sum(dtype=np.float64) * volume, m.dtype)
        assert_close("quadrature", found, whole[b], scale=size, name=f"integral{list(b) or ''}")


def the_integral_is_the_sum_of_weights(m: Mixture, *, integrate: Integrate = integrate) -> None:
    """Every component integrates to its weight."""
    weights = asnumpy(m).weights
    size = np.abs(weights.astype(np.float64)).sum(axis=-1)
    assert_close("sum", integrate(m), oracles.integrate(weights), size=m.n_components, scale=size)


def components_sum_to_the_value(
    m: Mixture,
    points: Array,
    condition: float = 10.0,
    *,
    evaluate_components: Evaluate = evaluate_components,
    evaluate: Evaluate = evaluate,
) -> None:
    """The values ``(*batch, P, N)`` of the components sum to that of the mixture; those of absent ones are 0."""
    parts = asnumpy(evaluate_components(m, points))
    close_values(parts.sum(axis=-1), evaluate(m, points), spread(m), m.n_components, condition)
    gone = np.broadcast_to((asnumpy(m).weights == 0)[..., None, :], parts.shape)
    assert not np.any(parts[gone]), "an absent component has a value"


def amplitudes_round_trip(
    m: Mixture,
    *,
    to_amplitudes: Callable[[Mixture], Any] = lambda m: m.amplitudes,
    from_amplitudes: Callable[[Any, Any, Any], Mixture] = Mixture.from_amplitudes,
) -> None:
    """An amplitude is the peak value of its component, ``w / sqrt(det 2 pi C)``, and gives the weight back."""
    amplitudes = to_amplitudes(m)
    one = asnumpy(m)
    assert_close("sum", amplitudes, one.weights * oracles.peaks(one.weights, one.covariances), size=m.dim**2)
    again = from_amplitudes(amplitudes, m.means, m.covariances)
    assert_mixtures_close("sum", again, m, size=m.dim**2)

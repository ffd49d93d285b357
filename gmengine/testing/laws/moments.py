"""Laws of moments, marginals and conditionals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.mixture import Mixture
from gmengine.ops.affine import marginal
from gmengine.ops.conditional import conditional
from gmengine.ops.evaluate import evaluate
from gmengine.ops.moments import moments
from gmengine.testing import oracles
from gmengine.testing.assertions import asnumpy, assert_close, assert_mixtures_close
from gmengine.testing.laws._common import Evaluate, close_values, moved, spread, triple


def moments_follow_their_formula(
    m: Mixture, *, moments: Callable[[Mixture], tuple[Any, Any, Any]] = moments
) -> None:
    """Integral, mean and covariance of f over its integral; for weights of one sign."""
    got = [asnumpy(x) for x in moments(m)]
    one = asnumpy(m)
    for b in np.ndindex(*m.batch):
        total = oracles.moments(*triple(one[b]))[0]
        mean, covariance = oracles.mean_and_covariance(*triple(one[b]))
        present = one.weights[b] != 0
        radius = np.max(np.abs(one.means[b][present]), initial=1e-30)
        units = abs(total), radius, radius**2 + np.max(np.abs(one.covariances[b][present]), initial=0.0)
        for x, want, unit in zip(got, (total, mean, covariance), units, strict=True):
            assert_close("moments", x[b], np.asarray(want), size=m.n_components, scale=unit)


def moments_follow_translation(
    m: Mixture, shift: Any, *, moments: Callable[[Mixture], tuple[Any, Any, Any]] = moments
) -> None:
    """Moving a mixture of one sign moves its mean, and leaves integral and covariance alone."""
    (w, mean, c), (w2, mean2, c2) = ([asnumpy(x) for x in moments(y)] for y in (m, moved(m, shift)))
    assert_close("moments", w2, w, size=m.n_components)
    reach = np.max(np.abs(mean), initial=0.0) + np.max(np.abs(shift), initial=0.0)
    assert_close("moments", mean2, mean + np.asarray(shift, m.dtype), size=m.n_components, scale=reach)
    extent = reach**2 + np.max(np.abs(c), initial=0.0)
    assert_close("moments", c2, c, size=m.n_components, scale=extent)


def marginals_integrate_the_others_out(
    m: Mixture,
    axes: Sequence[int],
    *,
    marginal: Callable[[Mixture, Sequence[int]], Mixture] = marginal,
) -> None:
    """A marginal keeps the rows and columns `axes` of every mean and covariance, in that order, and weights."""
    kept = np.asarray(axes)
    one = asnumpy(m)
    want = Mixture(one.weights, one.means[..., kept], one.covariances[..., kept[:, None], kept])
    assert_mixtures_close("elementwise", marginal(m, axes), want)


def conditionals_are_slices(
    m: Mixture,
    axes: Sequence[int],
    values: Array,
    points: Array,
    condition: float = 10.0,
    *,
    conditional: Callable[..., Mixture] = lambda m, axes, values: conditional(m, axes, values, False),
    evaluate: Evaluate = evaluate,
) -> None:
    """Not normalised, it has the values of the mixture where the coordinates `axes` equal `values` (len(axes),).

    `points` (P, K - len(axes)) are the other coordinates.
    """
    others = [a for a in range(m.dim) if a not in axes]
    xp = namespace(points)
    whole = np.zeros((points.shape[0], m.dim), asnumpy(points).dtype)
    whole[:, others], whole[:, list(axes)] = asnumpy(points), asnumpy(values)
    got = evaluate(conditional(m, axes, values), points)
    close_values(got, evaluate(m, xp.asarray(whole)), spread(m), m.n_components, 16 * condition)


def conditionals_follow_their_formula(
    m: Mixture,
    axes: Sequence[int],
    values: Array,
    condition: float = 10.0,
    *,
    conditional: Callable[..., Mixture] = lambda m, axes, values: conditional(m, axes, values, False),
) -> None:
    """Not normalised: weights w_i N(v; mu_b, C_bb), the regression of the other coordinates; single mixtures."""
    one = asnumpy(m)
    got = asnumpy(conditional(m, axes, values))
    want = oracles.conditional(*triple(one), axes, asnumpy(values))
    size, rows = m.n_components, one.covariances[..., list(axes), :][..., :, list(axes)]
    peaks = np.abs(one.weights.astype(np.float64)) * oracles.peaks(one.weights, rows)
    assert_close("solve", got.weights, want[0], size=size, condition=16 * condition, scale=peaks)
    present = (one.weights != 0) & (got.weights != 0)
    for name, x, y in zip(("means", "covariances"), got.arrays[1:], want[1:], strict=True):
        unit = np.max(np.abs(one.means[present]), initial=1.0) + np.max(np.abs(asnumpy(values)), initial=0.0)
        scale = unit * np.sqrt(condition)
        assert_close("solve", x[present], y[present], size=size, condition=condition, scale=scale, name=name)

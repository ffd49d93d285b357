"""Laws of the dense fit of a rectified mixture: new weights at the old places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gmengine.backend import namespace
from gmengine.mixture import Mixture
from gmengine.ops.relu import relu
from gmengine.testing import oracles
from gmengine.testing.assertions import asnumpy, assert_close, assert_mixtures_close
from gmengine.testing.laws._common import Relu, spread

Epsilons = tuple[float, float, float]


def relu_follows_its_formula(
    m: Mixture, got: Mixture, bias: Any = 0.0, condition: float = 10.0, **options: Any
) -> None:
    """`got` has the weights that the loops of `oracles.relu` give, and otherwise what `m` has.

    The unit of errors is that of a value at the component's mean, divided by its own density there.
    """
    m, got = asnumpy(m), asnumpy(got)
    c = np.broadcast_to(bias, m.batch)
    want = np.zeros(m.weights.shape)
    for b in np.ndindex(*m.batch):
        want[b] = oracles.relu(m.weights[b], m.means[b], m.covariances[b], float(c[b]), **options)
    unit = (spread(m) + np.abs(c)[..., None]) / oracles.peaks(m.weights, m.covariances) + np.abs(want)
    assert_close("solve", got.weights, want, size=m.n_components, condition=condition, scale=unit)
    _same_places(got, m)


def relu_keeps_places(m: Mixture, bias: Any = 0.0, *, relu: Relu = relu) -> None:
    """Only weights change: means and covariances of present components keep every bit."""
    _same_places(asnumpy(relu(m, bias)), asnumpy(m))


def relu_is_not_negative(m: Mixture, bias: float = 0.0, *, relu: Relu = relu) -> None:
    """With a bias of at most 0 no weight is negative, and no absent component appears."""
    assert bias <= 0, "with a positive bias the result is max(0, m + bias) - bias, which may be negative"
    weights = asnumpy(relu(m, bias)).weights
    assert weights.min(initial=0.0) >= 0, f"a weight of {weights.min()}"
    revived = (asnumpy(m).weights == 0) & (weights != 0)
    assert not revived.any(), f"absent components were revived with the weights {weights[revived].tolist()}"


def relu_is_homogeneous(
    m: Mixture, bias: float, factor: float, condition: float = 10.0, *, relu: Relu = relu
) -> None:
    """``relu(s m, s bias) = s relu(m, bias)`` for s > 0, if epsilons are relative to the mixture."""
    got, want = asnumpy(relu(m * factor, bias * factor)), asnumpy(relu(m, bias)) * factor
    one = asnumpy(m)
    unit = factor * (spread(m) + abs(bias)) / oracles.peaks(one.weights, one.covariances)
    assert_close("solve", got.weights, want.weights, size=m.n_components, condition=condition, scale=unit)


def relu_without_epsilons_keeps_what_is_positive(
    m: Mixture, *, relu: Callable[[Mixture, float, Epsilons], Mixture] = relu
) -> None:
    """A mixture of positive weights is its own rectification; ``relu(m, bias, epsilons)`` has zero epsilons."""
    assert (asnumpy(m).weights >= 0).all(), "expected a mixture without negative weights"
    assert_mixtures_close("elementwise", relu(m, 0.0, (0.0, 0.0, 0.0)), m)


def relu_of_one_component_has_a_closed_form(
    m: Mixture,
    epsilons: Epsilons = (0.1, 0.05, 0.05),
    relative: bool = False,
    condition: float = 10.0,
    *,
    relu: Callable[[Mixture, float, Epsilons, bool], Mixture] = relu,
) -> None:
    """A component alone, without bias: ``x = (|w| + e1)(max(w a, 0) + e2) / ((|w| + e1) a + e3)``, a its peak.

    For a negative weight w0 = 0, so that ``x = e1 e2 / (e1 a + e3)``. Relative epsilons count in |w| and |w| a.
    """
    one = asnumpy(m)
    assert m.n_components == 1, "expected one component"
    w, a = one.weights.astype(np.float64), oracles.peaks(one.weights, one.covariances)
    e1, e2, e3 = (
        e * u if relative else e for e, u in zip(epsilons, (abs(w), abs(w) * a, abs(w) * a), strict=True)
    )
    x0 = np.maximum(w, 0.0) + e1
    bottom = np.where(w == 0, 1.0, x0 * a + e3)
    want = np.where(w == 0, 0.0, x0 * (np.maximum(w * a, 0.0) + e2) / bottom)
    got = relu(m, 0.0, epsilons, relative).weights
    assert_close("solve", got, want, condition=condition, scale=np.abs(want) + np.abs(w))


def relu_of_far_components_is_theirs_alone(
    m: Mixture,
    distance: float = 1e3,
    condition: float = 10.0,
    *,
    relu: Callable[..., Mixture] = lambda m, bias: relu(m, bias, relative=False),
) -> None:
    """Components that are far apart do not see each other; for a single mixture, and absolute epsilons."""
    n = m.n_components
    steps = namespace(m.means).asarray(distance * np.arange(float(n)), dtype=m.dtype)
    far = Mixture(m.weights, m.means + steps[:, None], m.covariances)
    got = asnumpy(relu(far, 0.0)).weights
    alone = [asnumpy(relu(Mixture(*(a[i : i + 1] for a in m.arrays)), 0.0)).weights for i in range(n)]
    assert_close("solve", got, np.concatenate(alone), condition=condition)


def _same_places(got: Mixture, m: Mixture) -> None:
    present = m.weights != 0
    assert_close("exact", got.means[present], m.means[present], name="means")
    assert_close("exact", got.covariances[present], m.covariances[present], name="covariances")

"""Hypothesis strategies for mixtures and kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gmengine.mixture import Mixture
from gmengine.testing.strategies import _random as r
from gmengine.testing.strategies._draw import FULL, Draw, printed_in_full, sources, value
from gmengine.testing.strategies._values import batches, dims, sizes, spread


@st.composite
def mixtures(
    draw: Draw,
    *,
    batch: Any = None,
    n_components: Any = None,
    dim: Any = None,
    signed: Any = True,
    max_condition: Any = 10.0,
    dtype: Any = "float64",
    absent: float = 0.0,
    degenerate: bool | str = False,
    generic: bool = False,
    normalised: bool = False,
) -> Mixture:
    """Draw a `Mixture` of NumPy arrays whose numbers are representable in float32.

    Weights have magnitudes in [0.1, 1], means lie in [-2, 2]^dim, variances around 1/2; a covariance is
    isotropic, diagonal or full. Failing examples shrink to few components, few dimensions and no batch, then
    to weights of 1, means of 0 and covariances of I wherever the failure allows it, and print their numbers.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    batch, n_components, dim : value, strategy or None
        Leading shape, N and K; None draws from `batches`, `sizes` and `dims`. The degenerate case "single"
        means one component, "cross" at least ``2*dim + 1``.
    signed : bool or strategy
        Signs are random, else all weights are positive.
    max_condition : float or strategy
        Bound of the covariances' condition numbers, reached by some.
    dtype : str or strategy
        "float32" or "float64".
    absent : float
        Probability of a component of exactly zero weight, whose mean and covariance are garbage.
    degenerate : bool or str
        False; True: one of `DEGENERATE`, or none; or one case by its name.
    generic : bool
        All numbers in general position, also in the simplest example: no two means coincide, nothing ties.
        For laws that hold only then; such failures shrink less far.
    normalised : bool
        Weights are positive and sum to 1 (in float64 to its rounding, not float32's): a probability density.
    """
    k = value(draw, dim, dims)
    case = draw(st.sampled_from([None, *r.DEGENERATE])) if degenerate is True else (degenerate or None)
    n = r.n_of_case(case, value(draw, n_components, sizes), k)
    shape = (*value(draw, batch, batches), n)
    is_signed, condition, kind = (value(draw, x, st.nothing()) for x in (signed, max_condition, dtype))
    of_weights, of_means, of_covariances, of_absent = sources(draw, 4, generic)
    weights = _weights(*of_weights, shape, is_signed and not normalised)
    means = spread(*of_means, (*shape, k), 2)
    covariances = _covariances(*of_covariances, shape, k, condition)
    if case is not None:
        means, covariances = r.degenerated(case, of_absent[0], weights, means, covariances)
    gone = np.ones(shape, bool) if case == "all_absent" else _absent(*of_absent, shape, absent)
    r.fill_with_garbage(of_absent[0], gone, weights, means, covariances)
    drawn = r.as_single(weights, means, covariances, kind)
    if normalised:
        total = drawn.weights.sum(axis=-1, keepdims=True)
        drawn = Mixture(drawn.weights / np.where(total > 0, total, 1), drawn.means, drawn.covariances)
    return printed_in_full(draw, drawn)


def _weights(rng: np.random.Generator, level: int, shape: Sequence[int], signed: bool) -> Any:
    signs = np.where(rng.random(shape) < 0.5, -1.0, 1.0) if signed and level > 0 else np.ones(shape)
    if level == FULL:
        return signs * rng.uniform(0.1, 1.0, shape)
    return signs * rng.choice([0.5, 1.0], shape) if level == 2 else signs


def _covariances(rng: np.random.Generator, level: int, shape: Sequence[int], k: int, condition: float) -> Any:
    """Return unit matrices; or diagonal ones; or some of these and some tilted ones; or all kinds at random."""
    eye = np.eye(k)
    if level < FULL:
        diagonal = np.diag(np.where(np.arange(k) % 2, 0.5, 1.0)) if condition >= 2 else eye
        tilted = (eye + 1.0) / 2 if condition >= k + 1 else eye  # its condition number is K + 1
        plain = np.stack([eye, diagonal, tilted])
        return plain[np.minimum(rng.integers(0, level + 1, shape), level)]
    variances, style = r.random_variances(rng, shape, k, condition), rng.integers(0, 6, shape)[..., None]
    variances = np.where(style == 0, variances[..., :1], variances)
    q, _ = np.linalg.qr(rng.standard_normal((*shape, k, k)))
    return r.rotated(variances, np.where(style[..., None] <= 1, eye, q))


def _absent(rng: np.random.Generator, level: int, shape: Sequence[int], probability: float) -> Any:
    """Return which components are absent: none; each mixture's last; all; or any, with this probability."""
    if level == FULL or probability == 0.0:
        return rng.random(shape) < probability
    gone = np.full(shape, level == 2)
    gone[..., -1:] |= level == 1
    return gone


@st.composite
def kernels(
    draw: Draw, *, outputs: Any = None, inputs: Any = None, n_components: Any = None, **kwargs: Any
) -> Mixture:
    """Draw convolution kernels, a `Mixture` of batch shape ``(outputs, inputs)``.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    outputs, inputs, n_components : value, strategy or None
        Channels and M; None draws 1 to 3 channels and 1 to 4 components.
    **kwargs
        Of `mixtures`.
    """
    channels = st.integers(1, 3)
    shape = (value(draw, outputs, channels), value(draw, inputs, channels))
    n = value(draw, n_components, st.integers(1, 4))
    return draw(mixtures(batch=shape, n_components=n, **kwargs))

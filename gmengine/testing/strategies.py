"""Hypothesis strategies for mixtures: shapes and cases are drawn, bulk numbers come from a drawn seed.

Every size argument takes a value, a strategy, or None for the default range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gmengine.mixture import Mixture

Draw = Callable[[st.SearchStrategy[Any]], Any]

DEGENERATE = ("coincident", "collinear", "single", "all_absent", "duplicates", "cross")
"""Names of the degenerate cases that `random_mixture` knows."""

seeds = st.integers(0, 2**32 - 1)
"""Seeds for `np.random.default_rng`."""

sizes = st.integers(1, 6)
"""Component counts: every property of mixtures that can fail, fails on few components."""

batches = st.sampled_from([(), (1,), (3,), (2, 2)])
"""Leading batch shapes."""

dims = st.sampled_from([1, 2, 3])
"""Spatial dimensions that kernels are specialised for."""


def dims_of(dtype: str) -> st.SearchStrategy[int]:
    """Draw from `dims` in float64, but only 2 in float32: every pair of the two is compiled."""
    return dims if dtype == "float64" else st.just(2)


def scalars(low: float, high: float) -> st.SearchStrategy[float]:
    """Draw a finite, not subnormal Python float from [low, high]."""
    return st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def random_covariances(rng: np.random.Generator, shape: Sequence[int], dim: int, condition: float) -> Any:
    """Return ``shape + (dim, dim)`` matrices ``Q diag(s^2) Q^T`` with s^2 log-uniform around 1/2.

    The condition number is at most `condition`, and exactly that for one matrix in four.
    """
    half = 0.5 * np.log(condition)
    log_variances = rng.uniform(-half, half, (*shape, dim))
    extreme = rng.random(tuple(shape)) < 0.25
    log_variances[extreme, 0] = -half
    log_variances[extreme, -1] = half
    q, _ = np.linalg.qr(rng.standard_normal((*shape, dim, dim)))
    covariances = np.einsum("...ij,...j,...kj->...ik", q, 0.5 * np.exp(log_variances), q)
    return (covariances + np.swapaxes(covariances, -1, -2)) / 2


def random_mixture(
    rng: int | np.random.Generator,
    batch: Sequence[int] = (),
    n_components: int = 5,
    dim: int = 2,
    *,
    signed: bool = True,
    condition: float = 10.0,
    dtype: str = "float64",
    absent: float = 0.0,
    degenerate: str | None = None,
) -> Mixture:
    """Return a mixture ``(*batch, n_components)`` of NumPy arrays.

    Weights have magnitudes in [0.1, 1], means lie in [-2, 2]^dim, numbers are representable in float32.

    Parameters
    ----------
    rng : int or Generator
        Draws the numbers.
    batch, n_components, dim : sizes
        The case "single" means one component, "cross" at least ``2*dim + 1``.
    signed : bool
        Signs are random, else all are positive.
    condition : float
        Bound of the covariances' condition numbers.
    dtype : str
        "float32" or "float64".
    absent : float
        Probability of a component of exactly zero weight, whose mean and covariance are garbage.
    degenerate : str, optional
        One of `DEGENERATE`.
    """
    rng = np.random.default_rng(rng)
    n = {"single": 1, "cross": max(n_components, 2 * dim + 1)}.get(degenerate or "", n_components)
    shape = (*batch, n)
    weights = rng.uniform(0.1, 1.0, shape) * (np.where(rng.random(shape) < 0.5, -1.0, 1.0) if signed else 1.0)
    means = rng.uniform(-2.0, 2.0, (*shape, dim))
    covariances = random_covariances(rng, shape, dim, condition)
    if degenerate is not None:
        means, covariances = _degenerate(degenerate, rng, weights, means, covariances)
    gone = np.ones(shape, bool) if degenerate == "all_absent" else rng.random(shape) < absent
    weights[gone] = 0.0
    means[gone] *= 1e3
    covariances[gone] *= rng.choice([0.0, -1.0, 1e3], (np.count_nonzero(gone), 1, 1))
    arrays = (a.astype(np.float32).astype(dtype) for a in (weights, means, covariances))
    return Mixture(*arrays)


def _degenerate(
    case: str, rng: np.random.Generator, weights: Any, means: Any, covariances: Any
) -> tuple[Any, Any]:
    n, dim = means.shape[-2:]
    if case == "coincident":
        means = np.broadcast_to(means[..., :1, :], means.shape).copy()
    elif case == "collinear":
        direction = rng.standard_normal(dim)
        means = means[..., :1] * direction + means[..., :1, :]
    elif case == "duplicates" and n > 1:
        half = np.arange(n) % (n // 2 + n % 2)
        weights[...], means, covariances = (
            weights[..., half],
            means[..., half, :],
            covariances[..., half, :, :],
        )
    elif case == "cross":
        means[..., : 2 * dim + 1, :] = cross(dim)
    return means, covariances


def cross(dim: int, radius: float = 2.5) -> Any:
    """Return the origin and ``+-radius`` along every axis, ``(2*dim + 1, dim)``: a kernel's initial means."""
    arms = radius * np.eye(dim)
    return np.concatenate([np.zeros((1, dim)), arms, -arms])


def kernel_cross(
    rng: int | np.random.Generator, batch: Sequence[int] = (), dtype: str = "float64"
) -> Mixture:
    """Return 2D kernels as initialised for training: a cross, C = 0.694 (A A^T + I/20), A = I + R/20."""
    rng = np.random.default_rng(rng)
    a = np.eye(2) + 0.05 * rng.uniform(-1, 1, (*batch, 5, 2, 2))
    covariances = 0.694 * (a @ np.swapaxes(a, -1, -2) + 0.05 * np.eye(2))
    means = np.broadcast_to(cross(2), (*batch, 5, 2)).copy()
    weights = rng.normal(0.1, 1.0, (*batch, 5))
    return Mixture(weights.astype(dtype), means.astype(dtype), covariances.astype(dtype))


def _value(draw: Draw, given: Any, default: st.SearchStrategy[Any]) -> Any:
    if given is None:
        return draw(default)
    return draw(given) if isinstance(given, st.SearchStrategy) else given


@st.composite
def mixtures(
    draw: Draw,
    *,
    batch: Any = None,
    n_components: Any = None,
    dim: Any = None,
    signed: bool = True,
    max_condition: float = 10.0,
    dtype: str = "float64",
    absent: float = 0.0,
    degenerate: bool | str = False,
) -> Mixture:
    """Draw a `Mixture` of NumPy arrays; see `random_mixture`.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    batch, n_components, dim
        Value, strategy, or None.
    signed, dtype
        As for `random_mixture`.
    max_condition
        Bound of the covariances' condition numbers.
    absent
        Probability of absent components.
    degenerate
        False, True (one of `DEGENERATE`, or none), or one case by its name.
    """
    case: str | None = degenerate if isinstance(degenerate, str) else None
    if degenerate is True:
        case = draw(st.sampled_from([None, *DEGENERATE]))
    return random_mixture(
        draw(seeds),
        _value(draw, batch, batches),
        _value(draw, n_components, sizes),
        _value(draw, dim, dims),
        signed=signed,
        condition=max_condition,
        dtype=dtype,
        absent=absent,
        degenerate=case,
    )


@st.composite
def kernels(
    draw: Draw, *, outputs: Any = None, inputs: Any = None, n_components: Any = None, **kwargs: Any
) -> Mixture:
    """Draw convolution kernels, a `Mixture` of batch shape ``(outputs, inputs)``; see `mixtures`."""
    channels = st.integers(1, 3)
    shape = (_value(draw, outputs, channels), _value(draw, inputs, channels))
    n = _value(draw, n_components, st.integers(1, 4))
    return draw(mixtures(batch=shape, n_components=n, **kwargs))


@st.composite
def points(draw: Draw, *, dim: int, batch: Any = (), n_points: Any = None, dtype: str = "float64") -> Any:
    """Draw points ``(*batch, P, dim)`` in [-4, 4]^dim, representable in float32."""
    shape = (*_value(draw, batch, batches), _value(draw, n_points, st.integers(0, 5)), dim)
    x = np.random.default_rng(draw(seeds)).uniform(-4.0, 4.0, shape)
    return x.astype(np.float32).astype(dtype)


@st.composite
def cotangents(draw: Draw, shape: Sequence[int], dtype: str = "float64") -> Any:
    """Draw the left side of an inner product at random; never ones, which hide errors that cancel."""
    return np.random.default_rng(draw(seeds)).standard_normal(tuple(shape)).astype(dtype)

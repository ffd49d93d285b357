"""Hypothesis strategies for what operations on mixtures take besides mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gmengine.testing.strategies._draw import FULL, Draw, seeds, sources, value

sizes = st.integers(1, 6)
"""Component counts: every property of mixtures that can fail, fails on few components."""

batches = st.sampled_from([(), (1,), (3,), (2, 2)])
"""Leading batch shapes."""

dims = st.sampled_from([1, 2, 3])
"""Spatial dimensions that kernels are specialised for."""

signs = st.sampled_from([1.0, -1.0])
"""Plus or minus one."""


def dims_of(dtype: str) -> st.SearchStrategy[int]:
    """Draw from `dims` in float64, but only 2 in float32: every pair of the two is compiled."""
    return dims if dtype == "float64" else st.just(2)


def scalars(low: float, high: float) -> st.SearchStrategy[float]:
    """Draw a finite, not subnormal Python float from [low, high]."""
    return st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def conditions(high: float = 1e4) -> st.SearchStrategy[float]:
    """Draw a condition number, 1 to `high`, each order of magnitude equally often; shrinks to 1."""
    return scalars(0.0, log10(high)).map(lambda exponent: 10.0**exponent)


@st.composite
def points(
    draw: Draw,
    *,
    dim: int,
    batch: Any = (),
    n_points: Any = None,
    dtype: str = "float64",
    generic: bool = False,
) -> Any:
    """Draw points ``(*batch, P, dim)`` in [-4, 4]^dim, representable in float32; shrinks to the origin.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    dim : int
        K.
    batch, n_points : value, strategy or None
        Leading shape, by default none, and P; None draws from `batches`, and 0 to 5 points.
    dtype : str
        "float32" or "float64".
    generic : bool
        In general position, also in the simplest example.
    """
    shape = (*value(draw, batch, batches), value(draw, n_points, st.integers(0, 5)), dim)
    ((rng, level),) = sources(draw, 1, generic)
    return spread(rng, level, shape, 4).astype(np.float32).astype(dtype)


def spread(rng: np.random.Generator, level: int, shape: Sequence[int], radius: int) -> Any:
    """Return coordinates in [-radius, radius]: zeros; zeros and ones; integers; or anything."""
    if level == FULL:
        return rng.uniform(-radius, radius, shape)
    low = -radius if level == 2 else 0
    return rng.integers(low, {0: 1, 1: 2, 2: radius + 1}[level], shape).astype(np.float64)


@st.composite
def cotangents(draw: Draw, shape: Sequence[int], dtype: str = "float64") -> Any:
    """Draw the left side of an inner product at random; never ones, which hide errors that cancel."""
    return np.random.default_rng(draw(seeds)).standard_normal(tuple(shape)).astype(dtype)


@st.composite
def biases(
    draw: Draw, *, batch: Sequence[int] = (), low: float = -0.5, high: float = 0.5, dtype: str = "float64"
) -> Any:
    """Draw a bias for `relu`: a float, or an array that broadcasts to `batch`; shrinks to 0.0 if allowed.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    batch : shape
        Of the mixture. The array has the last axes of it, any of them cut to length 1.
    low, high : float
        The range. A bias of exactly 0, or of minus a weight, is a kink of the rectified function.
    dtype : str
        Of the array; all numbers are representable in float32.
    """
    axes = draw(st.integers(0, len(batch)))
    shape = tuple(draw(st.sampled_from([1, size])) for size in tuple(batch)[len(batch) - axes :])
    if not shape:
        return float(np.float32(draw(scalars(low, high))))
    rng = np.random.default_rng(draw(seeds))
    return rng.uniform(low, high, shape).astype(np.float32).astype(dtype)


@st.composite
def shifts(draw: Draw, *, dim: int, dtype: str = "float64") -> Any:
    """Draw a translation ``(dim,)`` in [-4, 4]^dim; shrinks to 0."""
    return draw(points(dim=dim, n_points=1, dtype=dtype))[0]


@st.composite
def rotations(draw: Draw, *, dim: int, reflections: bool = True) -> Any:
    """Draw an orthogonal matrix ``(dim, dim)``; shrinks to the identity.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    dim : int
        K.
    reflections : bool
        Whether the determinant may be -1.
    """
    ((rng, level),) = sources(draw, 1, generic=False)
    reflected = draw(st.booleans()) if reflections else False
    if level < FULL:
        q = np.eye(dim)[np.roll(np.arange(dim), level)]
        q[:, 0] *= np.sign(np.linalg.det(q))
    else:
        q, upper = np.linalg.qr(rng.standard_normal((dim, dim)))
        q = q * np.sign(np.diag(upper))
        q[:, 0] *= np.sign(np.linalg.det(q))
    if reflected:
        q[:, 0] *= -1.0
    return q


@st.composite
def affine_maps(draw: Draw, *, dim: int, max_condition: float = 10.0) -> tuple[Any, Any]:
    """Draw ``(A, t)`` of an invertible map ``x -> A x + t``; shrinks to the identity.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    dim : int
        K.
    max_condition : float
        Bound of the condition number of A, whose singular values lie around 1.
    """
    left, right = draw(rotations(dim=dim)), draw(rotations(dim=dim))
    half = 0.5 * log10(max_condition)
    exponents = [draw(scalars(-half, half)) for _ in range(dim)]
    return left @ np.diag(10.0 ** np.array(exponents)) @ right, draw(shifts(dim=dim))

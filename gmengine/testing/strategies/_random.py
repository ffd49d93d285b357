"""Mixtures from a random generator, without Hypothesis: for tests that need one mixture, or a large one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gmengine.mixture import Mixture

DEGENERATE = ("coincident", "collinear", "single", "all_absent", "duplicates", "cross")
"""Names of the degenerate cases that `random_mixture` and `mixtures` know."""


def random_covariances(rng: np.random.Generator, shape: Sequence[int], dim: int, condition: float) -> Any:
    """Return ``shape + (dim, dim)`` matrices ``Q diag(s^2) Q^T`` with s^2 log-uniform around 1/2.

    The condition number is at most `condition`, and exactly that for one matrix in four.
    """
    variances = random_variances(rng, shape, dim, condition)
    q, _ = np.linalg.qr(rng.standard_normal((*shape, dim, dim)))
    return rotated(variances, q)


def random_variances(rng: np.random.Generator, shape: Sequence[int], dim: int, condition: float) -> Any:
    """Return ``shape + (dim,)`` variances, the eigenvalues of `random_covariances`."""
    half = 0.5 * np.log(condition)
    log_variances = rng.uniform(-half, half, (*shape, dim))
    extreme = rng.random(tuple(shape)) < 0.25
    log_variances[extreme, 0] = -half
    log_variances[extreme, -1] = half
    return 0.5 * np.exp(log_variances)


def rotated(variances: Any, q: Any) -> Any:
    """Return ``Q diag(variances) Q^T``, exactly symmetric."""
    covariances = np.einsum("...ij,...j,...kj->...ik", q, variances, q)
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
    shape = (*batch, n_of_case(degenerate, n_components, dim))
    weights = rng.uniform(0.1, 1.0, shape) * (np.where(rng.random(shape) < 0.5, -1.0, 1.0) if signed else 1.0)
    means = rng.uniform(-2.0, 2.0, (*shape, dim))
    covariances = random_covariances(rng, shape, dim, condition)
    if degenerate is not None:
        means, covariances = degenerated(degenerate, rng, weights, means, covariances)
    gone = np.ones(shape, bool) if degenerate == "all_absent" else rng.random(shape) < absent
    fill_with_garbage(rng, gone, weights, means, covariances)
    return as_single(weights, means, covariances, dtype)


def n_of_case(case: str | None, n_components: int, dim: int) -> int:
    """Return how many components a degenerate case has when `n_components` are asked for."""
    return {"single": 1, "cross": max(n_components, 2 * dim + 1)}.get(case or "", n_components)


def degenerated(
    case: str, rng: np.random.Generator, weights: Any, means: Any, covariances: Any
) -> tuple[Any, Any]:
    """Return means and covariances of a degenerate case; "duplicates" writes `weights` as well."""
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


def fill_with_garbage(
    rng: np.random.Generator, gone: Any, weights: Any, means: Any, covariances: Any
) -> None:
    """Make the components `gone` absent: weight 0, a far mean, a covariance of zeros, of no sign, or huge."""
    weights[gone] = 0.0
    means[gone] *= 1e3
    covariances[gone] *= rng.choice([0.0, -1.0, 1e3], (np.count_nonzero(gone), 1, 1))


def as_single(weights: Any, means: Any, covariances: Any, dtype: str) -> Mixture:
    """Return a mixture of `dtype` whose numbers are those that float32 can hold."""
    arrays = (a.astype(np.float32).astype(dtype) for a in (weights, means, covariances))
    return Mixture(*arrays)


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

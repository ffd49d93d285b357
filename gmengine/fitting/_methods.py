"""The methods of fitting, what each takes, and its defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
from array_api_compat import is_numpy_array

from gmengine.backend import namespace
from gmengine.errors import ArgumentError, BackendError, NonFiniteError
from gmengine.fitting._checks import check_count, first_false
from gmengine.fitting._frame import Moments
from gmengine.fitting._sets import Piece, Sets
from gmengine.fitting._starts import INITS, ROUNDS, clusters, random
from gmengine.fitting.bottom_up import bottom_up
from gmengine.fitting.hierarchical import Rules, hierarchical

Fitter = Callable[[Piece, int, np.random.Generator], Moments]
"""Fits n components to every set of a piece; returns them in the caller's units."""

_LEAST = 1e-300  # floor over squared side: squared distances over less overflow
_MANY, _SMALL = 100, 0.005  # the paper's rule for clouds, a rise of less than 0.1 in 20 steps, per step


@dataclass(frozen=True)
class Method:
    """How a method is run, the options it takes with their defaults, and whether it has CUDA kernels."""

    run: Callable[..., Moments]
    options: dict[str, Any]
    on_gpu: bool = False


def _kmeans(piece: Piece, n: int, rng: np.random.Generator, init: str, rounds: int) -> Moments:
    return piece.leave(clusters(piece, n, rng.random, init, rounds)[0])


def _kmeans_em(
    piece: Piece, n: int, rng: np.random.Generator, init: str, rounds: int, steps: int, tol: float
) -> Moments:
    return piece.leave(piece.steps(clusters(piece, n, rng.random, init, rounds)[0], steps, tol))


def _random_em(piece: Piece, n: int, rng: np.random.Generator, steps: int, tol: float) -> Moments:
    return piece.leave(piece.steps(random(piece, n, rng), steps, tol))


def _eckart(
    piece: Piece, n: int, rng: np.random.Generator, threshold: float | None = None, **options: Any
) -> Moments:
    return hierarchical(piece, n, rng, Rules(threshold=threshold, **options))


def _hem(piece: Piece, n: int, rng: np.random.Generator, neighbours: int) -> Moments:
    return bottom_up(piece, n, neighbours)


_START = {"init": "kmeans++", "rounds": ROUNDS}
_ENOUGH = {"steps": _MANY, "tol": _SMALL}
_TREE = {"init": "kmeans++", **_ENOUGH, "branching": 8}

METHODS: dict[str, Method] = {
    "kmeans": Method(_kmeans, _START, on_gpu=True),
    "kmeans+em": Method(_kmeans_em, {**_START, "steps": 1, "tol": 0.0}, on_gpu=True),
    "random+em": Method(_random_em, _ENOUGH, on_gpu=True),
    "eckart-soft": Method(_eckart, {**_TREE, "threshold": 0.1}),
    "eckart-hard": Method(_eckart, _TREE),
    "hem": Method(_hem, {"neighbours": 8}),
}
"""name -> how it is run."""


def fitter(op: str, method: str, **given: Any) -> Fitter:
    """Return the method with its options checked; an option that is None was not given.

    Raises
    ------
    ArgumentError
        If the method is unknown (lists those that are known), does not take an option, or a value is outside
        its range; begins with `op`.
    """
    if method not in METHODS:
        raise ArgumentError(f"{op}: expected a method of {tuple(METHODS)}, got {method!r}")
    options = dict(METHODS[method].options)
    if method == "kmeans+em" and given.get("tol") is not None:
        options["steps"] = _MANY
    for name, value in given.items():
        if value is None or (name == "init" and value == "kmeans++"):  # the default of a public function
            continue
        if name not in options:
            takes = f"takes {', '.join(options)}" if options else "takes no options"
            raise ArgumentError(f"{op}: method {method!r} has no option {name!r}; it {takes}")
        options[name] = _check_option(op, name, value)
    return partial(METHODS[method].run, **options)


def _check_option(op: str, name: str, value: Any) -> Any:
    least = {"rounds": 1, "steps": 0, "branching": 2, "neighbours": 1}
    if name in least:
        return check_count(op, name, value, least[name])
    if name == "init":
        if value not in INITS:
            raise ArgumentError(f"{op}: expected init to be one of {INITS}, got {value!r}")
        return value
    most = 1.0 if name == "threshold" else float("inf")
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not isfinite(value) or not 0 <= value < most:
        wanted = "a number from 0 to below 1" if name == "threshold" else "a number >= 0"
        raise ArgumentError(f"{op}: expected {name} to be {wanted}, got {value!r}")
    return float(value)


def require_kernels(op: str, method: str, sets: Sets) -> None:
    """Raise BackendError if the points lie on a GPU, for which the method has no kernels."""
    if not is_numpy_array(sets.points) and not METHODS[method].on_gpu:
        able = tuple(name for name, how in METHODS.items() if how.on_gpu)
        raise BackendError(
            f"{op}: method {method!r} runs on the CPU, got points on the GPU; move them, or use one of {able}"
        )


def fit_sets(op: str, sets: Sets, n: int, fit: Fitter, rng: np.random.Generator) -> Moments:
    """Return n components for every set, float64, in the caller's units; errors begin with `op`."""
    xp, dim = namespace(sets.points), sets.points.shape[1]
    found = []
    for begin, piece in sets.pieces():
        _require_squares(op, piece, begin)
        found.append(fit(piece, n, rng))
        _require_components(op, piece, begin, found[-1])
    if len(found) == 1:
        return found[0]
    shapes = (0, n), (0, n, dim), (0, n, dim, dim)
    nothing = tuple(xp.zeros(shape, dtype=xp.float64) for shape in shapes)
    weights, means, covariances = (xp.concat(list(field)) for field in zip(nothing, *found, strict=True))
    return weights, means, covariances


def _require_squares(op: str, piece: Piece, begin: int) -> None:
    """Raise unless float64 holds the sets' covariance floors, relative to their squared sides."""
    xp, scale = namespace(piece.floors), piece.frames[:, -3]
    with np.errstate(under="ignore", invalid="ignore"):
        relative = piece.floors / scale / scale
    index = first_false((relative > _LEAST) & xp.isfinite(piece.floors))
    if index is not None:
        number = f"covariance floor {float(piece.floors[index]):.3g}"
        raise NonFiniteError(
            f"{op}: float64 cannot hold the squares of set {begin + index[0]} ({number}); rescale the input"
        )


def _require_components(op: str, piece: Piece, begin: int, moments: Moments) -> None:
    """Raise if a set that has mass has lost all components, because their densities overflowed."""
    xp = namespace(moments[0])
    index = first_false(xp.any(moments[0] > 0, axis=-1) | ~(piece.frames[:, -1] > 0))
    if index is not None:
        raise NonFiniteError(
            f"{op}: float64 cannot hold the log densities of the points of set {begin + index[0]}; "
            "the mixture is too far from them, or too thin"
        )

"""Point sets to mixtures: one function for every method and layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gmengine.backend import Array, float_dtype, namespace
from gmengine.errors import ShapeError
from gmengine.fitting._checks import (
    Namer,
    check_count,
    check_floors,
    check_masses,
    check_totals,
    plainly,
    require_finite,
    to_mixture,
)
from gmengine.fitting._methods import fit_sets, fitter, require_kernels
from gmengine.fitting._samples import as_array
from gmengine.fitting._sets import Sets
from gmengine.fitting.clouds import Clouds
from gmengine.mixture import Mixture

Points = Array | Clouds | Sequence[Array]


def fit(
    points: Points,
    n_components: int,
    weights: Array | Sequence[Array] | None = None,
    *,
    method: str = "kmeans+em",
    init: str = "kmeans++",
    steps: int | None = None,
    tol: float | None = None,
    covariance_floor: Array | float | None = None,
    rng: int | np.random.Generator | None = 0,
    rounds: int | None = None,
    branching: int | None = None,
    threshold: float | None = None,
    neighbours: int | None = None,
) -> Mixture:
    """Fit one mixture to every point set.

    Parameters
    ----------
    points : array (P, K) or (S, P, K), Clouds, or sequence of arrays (P_s, K)
        One set, S sets of one size, or S sets of any sizes, in any unit; float32 or float64, of NumPy or CuPy
        (CuPy: for the first three methods). A set may be empty.
    n_components : int
        N. A set of fewer distinct points gets as many components as it has points; the rest are absent: weight
        0, mean 0, covariance I. ("random+em" and "hem" count points that coincide one by one.)
    weights : array (P,) or (S, P), for ragged sets an array (total,) or a sequence of arrays (P_s,)
        Masses of the points, not negative; a point of mass 0 does not exist. By default all points of a set
        weigh the same and 1 together: the mixture is a density.
    method : str
        ``"kmeans"``: weighted k-means, see `gmengine.fitting.kmeans`. With init="furthest", rounds=1 it is what the
        paper's table 4 calls k-means.
        ``"kmeans+em"``: then EM, see `gmengine.fitting.em`; one step, as the paper's images, or `steps`.
        ``"random+em"``: EM from means drawn from the normal distribution of the set, whose covariance all components
        start with, and equal weights.
        ``"eckart-soft"``, ``"eckart-hard"``: a tree of fits (Eckart et al. 2016). N components are shared out evenly
        among `branching` children, which k-means and EM fit to the node's points; then every point's mass goes to
        the children, in parts according to its responsibilities above `threshold` or all to the largest, and each
        child is fitted in the same way to what it got. Nobody gets more components than points, and what is left
        over goes to the others, so that N are used where points suffice. Unlike in the paper, a component's weight
        is the mass that it was fitted to, not the product of the shares on its way: mean and covariance of the
        points are kept exactly.
        ``"hem"``: from the bottom up (Preiner et al. 2014): every point a Gaussian, reduced by
        ``reduce(..., "hem")`` to a third again and again. A point's covariance is the mean outer product of the
        offsets to its nearest neighbours (all of a tie) over their number `neighbours`: a point's part of the
        neighbourhood. Time grows with P^2, so do the masks of "hem", a bit per three pairs of points.
    init : {"kmeans++", "furthest"}
        Where k-means starts: greedy k-means++, or the first point and then ever the point furthest from all so
        far. For all methods that begin with k-means.
    steps : int
        EM steps at most. By default 1 for "kmeans+em" (100 if `tol` is given), else 100.
    tol : float
        EM of a set, or of a node, ends when a step has raised its mean log-likelihood by less, in nats, or has
        lowered it; 0: never.
        By default 0 for "kmeans+em", else 0.005, the paper's 0.1 in 20 steps.
    covariance_floor : float or array, shape (S,)
        Added to every variance. A floor that is given is the variance that every point has by itself, and EM
        treats points as such Gaussians. By default points are points, and 1e-6 of the squared longest side of
        the set's box (of 1 where all points coincide) is added only lest covariances collapse. See
        `gmengine.fitting.em` for the equations of both.
    rng : int, Generator or None
        Numbers are drawn for set after set: results depend neither on the number of threads nor on later sets.
    rounds : int
        Rounds of k-means at most, for "kmeans" and "kmeans+em"; 300 by default.
    branching : int
        Children of a node, for Eckart's; 8 by default.
    threshold : float
        Responsibilities up to it do not count, for "eckart-soft"; 0.1 by default, as in the paper.
    neighbours : int
        For "hem"; 8 by default.

    Returns
    -------
    Mixture, batch () for (P, K), else (S,), N components, dtype and library of `points`
        The weights sum to the set's mass. Mean and covariance of the mixture are those of the points, the
        covariance plus floor times I (for "hem" plus the mean covariance of the points' Gaussians too).

    Raises
    ------
    ShapeError, DTypeError, BackendError
        If arrays do not fit together, or the method does not run where they lie.
    NonFiniteError
        Names the index of the first NaN or infinity; or the result does not fit into the dtype.
    ArgumentError
        If a mass is negative (names its index), the method is unknown or does not take an option, or an option
        is outside its range.

    Examples
    --------
    >>> fit(np.random.default_rng(0).standard_normal((500, 3)), 8)
    Mixture(batch=(), components=8, dim=3, integral=1, float64, cpu)
    """
    n = check_count("fit", "n_components", n_components, 1)
    chosen = fitter(
        "fit",
        method,
        init=init,
        steps=steps,
        tol=tol,
        rounds=rounds,
        branching=branching,
        threshold=threshold,
        neighbours=neighbours,
    )
    layout = _layout(points)
    sets = _sets(layout, weights, covariance_floor)
    require_kernels("fit", method, sets)
    mixture = to_mixture(
        "fit", fit_sets("fit", sets, n, chosen, np.random.default_rng(rng)), layout.points.dtype
    )
    return mixture[0] if layout.shape == "one" else mixture


@dataclass(frozen=True)
class _Layout:
    """Packed points with offsets, the shape in which they came ("one", "padded", "ragged"), and how to name them."""

    points: Array
    offsets: np.ndarray
    shape: str
    name: Namer = plainly

    @property
    def size(self) -> int:
        """Points per set where all have the same number."""
        return int(self.offsets[1])


def _layout(points: Points) -> _Layout:
    if isinstance(points, list | tuple) and points and all(len(getattr(a, "shape", ())) == 2 for a in points):
        points = _pack(points)
    if isinstance(points, Clouds):
        float_dtype("fit", points=points.points)
        offsets = points.offsets
        return _Layout(points.points, offsets, "ragged", lambda index: _in_set(offsets, index))
    array = as_array("fit", "points", points)
    if len(array.shape) not in (2, 3) or array.shape[-1] < 1:
        raise ShapeError(f"fit: expected points (P, K), (S, P, K) or Clouds, got {tuple(array.shape)}")
    float_dtype("fit", points=array)
    sets, size = (1 if len(array.shape) == 2 else array.shape[0]), array.shape[-2]
    packed = namespace(array).reshape(array, (sets * size, array.shape[-1]))
    shape, offsets = (
        ("one" if len(array.shape) == 2 else "padded"),
        size * np.arange(sets + 1, dtype=np.int64),
    )
    return _Layout(packed, offsets, shape, plainly if shape == "one" else lambda index: _in_rows(size, index))


def _pack(points: Sequence[Array]) -> Clouds:
    dim, dtype = points[0].shape[1], points[0].dtype
    for index, one in enumerate(points):
        if one.shape[1] != dim or one.dtype != dtype:
            raise ShapeError(
                f"fit: expected point sets (P, {dim}) of {dtype}, got {tuple(one.shape)} of {one.dtype} at {index}"
            )
    return Clouds(namespace(*points).concat(list(points)), np.cumsum([0, *(len(one) for one in points)]))


def _sets(layout: _Layout, weights: Array | Sequence[Array] | None, covariance_floor: Any) -> Sets:
    points, offsets = layout.points, layout.offsets
    require_finite("fit", "points", points, layout.name)
    floors = check_floors("fit", covariance_floor, len(offsets) - 1)
    xp = namespace(points)
    if weights is None:
        return Sets(points, xp.ones(points.shape[0], dtype=points.dtype), offsets, floors, density=True)
    masses = _masses(layout, weights)
    float_dtype("fit", points=points, weights=masses)
    namespace(points, masses)
    check_masses("fit", "weights", masses, layout.name)
    with np.errstate(over="ignore"):
        _check_sums(masses, offsets)
    return Sets(points, masses, offsets, floors)


def _check_sums(masses: Array, offsets: np.ndarray) -> None:
    xp = namespace(masses)
    if masses.shape[0] and not np.isfinite(float(xp.max(masses)) * masses.shape[0]):  # else no sum overflows
        sums = [float(xp.sum(xp.astype(masses[begin:end], xp.float64))) for begin, end in pairwise(offsets)]
        check_totals("fit", "weights", np.array(sums))


def _masses(layout: _Layout, weights: Array | Sequence[Array]) -> Array:
    """Return the masses (total,), if they have the layout of the points."""
    xp, total = namespace(layout.points), layout.points.shape[0]
    if layout.shape == "ragged" and isinstance(weights, list | tuple):
        sizes = [int(np.prod(np.shape(one))) for one in weights]
        wanted = np.diff(layout.offsets).tolist()
        if sizes != wanted:
            raise ShapeError(f"fit: expected weights for sets of {wanted} points, got {sizes}")
        weights = xp.concat(
            [xp.reshape(xp.asarray(one, dtype=layout.points.dtype), (-1,)) for one in weights]
        )
    elif isinstance(weights, list | tuple):
        weights = np.asarray(weights, layout.points.dtype)
    array = as_array("fit", "weights", weights)
    expected = (len(layout.offsets) - 1, layout.size) if layout.shape == "padded" else (total,)
    if tuple(array.shape) != expected:
        raise ShapeError(f"fit: expected weights {expected}, got {tuple(array.shape)}")
    return namespace(array).reshape(array, (total,))


def _in_set(offsets: np.ndarray, index: tuple[int, ...]) -> str:
    """Name a packed index by its set and its place there: [set][row, axis]."""
    number = int(np.searchsorted(offsets, index[0], side="right")) - 1
    return f"[{number}]{[index[0] - int(offsets[number]), *index[1:]]}"


def _in_rows(size: int, index: tuple[int, ...]) -> str:
    return str([*divmod(index[0], size), *index[1:]])

"""Rectify mixtures by least squares at sample points: the alternative to `relu` of the paper's appendix B."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gmengine.autograd import Primitive
from gmengine.autograd.arrays import reshape
from gmengine.backend import Array, namespace, to_device
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture, check_components
from gmengine.ops._densities import Densities, densities, densities_vjp
from gmengine.ops._fit_arguments import flat_bias
from gmengine.ops._flat import flat
from gmengine.ops._least_squares import lengths, solution, solution_vjp, spectrum
from gmengine.ops._non_negative import non_negative as solve_non_negative
from gmengine.ops._sample_points import constant_points

_CHUNK_ENTRIES = 1 << 18  # entries of A that one thread holds at a time, unless one mixture alone has more


def relu_lstsq(
    m: Mixture,
    bias: Array | float = 0.0,
    points: str | Array = "means",
    n_random: int | None = None,
    ridge: float = 0.0,
    non_negative: bool = False,
    cutoff: float | None = None,
    rng: int | np.random.Generator | None = 0,
) -> Mixture:
    """Return the mixture that is closest to max(0, m + bias) - max(0, bias) at sample points (paper appendix B).

    Only weights change: they are the y of least |A y - t|^2 (paper eq. 11-12), with c = bias and

        A_pi = N(x_p; mu_i, C_i)           t_p = max(m(x_p) + c, 0) - max(c, 0).

    Where A has no full rank, of all solutions the one of least |y|^2. The fit is right at the sample points and may
    overshoot between them, without bound if those are few (the means alone); it takes hundreds of times as long as
    `relu`. ``python -m bench.table7`` compares them.

    Parameters
    ----------
    m : Mixture, batch shape (*batch), N components
        In any units.
    bias : float, or array that broadcasts to `batch`
        A value (not an integral), added to the function before it is rectified. Gradients flow through it.
    points : {"means", "means+random", "random"} or array (*batch', P, K)
        The sample points: the means of the components present, random points (see Notes), both, or the given ones,
        whose batch broadcasts to `batch`. Gradients flow through the means; all others are constants.
    n_random : int >= 0, optional
        How many random points; by default N for "means+random" and 4 N for "random", as in the paper's table 7.
    ridge : float >= 0
        Adds ridge sum_i |A_i|^2 y_i^2, where |A_i|^2 is the sum of squares of A's column i: a penalty that knows no
        units. 1e-6 or so keeps weights from exploding. Instead of `cutoff`.
    non_negative : bool
        Whether to demand y >= 0. Many weights are then exactly 0: those components become absent. Solved on the
        host, mixture by mixture (Lawson and Hanson).
    cutoff : float in [0, 1), optional
        Singular values of A up to `cutoff` times the largest count as 0 (no ridge). By default the float64 epsilon
        times the larger number of present rows and columns, as in numpy.linalg.lstsq. Not with `non_negative`.
    rng : int, Generator or None
        Draws the random points, in float64 on the host.

    Returns
    -------
    Mixture, of the shape, means and covariances of `m`
        Absent components (weight 0) take no part and stay absent. A is built and solved in float64, whatever the
        dtype.

    Raises
    ------
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it. NonFiniteError also for a bias.
    ShapeError, DTypeError, BackendError
        If `bias` does not broadcast, or is an array of another dtype or library.
    ArgumentError
        If another argument is out of range.

    Notes
    -----
    Random points are uniform in the box from the least mu_i - sigma_i to the largest mu_i + sigma_i, axis by axis,
    over the components present, with sigma_i the square root of the diagonal of C_i.

    With P sample points: time O(P N min(P, N)) for each mixture, twice with gradients, which decompose A anew.
    Memory O(P N): some 8 (8 + 2 K) bytes for each entry of A, where each thread works on one mixture at a time, or on
    several that have 2^18 entries together; nothing of that size is kept for the gradient.

    The gradient is that of constant rank (`solution_vjp`), and of a constant set of positive weights with
    `non_negative`. Where A is ill conditioned, it is as large as 1 / (smallest kept singular value)^2.
    """
    if not (math.isfinite(ridge) and ridge >= 0.0):
        raise ArgumentError(f"relu_lstsq: expected a finite ridge >= 0, got {ridge}")
    if cutoff is not None and not 0.0 <= cutoff < 1.0:
        raise ArgumentError(f"relu_lstsq: expected a cutoff in [0, 1), got {cutoff}")
    if cutoff is not None and non_negative:
        raise ArgumentError("relu_lstsq: expected no cutoff with non_negative, which takes a ridge instead")
    c = flat_bias("relu_lstsq", m, bias)
    check_components("relu_lstsq", *m.values().to("cpu").arrays)
    constant = constant_points(m, points, n_random, rng)
    (weights,) = relu_lstsq_p(
        *flat(m),
        c,
        constant=constant,
        use_means=isinstance(points, str) and points != "random",
        ridge=float(ridge),
        cutoff=cutoff,
        non_negative=bool(non_negative),
    )
    return Mixture(reshape(weights, (*m.batch, m.n_components)), m.means, m.covariances)


@Primitive
def relu_lstsq_p(
    weights: Array,
    means: Array,
    covariances: Array,
    bias: Array,
    *,
    constant: Array,
    use_means: bool,
    ridge: float,
    cutoff: float | None,
    non_negative: bool,
) -> Any:
    """Fit mixtures (M, N) after adding bias (M,) at constant points (M, R, K) and, if asked, at their means."""
    inputs = (weights, means, covariances, bias)
    xp = namespace(*inputs)
    method = _Method(use_means, ridge, cutoff, non_negative)
    size = _chunk_size(weights, constant, use_means)
    if weights.size == 0 or constant.shape[-2] + weights.shape[-1] * use_means == 0:
        return (xp.zeros_like(weights),), (
            inputs,
            constant,
            method,
            size,
            xp.zeros(weights.shape, dtype=xp.bool),
        )

    def fit(chunk: slice) -> Any:
        system = _system([x[chunk, ...] for x in (*inputs, constant)], method)
        if not non_negative:
            return _solve(system, system.columns, method)
        return _solve_non_negative(system, method)

    y = xp.concat(_for_chunks(xp, weights.shape[0], size, fit), axis=0)
    used = (y > 0.0) if non_negative else (weights != 0)
    return (xp.astype(y, weights.dtype),), (inputs, constant, method, size, used)


@relu_lstsq_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    """From the cotangent g of y: `solution_vjp` gives those of A and t; with f = A w, t = max(f + c, 0) - max(c, 0)

        g_f = g_t [f + c > 0]      g_w = A^T g_f      g_A += g_f w^T      g_c = sum_p g_t ([f + c > 0] - [c > 0])

    and `densities_vjp` carries g_A on to the components and to those of the points that are means.
    """
    inputs, constant, method, size, used = residuals
    weights, bias, (g,) = inputs[0], inputs[3], cotangents
    xp = namespace(*inputs)
    if not bool(xp.any(used)):
        return [xp.zeros_like(x) if need else None for x, need in zip(inputs, needs, strict=True)]

    def pull_back(chunk: slice) -> Any:
        w = xp.astype(weights[chunk, ...], xp.float64)
        system = _system([x[chunk, ...] for x in (*inputs, constant)], method)
        columns = xp.astype(used[chunk, ...], xp.float64)
        g_a, g_t = _solve_vjp(system, columns, method, xp.astype(g[chunk, ...], xp.float64) * columns)
        c = xp.astype(bias[chunk, ...], xp.float64)[:, None]
        above = xp.astype(system.values + c > 0.0, xp.float64)
        g_values = g_t * above
        g_a = (g_a + g_values[..., :, None] * w[..., None, :]) * system.mask
        g_w = (xp.matrix_transpose(system.a) @ g_values[..., None])[..., 0]
        g_c = xp.sum(g_t * (above - xp.astype(c > 0.0, xp.float64)), axis=-1)
        g_mu, g_cov, g_x = densities_vjp(system.densities, g_a)
        if method.use_means:
            g_mu = g_mu + g_x[:, : g_mu.shape[1], :]
        return g_w, g_mu, g_cov, g_c

    parts = zip(*_for_chunks(xp, weights.shape[0], size, pull_back), strict=True)
    return [
        xp.astype(xp.concat(list(part), axis=0), x.dtype) if need else None
        for part, x, need in zip(parts, inputs, needs, strict=True)
    ]


class _Method(NamedTuple):
    use_means: bool
    ridge: float
    cutoff: float | None
    non_negative: bool

    @property
    def of_unit_columns(self) -> bool:
        """Whether A is solved with columns of length 1: the ridge penalises those, and Lawson and Hanson use them."""
        return self.ridge > 0.0 or self.non_negative


class _System(NamedTuple):
    """A y = t for B mixtures, in float64: rows and columns of absent components are 0."""

    densities: Densities
    mask: Array
    """(B, P, N): 1 where point and component are present."""
    columns: Array
    """(B, N): 1 where the component is present."""
    a: Array
    values: Array
    """(B, P): the mixture at the points."""
    t: Array
    cutoff: Array


def _system(arrays: list[Array], method: _Method) -> _System:
    weights, means, covariances, bias, constant = arrays
    xp = namespace(weights)
    wide = xp.float64
    present = weights != 0
    means = xp.where(present[..., None], xp.astype(means, wide), 0.0)
    eye = xp.eye(means.shape[-1], dtype=wide)
    covariances = xp.where(present[..., None, None], xp.astype(covariances, wide), eye)
    columns = xp.astype(present, wide)
    everywhere = xp.ones(constant.shape[:-1], dtype=wide)
    points, rows = constant, everywhere
    if method.use_means:
        points, rows = xp.concat([means, constant], axis=-2), xp.concat([columns, everywhere], axis=-1)
    found = densities(means, covariances, points)
    mask = rows[..., :, None] * columns[..., None, :]
    a = found.values * mask
    values = (a @ xp.astype(weights, wide)[..., None])[..., 0]
    c = xp.astype(bias, wide)[..., None]
    t = xp.maximum(values + c, 0.0) - xp.maximum(c, 0.0)
    cutoff = xp.full((weights.shape[0], 1), method.cutoff or 0.0, dtype=wide)
    if method.cutoff is None:
        count = xp.maximum(xp.sum(rows, axis=-1), xp.sum(columns, axis=-1))
        cutoff = float(xp.finfo(wide).eps) * count[..., None]
    return _System(found, mask, columns, a, values, t, cutoff)


def _solve(system: _System, columns: Array, method: _Method) -> Any:
    """Return the y (B, N) that use these columns alone."""
    a = system.a * columns[..., None, :]
    if method.ridge == 0.0:
        return solution(spectrum(a, 0.0, system.cutoff), system.t) * columns
    unit = lengths(a)  # in units of which every component is penalised alike
    return solution(spectrum(a / unit[..., None, :], method.ridge, system.cutoff), system.t) * columns / unit


def _solve_vjp(system: _System, columns: Array, method: _Method, g: Array) -> tuple[Array, Array]:
    """Return the gradients of A and t. Of unit columns, A = A' diag(l), y = y' / l, and l has a gradient as well."""
    a = system.a * columns[..., None, :]
    if not method.of_unit_columns:
        g_a, g_t = solution_vjp(spectrum(a, 0.0, system.cutoff), 0.0, system.t, g)
        return g_a * columns[..., None, :], g_t
    xp = namespace(a)
    unit = lengths(a)
    a = a / unit[..., None, :]
    d = spectrum(a, method.ridge, system.cutoff)
    g_a, g_t = solution_vjp(d, method.ridge, system.t, g / unit)
    g_unit = -(g * solution(d, system.t) / unit + xp.sum(g_a * a, axis=-2)) / unit
    return (g_a / unit[..., None, :] + g_unit[..., None, :] * a) * columns[..., None, :], g_t


def _solve_non_negative(system: _System, method: _Method) -> Any:
    """Return the y >= 0 (B, N), found on the host; a ridge is N more equations."""
    xp = namespace(system.a)
    found = []
    for a, t in zip(to_device(system.a, "cpu"), to_device(system.t, "cpu"), strict=True):
        if method.ridge > 0.0:
            penalty = np.diag(math.sqrt(method.ridge) * np.linalg.norm(a, axis=0))
            a, t = np.concatenate([a, penalty]), np.concatenate([t, np.zeros(len(penalty))])
        found.append(solve_non_negative(a, t))
    return xp.asarray(np.stack(found))


def _chunk_size(weights: Array, constant: Array, use_means: bool) -> int:
    """Return how many mixtures are solved at a time."""
    n = weights.shape[-1]
    entries = (constant.shape[-2] + n * use_means) * n
    return max(1, _CHUNK_ENTRIES // max(1, entries))


def _for_chunks(xp: Any, total: int, size: int, task: Callable[[slice], Any]) -> list[Any]:
    """Return ``task(slice)`` of every chunk of mixtures, in order; on the CPU they share the threads.

    Each thread has a BLAS of one thread: matrices of this size are decomposed several times faster so, and the bits
    do not depend on the number of threads.
    """
    chunks = [slice(i, min(i + size, total)) for i in range(0, total, size)]
    if not array_api_compat.is_numpy_namespace(xp):
        return [task(chunk) for chunk in chunks]
    from threadpoolctl import threadpool_limits

    from gmengine.cpu._threads import share

    results: list[Any] = [None] * len(chunks)

    def work(worker: int, workers: int) -> None:
        for i in range(worker, len(chunks), workers):
            results[i] = task(chunks[i])

    with threadpool_limits(limits=1, user_api="blas"):
        share(work, len(chunks), ())
    return results

"""Values of mixtures on regular grids by Numba, each component visiting only the cells that it reaches."""

import math

import numpy as np

from gmengine.cpu._compile import TASKS, helper, ready, threaded, zeros
from gmengine.cpu._component_rows import flat
from gmengine.cpu._gaussian import (
    SOUND,
    gather_present,
    prepare,
    raise_faults,
    write_component_gradient,
)
from gmengine.cpu._render_lines import WIDTH
from gmengine.cpu._render_planes import add_plane, plane_moments
from gmengine.cpu._render_walk import Grid, Y, begin, clip, new_walk, next_plane, plane_of, to_cells
from gmengine.cpu._tuples import n_packed

# A component ends where it has fallen to 2^-CUTOFF of its peak: far below the rounding of the peak, 2^-24 or 2^-53.
CUTOFF = {"float32": 30.0, "float64": 60.0}

# A tile is summed in float64 in a buffer that should stay in the cache (256 kB). Small grids are cut into TASKS tiles,
# unless these get so small that looking at every component costs more than drawing those that are there.
LARGEST_TILE, SMALLEST_TILE = 1 << 15, 1 << 11


def _grid(shape, low, step, dtype):
    if len(shape) == 1:
        shape, low, step = (1, *shape), (-0.5, *low), (1.0, *step)
    strides = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    return Grid(np.array([shape, strides], np.int64), np.array([low, step]), CUTOFF[np.dtype(dtype).name])


def _tiling(mixtures, shape):
    """Return (axis, thickness, count): tiles are whole in the axes after `axis`, and one cell thick before it."""
    wanted = mixtures * math.prod(shape) // TASKS
    wanted, inner = max(SMALLEST_TILE, min(wanted, LARGEST_TILE)), 1
    axis = len(shape) - 1
    while axis > 0 and inner * shape[axis] <= wanted:
        inner *= shape[axis]
        axis -= 1
    thickest = max(1, min(wanted // inner, shape[axis]))
    blocks = -(-shape[axis] // thickest)
    thickness = -(-shape[axis] // blocks)
    return axis, thickness, math.prod(shape[:axis]) * -(-shape[axis] // thickness)


@threaded
def _prepare(worker, workers, mixture, grid, prepared, faults, like):
    """A task is one mixture; prepared: see `_prepared`, faults (M, 2)."""
    weights, means, covariances = mixture
    present, counts, peaks, rows, cells, boxes = prepared
    (lengths, edges, cutoff), K = grid, means.shape[2]
    for m in range(worker, weights.shape[0], workers):
        n = gather_present(weights[m], present[m])
        counts[m] = n
        fault, where = prepare(weights[m], means[m], covariances[m], present[m], n, rows[m], peaks[m], like)
        faults[m, 0], faults[m, 1] = fault, where
        if fault == SOUND:
            for r in range(n):
                variances = covariances[m, present[m, r]]
                to_cells(rows[m, r], variances, K, lengths, edges, cutoff, cells[m, r], boxes[m, r])


def _prepared(weights, means, covariances, grid):
    """Return the present components' numbers (M, N), how many, N(mu; mu, C), rows of `prepare`, and `to_cells`."""
    (M, N, K), D = means.shape, grid.lengths.shape[1]
    prepared = (
        np.empty((M, N), np.int64),
        np.empty(M, np.int64),
        np.empty((M, N)),
        np.empty((M, N, K + n_packed(K))),
        np.empty((M, N, D + n_packed(D))),
        np.empty((M, N, 2, D), np.int64),
    )
    faults, dtype = np.zeros((M, 2), np.int64), weights.dtype
    like = zeros(K, dtype), zeros(n_packed(K), dtype), ()
    _prepare(M, flat(weights, means, covariances), grid, prepared, faults, like)
    raise_faults("render", faults, covariances)
    return prepared


@helper
def _tile(tile, tiling, lengths, bounds):
    """Write the tile's first and past-the-last cell along each axis; return its flat index and number of cells."""
    axis, thickness, _ = tiling
    blocks = (lengths[0, axis] + thickness - 1) // thickness
    rest, start = tile // blocks, 0
    for k in range(axis - 1, -1, -1):
        bounds[0, k] = rest % lengths[0, k]
        bounds[1, k] = bounds[0, k] + 1
        rest //= lengths[0, k]
    bounds[0, axis] = tile % blocks * thickness
    bounds[1, axis] = min(bounds[0, axis] + thickness, lengths[0, axis])
    for k in range(axis + 1, lengths.shape[1]):
        bounds[0, k], bounds[1, k] = 0, lengths[0, k]
    for k in range(axis + 1):
        start += bounds[0, k] * lengths[1, k]
    return start, (bounds[1, axis] - bounds[0, axis]) * lengths[1, axis]


@threaded
def _forward(worker, workers, weights, prepared, grid, tiling, values, like):
    """A task is one tile of one mixture's grid; values (M, cells)."""
    present, counts, peaks, _, cells, boxes = prepared
    (lengths, _, cutoff), (axis, thickness, tiles) = grid, tiling
    bounds, (ints, reals) = np.empty_like(lengths), new_walk(lengths.shape[1])
    sums = np.empty(thickness * lengths[1, axis] + WIDTH)
    for task in range(worker, weights.shape[0] * tiles, workers):
        m = task // tiles
        start, size = _tile(task % tiles, tiling, lengths, bounds)
        for i in range(len(sums)):
            sums[i] = 0.0
        for r in range(counts[m]):
            if clip(boxes, m, r, bounds, ints):
                row = cells[m, r]
                amplitude = weights[m, present[m, r]] * peaks[m, r]
                begin(row, cutoff, -start, ints, reals)
                while next_plane(row, lengths, cutoff, ints, reals):
                    add_plane(plane_of(row, lengths, cutoff, ints, reals), amplitude, sums, like)
        for i in range(size):
            values[m, start + i] = sums[i]


def forward(weights, means, covariances, *, shape, low, step):
    """Evaluate mixtures (M, N) at the cell centres low + (i + 1/2) step; returns (values (M, *shape), residuals)."""
    inputs = ready(weights), ready(means), ready(covariances)
    values = np.empty((len(weights), *shape), weights.dtype)
    grid = _grid(shape, low, step, weights.dtype)
    prepared = _prepared(*inputs, grid)
    tiling = _tiling(len(values), grid.lengths[0].tolist())
    flat = values.reshape(len(values), math.prod(shape))
    _forward(len(values) * tiling[2], inputs[0], prepared, grid, tiling, flat, zeros(1, weights.dtype))
    return values, (*inputs, grid)


@helper
def _add_moments(moments, K, s, reals, of_plane):
    """Add a plane's sums of h, h y and h y y^T (packed), where y is constant but for its last two entries.

    `s` axes were put before the K ones.
    """
    u, p = K - 2, 1 + K
    h, hu, hv, huu, huv, hvv = of_plane
    moments[0] += h
    for k in range(u):
        y = reals[Y, s + k]
        moments[1 + k] += y * h
        for l in range(k + 1):
            moments[p] += y * reals[Y, s + l] * h
            p += 1
    if K > 1:
        moments[1 + u] += hu
        for l in range(u):
            moments[p + l] += reals[Y, s + l] * hu
        moments[p + u] += huu
        p += K - 1
    moments[K] += hv
    for l in range(u):
        moments[p + l] += reals[Y, s + l] * hv
    if K > 1:
        moments[p + u] += huv
    moments[p + K - 1] += hvv


@threaded
def _vjp(worker, workers, K, prepared, grid, g, moments, like):
    """A task is a slice of a component, cut along the first axis; g: flat, moments (M, slices, N, columns)."""
    _, counts, _, _, cells, boxes = prepared
    (lengths, _, cutoff), (M, slices, N, _) = grid, moments.shape
    bounds, (ints, reals) = np.zeros_like(lengths), new_walk(lengths.shape[1])
    axis, size = lengths.shape[1] - K, lengths[0, 0] * lengths[1, 0]
    for k in range(lengths.shape[1]):
        bounds[1, k] = lengths[0, k]
    for task in range(worker, M * N * slices, workers):
        m, r, s = task // slices // N, task // slices % N, task % slices
        if r >= counts[m]:
            continue
        first, last = boxes[m, r, 0, axis], boxes[m, r, 1, axis]
        bounds[0, axis] = first + s * (last - first) // slices
        bounds[1, axis] = first + (s + 1) * (last - first) // slices
        row, total = cells[m, r], moments[m, s, r]
        if clip(boxes, m, r, bounds, ints):
            begin(row, cutoff, m * size, ints, reals)
            while next_plane(row, lengths, cutoff, ints, reals):
                of_plane = plane_moments(plane_of(row, lengths, cutoff, ints, reals), g, like)
                _add_moments(total, K, axis, reals, of_plane)


@threaded
def _finish(worker, workers, weights, prepared, grads, moments, like):
    """Add up each component's slices, in their order, and turn their moments into gradients."""
    present, counts, peaks, rows, _, _ = prepared
    for m in range(worker, weights.shape[0], workers):
        for r in range(counts[m]):
            i, total = present[m, r], moments[m, 0, r]
            for s in range(1, moments.shape[1]):
                for q in range(len(total)):
                    total[q] += moments[m, s, r, q]
            grads[0][m, i] = peaks[m, r] * total[0]
            for q in range(len(total)):
                total[q] *= weights[m, i] * peaks[m, r]
            write_component_gradient(
                rows[m], r, moments[m, 0], 1, total[0], like[0], grads[1][m], grads[2][m], i, like
            )


def vjp(residuals, g_values, needs):
    """Return the gradients of weights, means and covariances, None where `needs` is False.

    A cell is a point of `evaluate`, so with cotangent g of the values and h_ij = g_i w_j N(x_i; mu_j, C_j)
    the gradients are those of `evaluate.vjp`:

        g_w_j = sum_i h_ij / w_j            g_mu_j = sum_i h_ij P_j d
        g_C_j = 1/2 sum_i h_ij (P_j d d^T P_j - P_j)

    where the sums go over the cells i that component j visits. They are sums of g e, g e y and g e y y^T with y = A d
    and e = 2^(-y.y). Along a line all entries of y but the last one, z, are constant, and e is their factor
    times 2^(-z z); so a line gives three sums, of g 2^(-z z) times 1, z and z^2, and all moments follow from these.
    """
    *mixture, grid = residuals
    M, N, K = mixture[1].shape
    dtype, T = mixture[0].dtype, n_packed(K)
    grads = tuple(np.zeros_like(a) for a in mixture)
    prepared = _prepared(*mixture, grid)
    g = np.zeros(g_values.size + WIDTH, dtype)
    g[: g_values.size] = g_values.reshape(-1)
    slices = max(1, min(-(-TASKS // max(1, M * N)), int(grid.lengths[0, -K])))
    moments = np.zeros((M, slices, N, 1 + K + T))
    _vjp(M * N * slices, K, prepared, grid, g, moments, zeros(1, dtype))
    like = zeros(K, np.float64), zeros(T, np.float64), ()
    _finish(M, mixture[0], prepared, flat(*grads), moments, like)
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))

"""Values of large, spread-out mixtures: what no point of a block can feel is left out (`_tiles`)."""

import math
from typing import NamedTuple

import numpy as np

from gmengine.cpu._compile import helper, n_slices, threaded
from gmengine.cpu._component_rows import flat, start
from gmengine.cpu._gaussian import SOUND, raise_faults
from gmengine.cpu._pairs import block_range, load_points, new_lanes, pair_values, zeros_like_pairs
from gmengine.cpu._rows import LANES
from gmengine.cpu._tiles import (
    MARGIN,
    TILE,
    VANISHED,
    Groups,
    felt_rows,
    groups_of,
    load_groups,
    load_ordered,
    new_felt,
    new_groups,
    order_points,
    share_of_pairs,
)

# What is worth a plan (measured: docs/sparsity.md): these shapes; at most this share of pairs, guessed from a few; at
# most this share of the components felt by a block of points, as seen at a few.
LEAST_COMPONENTS, LEAST_POINTS = 1024, 1 << 14
SPARSE = 0.3, 0.5
PROBES = 8


class Plan(NamedTuple):
    """Rows (M, N, K + T + 1), groups, order (M, P) of points, components present (M,), faults (M, 2), sparse (M,)."""

    rows: np.ndarray
    groups: Groups
    order: np.ndarray
    counts: np.ndarray
    faults: np.ndarray
    sparse: np.ndarray


@helper
def dense_slice(rows, n, points, s, slices, x, sums, totals, values, like):
    """Set the values of slice s of one mixture's points, all components counted."""
    length, lower, upper = block_range(points.shape[0], s, slices)
    for first in range(lower, upper, length):
        last = min(first + length, points.shape[0])
        filled = load_points(points, first, last, x)
        pair_values(rows, n, x, filled, sums, totals, like)
        for i in range(first, last):
            values[i] = totals[0, i - first]


@threaded
def _plan(worker, workers, mixture, points, plan, few, slack, vanished, like):
    """A task is one mixture: its rows, its points' order, and whether blocks of points feel few components."""
    weights, means, covariances = mixture
    mean, _, _ = like
    N, P = weights.shape[1], points.shape[1]
    index, peaks, keys = np.empty(N, np.int64), np.empty(N), np.empty(P, np.int64)
    x, felt = new_lanes(mean), new_felt(N, like)
    for m in range(worker, weights.shape[0], workers):
        rows, order, groups = plan.rows[m], plan.order[m], groups_of(plan.groups, m)
        n, fault, where = start(weights[m], means[m], covariances[m], index, peaks, rows, like)
        plan.counts[m], plan.faults[m, 0], plan.faults[m, 1], plan.sparse[m] = n, fault, where, False
        if fault != SOUND or n == 0 or share_of_pairs(rows, n, points[m], slack, like) > few[0]:
            continue
        order_points(points[m], keys, order, mean)
        load_groups(rows, n, groups, like)
        blocks, total = (P + TILE - 1) // TILE, 0
        for probe in range(PROBES):
            first = probe * blocks // PROBES * TILE
            filled = load_ordered(points[m], order, first, min(first + TILE, P), x)
            total += felt_rows(rows, n, x, filled, groups, felt, slack, vanished, like)
        plan.sparse[m] = total <= few[1] * PROBES * n


@threaded
def _forward_planned(worker, workers, slices, points, plan, values, slack, vanished, like):
    """A task is one slice of one mixture's points, in the order of the plan if the mixture is sparse."""
    mean, _, amp = like
    M, P = values.shape
    x, sums, totals = new_lanes(mean), new_lanes(amp), np.empty((1, LANES))
    felt = new_felt(plan.rows.shape[1], like)
    for task in range(worker, M * slices, workers):
        m, s = task // slices, task % slices
        rows, n, order = plan.rows[m], plan.counts[m], plan.order[m]
        if not plan.sparse[m]:
            dense_slice(rows, n, points[m], s, slices, x, sums, totals, values[m], like)
            continue
        groups, blocks = groups_of(plan.groups, m), (P + TILE - 1) // TILE
        for first in range(s * blocks // slices * TILE, (s + 1) * blocks // slices * TILE, TILE):
            last = min(first + TILE, P)
            filled = load_ordered(points[m], order, first, last, x)
            count = felt_rows(rows, n, x, filled, groups, felt, slack, vanished, like)
            pair_values(felt.rows, count, x, filled, sums, totals, like)
            for i in range(first, last):
                values[m, order[i]] = totals[0, i - first]


def values_planned(weights, means, covariances, points, few=SPARSE, slack=None):
    """Return values (M, P), leaving out components that blocks of points do not feel, and where that was done (M,).

    few: see `SPARSE`, (1, 1) for all mixtures; slack: log2 of the share of the largest term that counts for nothing.
    """
    (M, P, K), N, dtype = points.shape, weights.shape[1], weights.dtype
    slices, like = n_slices(M, P), zeros_like_pairs(K, 1, dtype)
    plan = Plan(
        np.empty((M, N, sum(map(len, like))), dtype),
        new_groups(M, N, K, dtype),
        np.empty((M, P), np.int64),
        np.empty(M, np.int64),
        np.empty((M, 2), np.int64),
        np.empty(M, np.bool_),
    )
    slack = math.log2(np.finfo(dtype).eps / N) - MARGIN if slack is None else float(slack)
    few = tuple(map(float, few))
    args = slack, VANISHED[dtype.name], like
    _plan(M, flat(weights, means, covariances), points, plan, few, *args)
    raise_faults("evaluate", plan.faults, covariances)
    values = np.empty((M, P), dtype)
    _forward_planned(M * slices, slices, points, plan, values, *args)
    return values, plan.sparse

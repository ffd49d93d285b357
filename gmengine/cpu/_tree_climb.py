"""From the leaves to the selected nodes: every node under a selected one is fitted, bottom-up, in batches."""

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._lane_memory import drop, gather_rows, get, pick, put, scatter_rows
from gmengine.cpu._lanes import LANES, anywhere, log, splat, where
from gmengine.cpu._morton_tree import first_leaf
from gmengine.cpu._node_choices import choose_masks, choose_representatives
from gmengine.cpu._node_fit import (
    MU,
    W,
    columns,
    energies,
    entry,
    expectation,
    log_columns,
    log_determinant,
    maximisation,
)
from gmengine.cpu._tables import spliced
from gmengine.cpu._tree_batches import finish_batch, list_batch, list_rows, next_batch
from gmengine.cpu._tree_faults import NON_FINITE, NOT_DEFINITE, SOUND


@helper
def row_size(dims):
    """Return how many numbers a row has: those of a component, and what fills up whole vectors."""
    return -(-(3 + len(dims) + entry(len(dims), 0)) // LANES) * LANES


# --- leaves -------------------------------------------------------------------------------------------------


@helper
def _load_leaves(first, N, inputs, slots, starts, dims):
    """Copy eight components to lanes, symmetrised and with |w|; absent ones become unit Gaussians."""
    K, (weights, means, covariances) = len(dims), inputs
    for lane in range(LANES):
        i = min(first + lane, N - 1)
        starts[0, lane] = i * row_size(dims)
        present = weights[i] != 0.0
        slots[0, W * LANES + lane] = abs(weights[i]) if present else 1.0
        for a in range(K):
            slots[0, (MU + a) * LANES + lane] = means[i, a] if present else 0.0
            for b in range(a + 1):
                both = np.float64(covariances[i, K * a + b]) + np.float64(covariances[i, K * b + a])
                identity = 1.0 if a == b else 0.0
                slots[0, (MU + K + entry(a, b)) * LANES + lane] = 0.5 * both if present else identity


@helper
def leaf_rows(N, inputs, centre, rows, starts, scratch, dims):
    """Write the components to the first rows, with means from the centre.

    Returns (code, component) of the first present one that is no Gaussian.
    """
    K, slots, work = len(dims), scratch.slots, scratch.work
    log_w, log_det = log_columns(dims)
    for first in range(0, N, LANES):
        _load_leaves(first, N, inputs, slots, starts, dims)
        nothing = splat(0.0)  # NaN if anything is not finite
        for c in range(log_w):
            nothing = nothing + (get(slots, 0, c) - get(slots, 0, c))
        value, definite = log_determinant(slots, 0, MU + K, work, 0.0, dims)
        if anywhere(~(definite & (nothing == 0.0))):
            put(work, 0, 0, nothing)
            put(slots, 0, log_det, value)
            for lane in range(LANES):
                if np.isnan(work[lane]):
                    return NON_FINITE, first + lane
                if np.isnan(slots[0, log_det * LANES + lane]):
                    return NOT_DEFINITE, first + lane
        for a in range(K):
            put(slots, 0, MU + a, get(slots, 0, MU + a) - centre[a])
        put(slots, 0, log_w, log(get(slots, 0, W), 0.0))
        put(slots, 0, log_det, value)
        scatter_rows(slots, 0, rows, starts, 0, columns(dims))
    return SOUND, 0


# --- batches ------------------------------------------------------------------------------------------------


@helper
def load_models(n_out, per_node, rows, starts, scratch, dims):
    """Copy the slots that were chosen to represent the outputs."""
    for s in range(n_out):
        for lane in range(LANES):
            i = np.int64(scratch.chosen[s * LANES + lane])
            starts[2 * per_node + s, lane] = starts[i, lane]
        gather_rows(rows, starts, 2 * per_node + s, scratch.models, s, columns(dims))


@helper
def recall_choices(n_in, n_out, per_node, choices, starts, scratch):
    """Read representatives and masks from the plan."""
    representatives, masks = choices
    for s in range(n_out):
        put(scratch.chosen, 0, s, pick(representatives, starts, 6 * per_node, s))
    for i in range(n_in):
        bits = pick(masks, starts, 6 * per_node, i)
        for s in range(n_out - 1, -1, -1):
            bit = np.float64(1 << s)
            put(scratch.allowed, i, s, where(bits >= bit, 1.0, 0.0))
            bits = where(bits >= bit, bits - bit, bits)


@helper
def _record_choices(n_in, n_out, per_node, choices, starts, scratch):
    """Write representatives and masks to the plan."""
    representatives, masks = choices
    for s in range(n_out):
        drop(get(scratch.chosen, 0, s), representatives, starts, 6 * per_node, s)
    for i in range(n_in):
        bits = splat(0.0)
        for s in range(n_out):
            bits = bits + get(scratch.allowed, i, s) * np.float64(1 << s)
        drop(bits, masks, starts, 6 * per_node, i)


@spliced
def climb(per_node, tree, order, choices, frozen, extent, eps, rows, batches, scratch, dims):
    """Fit all nodes that are listed, children before parents; return the number of batches.

    Unless `frozen`, representatives and masks are chosen and written first.
    """
    size = row_size(dims)
    starts, b = batches.starts, 0
    while next_batch(b, per_node, batches) > 0:
        n_in, n_out = list_batch(b, tree, order, size, per_node, batches)
        for i in range(n_in):
            gather_rows(rows, starts, i, scratch.slots, i, columns(dims))
        if frozen:
            recall_choices(n_in, n_out, per_node, choices, starts, scratch)
        else:
            choose_representatives(n_in, n_out, extent, eps, scratch, dims)
        load_models(n_out, per_node, rows, starts, scratch, dims)
        energies(n_in, n_out, scratch, dims)
        if not frozen:
            choose_masks(n_in, n_out, eps, scratch, dims)
            _record_choices(n_in, n_out, per_node, choices, starts, scratch)
        expectation(n_in, n_out, scratch, dims)
        maximisation(n_in, n_out, scratch, dims)
        for s in range(n_out):
            scatter_rows(scratch.outputs, s, rows, starts, 4 * per_node + s, columns(dims))
        finish_batch(b, batches)
        b += 1
    return b


@helper
def list_outputs(root, count, tree, order, size, per_node, batches):
    """Write where the outputs of a selected node start into the first column of ``batches.starts``."""
    children, leaves = tree
    if root < 0 or leaves[root] == count:
        p = first_leaf(root, children)
        for k in range(count):
            batches.starts[k, 0] = np.int64(order[p + k]) * size
    elif batches.place[root] < 0:
        list_rows(root, 0, tree, order, batches.place, size, per_node, batches.starts)
    else:
        for k in range(count):
            batches.starts[k, 0] = batches.place[root] + k * size


# --- results ------------------------------------------------------------------------------------------------


@helper
def write_leaves(inputs, order, first, count, result, start, dims):
    """Copy the `count` leaves from position `first` on to the result, bit for bit."""
    K = len(dims)
    for k in range(count):
        i, t = order[first + k], start + k
        result[0][t] = inputs[0][i]
        for a in range(K):
            result[1][t, a] = inputs[1][i, a]
        for ab in range(K * K):
            result[2][t, ab] = inputs[2][i, ab]


@helper
def write_fit(rows, starts, count, sign, centre, tiny, result, start, dims):
    """Write `count` fitted components to the result; none may underflow to an absent one."""
    K = len(dims)
    for k in range(count):
        r, t = starts[k, 0], start + k
        result[0][t] = sign * max(rows[r + W], tiny)
        for a in range(K):
            result[1][t, a] = rows[r + MU + a] + centre[a]
            for b in range(K):
                result[2][t, K * a + b] = rows[r + MU + K + entry(a, b)]


@helper
def write_padding(result, start, stop, dims):
    """Write absent components from `start` on."""
    K = len(dims)
    for t in range(start, stop):
        result[0][t] = 0.0
        for a in range(K):
            result[1][t, a] = 0.0
            for b in range(K):
                result[2][t, K * a + b] = 1.0 if a == b else 0.0

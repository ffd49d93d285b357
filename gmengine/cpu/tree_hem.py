"""TreeHEM by Numba: fewer components by EM in the nodes of a Morton tree (paper section 4.1).

A plan is a tuple of integer arrays; M mixtures of N components, at most n of them kept, T per node:

- ``order (M, N)``: leaf position -> component, positive components first, Morton order; -1 past the end,
- ``positive (M,)``: number of leaves that are positive,
- ``children (M, N - 1, 2)`` and ``leaves (M, N - 1)``: the inner nodes (`_morton_tree` tells the numbering),
- ``selected (M, n)`` and ``offsets (M, n + 1)``: the nodes that give the result, and where their
  components begin in it; a node past the last one gives none,
- ``representatives (M, N - 1, 2T)`` and ``masks (M, N - 1, 2T)``: of every node that is fitted, the slot that
  each output starts from, and as bits the outputs that each slot may belong to.
"""

import numpy as np

from gmengine.cpu._compile import helper, ready, threaded
from gmengine.cpu._lane_memory import aligned
from gmengine.cpu._morton_tree import bounding_box, first_leaf, morton_keys, sign_trees
from gmengine.cpu._node_fit import new_scratch, scratch_size
from gmengine.cpu._selection import select_nodes
from gmengine.cpu._tables import keep, part, spliced, view
from gmengine.cpu._tree_batches import batches_space, new_batches, start_batches
from gmengine.cpu._tree_climb import (
    climb,
    leaf_rows,
    list_outputs,
    row_size,
    write_fit,
    write_leaves,
    write_padding,
)
from gmengine.cpu._tree_faults import SOUND, TWO_SIGNS, first_stranger, raise_first
from gmengine.cpu._tree_hem_vjp import descend, load_cotangents, new_slopes, slopes_size, store_gradients


@helper
def _decide(weights, means, low, high, eps, m, plan, dims):
    """Write what a plan decides before any EM; return whether it can be done."""
    order, positive, children, leaves, selected, offsets = plan[:6]
    per_node = plan[6].shape[2] // 2
    keys = np.empty(weights.shape[0], np.uint64)
    present = morton_keys(weights, means, low, high, eps, keys, dims)
    positive[m] = sign_trees(keys, present, children[m], leaves[m], order[m])
    counts = np.empty(selected.shape[1], np.int64)
    chosen = select_nodes(
        weights, order[m], present, positive[m], children[m], leaves[m], per_node, eps, selected[m], counts
    )
    offsets[m, 0] = 0
    for k in range(selected.shape[1]):
        offsets[m, k + 1] = offsets[m, k] + (counts[k] if k < chosen else 0)
        if k >= chosen:
            selected[m, k] = 0
    return chosen >= 0


@helper
def _rows_space(N, per_node, dims):
    """Return space for the rows of N components and all their fits."""
    return aligned((N + (N + 1) * per_node) * row_size(dims))


@helper
def _parts(plan, m):
    """Return what the plan says of mixture m: tree, order, choices."""
    return (part(plan[2], m), part(plan[3], m)), part(plan[0], m), (part(plan[6], m), part(plan[7], m))


@helper
def _n_selected(offsets):
    """Return how many nodes are selected."""
    n = 0
    while n + 1 < offsets.shape[0] and offsets[n + 1] > offsets[n]:
        n += 1
    return n


@spliced
def _reduce_one(arrays, eps, tiny, frozen, m, plan, result, rows, batches, scratch, dims):
    """Reduce mixture m; unless `frozen`, write its plan on the way. Return (code, component)."""
    weights, means, covariances = arrays
    K, N, per_node, size = len(dims), weights.shape[0], plan[6].shape[2] // 2, row_size(dims)
    low, high, centre = np.empty(K), np.empty(K), np.empty(K)
    extent = bounding_box(weights, means, low, high, centre)
    inputs = view(weights), view(means), view(covariances)
    code, i = leaf_rows(N, inputs, centre, rows, batches.starts, scratch, dims)
    if code == SOUND and frozen:
        code, i = first_stranger(weights, plan[0][m], plan[1][m])
    if code != SOUND:
        return code, i
    if not frozen and not _decide(weights, means, low, high, eps, m, plan, dims):
        return TWO_SIGNS, 0
    tree, order, choices = _parts(plan, m)
    selected, offsets, n_selected = part(plan[4], m), part(plan[5], m), _n_selected(plan[5][m])
    start_batches(n_selected, selected, offsets, tree, per_node, N, size, batches)
    climb(per_node, tree, order, choices, frozen, extent, eps, rows, batches, scratch, dims)
    for k in range(n_selected):
        v, start, count = selected[k], offsets[k], offsets[k + 1] - offsets[k]
        if v < 0 or tree[1][v] == count:
            write_leaves(inputs, order, first_leaf(v, tree[0]), count, result, start, dims)
        else:
            list_outputs(v, count, tree, order, size, per_node, batches)
            sign = 1.0 if first_leaf(v, tree[0]) < plan[1][m] else -1.0
            write_fit(rows, batches.starts, count, sign, centre, tiny, result, start, dims)
    write_padding(result, offsets[n_selected], plan[4].shape[1], dims)
    return SOUND, 0


@spliced
def _reduce_share(worker, workers, arrays, eps, tiny, frozen, plan, out, faults, spaces, dims):
    """Reduce this worker's mixtures; the caller keeps the spaces alive."""
    weights, means, covariances = arrays
    per_node = plan[6].shape[2] // 2
    rows, batches = view(spaces[0]), new_batches(spaces[1])
    scratch = new_scratch(view(spaces[2]), 2 * per_node, dims)
    for m in range(worker, weights.shape[0], workers):
        one = weights[m], means[m], covariances[m]
        result = part(out[0], m), part(out[1], m), part(out[2], m)
        faults[m, 0], faults[m, 1] = _reduce_one(
            one, eps, tiny, frozen, m, plan, result, rows, batches, scratch, dims
        )


@threaded
def _reduce_all(worker, workers, arrays, eps, tiny, frozen, plan, out, faults, dims):
    N, per_node = arrays[0].shape[1], plan[6].shape[2] // 2
    spaces = (
        _rows_space(N, per_node, dims),
        batches_space(N, per_node),
        aligned(scratch_size(2 * per_node, dims)),
    )
    _reduce_share(worker, workers, arrays, eps, tiny, frozen, plan, out, faults, spaces, dims)
    keep(spaces)


@spliced
def _vjp_one(arrays, m, plan, cotangents, grads, rows, g_rows, batches, scratch, slopes, dims):
    """Write the gradients of mixture m's present components."""
    weights, means, covariances = arrays
    K, N, per_node, size = len(dims), weights.shape[0], plan[6].shape[2] // 2, row_size(dims)
    low, high, centre = np.empty(K), np.empty(K), np.empty(K)
    bounding_box(weights, means, low, high, centre)
    inputs = view(weights), view(means), view(covariances)
    leaf_rows(N, inputs, centre, rows, batches.starts, scratch, dims)
    tree, order, choices = _parts(plan, m)
    selected, offsets, n_selected = part(plan[4], m), part(plan[5], m), _n_selected(plan[5][m])
    start_batches(n_selected, selected, offsets, tree, per_node, N, size, batches)
    n_batches = climb(per_node, tree, order, choices, True, 0.0, 0.0, rows, batches, scratch, dims)
    for k in range(n_selected):
        v, start, count = selected[k], offsets[k], offsets[k + 1] - offsets[k]
        list_outputs(v, count, tree, order, size, per_node, batches)
        sign = 1.0 if first_leaf(v, tree[0]) < plan[1][m] else -1.0
        load_cotangents(cotangents, start, count, sign, g_rows, batches.starts, dims)
    descend(n_batches, per_node, tree, order, choices, rows, g_rows, batches, scratch, slopes, dims)
    store_gradients(N, inputs[0], g_rows, size, grads, dims)


@spliced
def _vjp_share(worker, workers, arrays, plan, cotangents, grads, spaces, dims):
    """Write the gradients of this worker's mixtures; the caller keeps the spaces alive."""
    weights, means, covariances = arrays
    slots = plan[6].shape[2]
    rows, g_rows, batches = view(spaces[0]), view(spaces[1]), new_batches(spaces[2])
    scratch, slopes = new_scratch(view(spaces[3]), slots, dims), new_slopes(view(spaces[4]), slots, dims)
    for m in range(worker, weights.shape[0], workers):
        one = weights[m], means[m], covariances[m]
        g_outputs = part(cotangents[0], m), part(cotangents[1], m), part(cotangents[2], m)
        g_inputs = part(grads[0], m), part(grads[1], m), part(grads[2], m)
        _vjp_one(one, m, plan, g_outputs, g_inputs, rows, g_rows, batches, scratch, slopes, dims)


@threaded
def _vjp_all(worker, workers, arrays, plan, cotangents, grads, dims):
    N, slots = arrays[0].shape[1], plan[6].shape[2]
    spaces = (
        _rows_space(N, slots // 2, dims),
        _rows_space(N, slots // 2, dims),
        batches_space(N, slots // 2),
        aligned(scratch_size(slots, dims)),
        aligned(slopes_size(slots, dims)),
    )
    _vjp_share(worker, workers, arrays, plan, cotangents, grads, spaces, dims)
    keep(spaces)


def plan_and_forward(weights, means, covariances, n, per_node):
    """Return ``(plan, outputs)``: the plan, and what `forward` would give with it, in one pass.

    weights (M, N), means (M, N, K), covariances (M, N, K, K); N >= 2, 1 <= n < N.
    """
    M, N = weights.shape
    plan = (
        np.empty((M, N), np.int32),
        np.empty(M, np.int32),
        np.zeros((M, N - 1, 2), np.int32),
        np.zeros((M, N - 1), np.int32),
        np.empty((M, n), np.int32),
        np.empty((M, n + 1), np.int32),
        np.zeros((M, N - 1, 2 * per_node), np.uint8),
        np.zeros((M, N - 1, 2 * per_node), np.uint32),
    )
    return plan, _run(weights, means, covariances, plan, frozen=False)


def plan(weights, means, covariances, n, per_node):
    """Return the plan: the integers that fix how `n` components come about."""
    return plan_and_forward(weights, means, covariances, n, per_node)[0]


def forward(weights, means, covariances, plan, values=None):
    """Return ((weights, means, covariances) of the result, residuals); `values` are the result if known."""
    if values is None:
        values = _run(weights, means, covariances, tuple(map(ready, plan)), frozen=True)
    return values, (weights, means, covariances, plan)


def vjp(residuals, g_weights, g_means, g_covariances, needs):
    """Return the gradients of weights, means and covariances, with the plan held (None where not needed).

    The nodes are computed again bottom-up, as in `forward`; then every node, top-down, turns the gradients of
    its outputs s into those of its slots i, the components that its children hold. Write w_s, mu_s, C_s = P_s^-1
    for the representative of output s; a sum over s runs over the outputs that slot i may join. A fit is

        wh_i = w_i / S,  S = sum_j w_j,    l_is = -1/2 [log det C_s + (mu_i - mu_s)^T P_s (mu_i - mu_s) + tr P_s C_i]
        z_is = log w_s + 4 wh_i l_is,      r_is = exp z_is / sum_s' exp z_is',    rho_is = r_is w_i
        W_s = sum_i rho_is,                M_s = sum_i rho_is mu_i / W_s,
        V_s = sum_i rho_is (C_i + d d^T) / W_s    with d = mu_i - M_s.

    Let x* be the gradient of x; all C* and V* are symmetric.

    Maximisation. As sum_i rho_is d = 0, moving M_s does not move V_s to first order, hence

        rho_is* = W_s* + [M_s*.d + <V_s*, d d^T + C_i - V_s>] / W_s
        mu_i* += sum_s rho_is / W_s (M_s* + 2 V_s* d),    C_i* += sum_s rho_is / W_s V_s*
        w_i* += sum_s r_is rho_is*,                       r_is* = w_i rho_is*

    Expectation. Through the softmax, the representatives' weights and wh:

        z_is* = r_is (r_is* - sum_s' r_is' r_is'*),       w_rep(s)* += sum_i z_is* / w_rep(s)
        wh_i* = 4 sum_s z_is* l_is,                       w_i* += (wh_i* - sum_j wh_j* wh_j) / S
        l_is* = 4 wh_i z_is*

    As sum_s z_is* = 0, terms of l that are equal for all s (here K log 2 pi) may be left out.

    Likelihoods. With e = mu_i - mu_s, q = P_s e, and from dP = -P dC P:

        mu_i* -= l_is* q,    mu_rep(s)* += l_is* q,    C_i* -= 1/2 l_is* P_s
        C_rep(s)* += 1/2 P_s [sum_i l_is* (e e^T + C_i)] P_s - 1/2 sum_i l_is* P_s

    A node that holds all its leaves passes the gradients through. The weight of a negative component enters as
    |w|, so its gradient changes sign on the way in and out. Absent components have none, and the cotangents of
    absent outputs are ignored.
    """
    weights, means, covariances, plan = residuals
    plan = tuple(map(ready, plan))
    grads = tuple(np.zeros(a.shape, a.dtype) for a in (weights, means, covariances))
    cotangents = tuple(map(ready, (g_weights, g_means, g_covariances)))
    _vjp_all(
        means.shape[0], tuple(map(ready, residuals[:3])), plan, cotangents, grads, (0,) * means.shape[-1]
    )
    return tuple(g if need else None for g, need in zip(grads, needs, strict=True))


def _run(weights, means, covariances, plan, frozen):
    M, n = plan[4].shape
    K, dtype = means.shape[-1], weights.dtype
    out = np.empty((M, n), dtype), np.empty((M, n, K), dtype), np.empty((M, n, K, K), dtype)
    faults, limits = np.zeros((M, 2), np.int64), np.finfo(dtype)
    inputs = tuple(map(ready, (weights, means, covariances)))
    _reduce_all(M, inputs, float(limits.eps), float(limits.tiny), frozen, plan, out, faults, (0,) * K)
    if faults[:, 0].any():
        raise_first(faults, covariances)
    return out

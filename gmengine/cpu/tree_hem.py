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
from gmengine.cpu._morton_tree import bounding_box, first_leaf, morton_keys, sign_trees
from gmengine.cpu._node_fit import new_scratch
from gmengine.cpu._selection import select_nodes
from gmengine.cpu._tree_climb import (
    climb,
    leaf_slots,
    outputs_slot,
    slot_of,
    write_fit,
    write_leaves,
    write_padding,
)
from gmengine.cpu._tree_faults import SOUND, TWO_SIGNS, first_fault, first_stranger, raise_first
from gmengine.cpu._tree_hem_vjp import descend, load_cotangents, new_slopes, store_gradients


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
def _n_present(order):
    present = 0
    while present < order.shape[0] and order[present] >= 0:
        present += 1
    return present


@helper
def _reduce_one(weights, means, covariances, eps, tiny, frozen, m, plan, result, dims):
    """Reduce mixture m; unless `frozen`, write its plan on the way. Return (code, component)."""
    K, per_node = len(dims), plan[6].shape[2] // 2
    code, i = first_fault(weights, means, covariances, dims)
    if code == SOUND and frozen:
        code, i = first_stranger(weights, plan[0][m], plan[1][m])
    if code != SOUND:
        return code, i
    low, high, centre = np.empty(K), np.empty(K), np.empty(K)
    extent = bounding_box(weights, means, low, high, centre)
    if not frozen and not _decide(weights, means, low, high, eps, m, plan, dims):
        return TWO_SIGNS, 0
    order, positive, children, leaves = plan[0][m], plan[1][m], plan[2][m], plan[3][m]
    selected, offsets, choices = plan[4][m], plan[5][m], (plan[6][m], plan[7][m])
    present, n_inner = _n_present(order), children.shape[0]
    nodes = leaf_slots(weights, means, covariances, order, present, centre, n_inner, per_node, dims)
    first = outputs_slot(n_inner, present, per_node)
    slots, scratch = np.empty((2 * per_node, nodes.shape[1])), new_scratch(2 * per_node, dims)
    for k in range(selected.shape[0]):
        v, start, count = selected[k], offsets[k], offsets[k + 1] - offsets[k]
        if count == 0:
            break
        if v < 0 or leaves[v] == count:
            write_leaves(weights, means, covariances, order, v, children, count, result, start, dims)
            continue
        climb(v, count, first, nodes, (children, leaves), choices, frozen, extent, eps, slots, scratch, dims)
        sign = 1.0 if first_leaf(v, children) < positive else -1.0
        write_fit(nodes, first, count, sign, centre, tiny, result, start, dims)
    write_padding(result, offsets[selected.shape[0]], dims)
    return SOUND, 0


@threaded
def _reduce_all(worker, workers, weights, means, covariances, eps, tiny, frozen, plan, out, faults, dims):
    for m in range(worker, weights.shape[0], workers):
        result = (out[0][m], out[1][m], out[2][m])
        code, i = _reduce_one(weights[m], means[m], covariances[m], eps, tiny, frozen, m, plan, result, dims)
        faults[m, 0], faults[m, 1] = code, i


@helper
def _vjp_one(weights, means, covariances, m, plan, cotangents, grads, dims):
    """Write the gradients of mixture m's present components."""
    order, positive, children, leaves = plan[0][m], plan[1][m], plan[2][m], plan[3][m]
    selected, offsets, choices = plan[4][m], plan[5][m], (plan[6][m], plan[7][m])
    K, per_node, tree = len(dims), choices[0].shape[1] // 2, (children, leaves)
    low, high, centre = np.empty(K), np.empty(K), np.empty(K)
    bounding_box(weights, means, low, high, centre)
    present, n_inner = _n_present(order), children.shape[0]
    nodes = leaf_slots(weights, means, covariances, order, present, centre, n_inner, per_node, dims)
    first = outputs_slot(n_inner, present, per_node)
    g_nodes, slots = np.empty(nodes.shape), np.empty((2 * per_node, nodes.shape[1]))
    scratch, slopes = new_scratch(2 * per_node, dims), new_slopes(2 * per_node, dims)
    for k in range(selected.shape[0]):
        v, start, count = selected[k], offsets[k], offsets[k + 1] - offsets[k]
        if count == 0:
            break
        leaf = first_leaf(v, children)
        unchanged = v < 0 or leaves[v] == count
        target = slot_of(~leaf, n_inner, per_node) if unchanged else first
        sign = 1.0 if leaf < positive else -1.0
        load_cotangents(cotangents, start, count, sign, g_nodes, target, dims)
        if not unchanged:
            climb(v, count, first, nodes, tree, choices, True, 0.0, 0.0, slots, scratch, dims)
            descend(v, count, first, nodes, tree, choices, g_nodes, slots, scratch, slopes, dims)
    store_gradients(g_nodes, n_inner * per_node, order, present, positive, grads, dims)


@threaded
def _vjp_all(worker, workers, weights, means, covariances, plan, cotangents, grads, dims):
    for m in range(worker, weights.shape[0], workers):
        _vjp_one(
            weights[m],
            means[m],
            covariances[m],
            m,
            plan,
            (cotangents[0][m], cotangents[1][m], cotangents[2][m]),
            (grads[0][m], grads[1][m], grads[2][m]),
            dims,
        )


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
        values = _run(weights, means, covariances, plan, frozen=True)
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
    grads = tuple(np.zeros(a.shape, a.dtype) for a in (weights, means, covariances))
    cotangents = tuple(map(ready, (g_weights, g_means, g_covariances)))
    _vjp_all(means.shape[0], *map(ready, residuals[:3]), plan, cotangents, grads, (0,) * means.shape[-1])
    return tuple(g if need else None for g, need in zip(grads, needs, strict=True))


def _run(weights, means, covariances, plan, frozen):
    M, n = plan[4].shape
    K, dtype = means.shape[-1], weights.dtype
    out = np.empty((M, n), dtype), np.empty((M, n, K), dtype), np.empty((M, n, K, K), dtype)
    faults, limits = np.zeros((M, 2), np.int64), np.finfo(dtype)
    inputs = map(ready, (weights, means, covariances))
    _reduce_all(M, *inputs, float(limits.eps), float(limits.tiny), frozen, plan, out, faults, (0,) * K)
    if faults[:, 0].any():
        raise_first(faults, covariances)
    return out

"""TreeHEM by Numba: fewer components by EM in the nodes of a Morton tree (paper section 4.4).

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
from numba import prange

from gmengine.cpu._compile import kernel, ready
from gmengine.cpu._morton_tree import bounding_box, first_leaf, morton_keys, sign_trees
from gmengine.cpu._node_fit import invert, new_scratch
from gmengine.cpu._selection import select_nodes
from gmengine.cpu._serial import serial
from gmengine.cpu._tree_climb import (
    climb,
    leaf_slots,
    outputs_slot,
    slot_of,
    write_fit,
    write_leaves,
    write_padding,
)
from gmengine.cpu._tree_hem_vjp import descend, load_cotangents, new_slopes, store_gradients
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite

SOUND, NON_FINITE, NOT_DEFINITE, OTHER_SIGN, TWO_SIGNS = range(5)


@serial
def _first_fault(weights, means, covariances, dims):
    """Return (code, component) of the first present component that is no Gaussian."""
    K = len(dims)
    work = np.empty((2, K * K))
    for i in range(weights.shape[0]):
        if weights[i] == 0.0:
            continue
        finite = np.isfinite(weights[i])
        for a in range(K):
            finite &= np.isfinite(means[i, a])
            for b in range(K):
                work[0, K * a + b] = covariances[i, a, b]
                finite &= np.isfinite(covariances[i, a, b])
        if not finite:
            return NON_FINITE, i
        if np.isnan(invert(work[0], 0, dims, work, 1, 0)):
            return NOT_DEFINITE, i
    return SOUND, 0


@serial
def _first_stranger(weights, order, positive):
    """Return (code, component) of the first component whose sign is not the one in the plan."""
    present = 0
    for i in range(weights.shape[0]):
        present += weights[i] != 0.0
    for p in range(order.shape[0]):
        i = order[p]
        if i < 0:
            return SOUND if present == p else OTHER_SIGN, -1
        if weights[i] == 0.0 or (weights[i] > 0.0) != (p < positive):
            return OTHER_SIGN, i
    return SOUND, 0


@serial
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


@serial
def _n_present(order):
    present = 0
    while present < order.shape[0] and order[present] >= 0:
        present += 1
    return present


@serial
def _reduce_one(weights, means, covariances, eps, tiny, frozen, m, plan, result, dims):
    """Reduce mixture m; unless `frozen`, write its plan on the way. Return (code, component)."""
    K, per_node = len(dims), plan[6].shape[2] // 2
    code, i = _first_fault(weights, means, covariances, dims)
    if code == SOUND and frozen:
        code, i = _first_stranger(weights, plan[0][m], plan[1][m])
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


@kernel
def _reduce_all(weights, means, covariances, eps, tiny, frozen, plan, out, faults, dims):
    for m in prange(weights.shape[0]):
        result = (out[0][m], out[1][m], out[2][m])
        code, i = _reduce_one(
            weights[m], means[m], covariances[m], eps, tiny, frozen, np.int64(m), plan, result, dims
        )
        faults[m, 0], faults[m, 1] = code, i


@serial
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


@kernel
def _vjp_all(weights, means, covariances, plan, cotangents, grads, dims):
    for m in prange(weights.shape[0]):
        _vjp_one(
            weights[m],
            means[m],
            covariances[m],
            np.int64(m),
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
    """Return the gradients of weights, means and covariances, with the plan held (None where not needed)."""
    weights, means, covariances, plan = residuals
    grads = np.zeros_like(weights), np.zeros_like(means), np.zeros_like(covariances)
    cotangents = tuple(map(ready, (g_weights, g_means, g_covariances)))
    _vjp_all(*map(ready, residuals[:3]), plan, cotangents, grads, (0,) * means.shape[-1])
    return tuple(g if need else None for g, need in zip(grads, needs, strict=True))


def _run(weights, means, covariances, plan, frozen):
    M, n = plan[4].shape
    K, dtype = means.shape[-1], weights.dtype
    out = np.empty((M, n), dtype), np.empty((M, n, K), dtype), np.empty((M, n, K, K), dtype)
    faults, limits = np.zeros((M, 2), np.int64), np.finfo(dtype)
    inputs = map(ready, (weights, means, covariances))
    _reduce_all(*inputs, float(limits.eps), float(limits.tiny), frozen, plan, out, faults, (0,) * K)
    if faults[:, 0].any():
        _raise(faults, covariances)
    return out


def _raise(faults, covariances):
    m = int(np.flatnonzero(faults[:, 0])[0])
    code, i = (int(x) for x in faults[m])
    if code == TWO_SIGNS:
        raise ArgumentError(
            f"reduce: expected n >= 2 for mixture {m}, which has components of both signs, got n = 1"
        )
    if code == OTHER_SIGN:
        which = f"component [{m}, {i}]" if i >= 0 else f"a component of mixture {m}"
        raise ArgumentError(
            f"reduce: expected the signs and absent components for which the plan was made; {which} differs"
        )
    if code == NON_FINITE:
        raise NonFiniteError(f"reduce: expected finite numbers, component [{m}, {i}] has NaN or infinity")
    smallest = np.linalg.eigvalsh(covariances[m, i].astype(np.float64))[0]
    raise NotPositiveDefinite(
        f"reduce: expected positive definite covariances, that of component [{m}, {i}] "
        f"has the smallest eigenvalue {smallest:.3g}"
    )

"""TreeHEM by Numba: fewer components by EM in the nodes of a Morton tree (paper section 4.4).

A plan is a tuple of integer arrays; M mixtures of N components, at most n of them kept, T per node:

- ``order (M, N)``: leaf position -> component, positive components first, Morton order; -1 past the end,
- ``positive (M,)``: number of leaves that are positive,
- ``children (M, N - 1, 2)`` and ``leaves (M, N - 1)``: the inner nodes (`_morton_tree` tells the numbering),
- ``selected (M, n)`` and ``offsets (M, n + 1)``: the nodes that give the result, and where their
  components begin in it; a node past the last one gives none,
- ``representatives (M, N - 1, 2T)`` and ``masks (M, N - 1, 2T)``: of every node that is fitted, the slot that each
  output starts from, and as bits the outputs that each slot may belong to.
"""

import numpy as np
from numba import njit, prange

from gmengine.cpu._morton_tree import bounding_box, first_leaf, morton_keys, sign_trees
from gmengine.cpu._node_fit import Components, invert, new_components, new_scratch
from gmengine.cpu._selection import select_nodes
from gmengine.cpu._tree_climb import (
    NON_FINITE,
    NOT_DEFINITE,
    OTHER_SIGN,
    SOUND,
    TWO_SIGNS,
    climb,
    copy,
    fit_node,
    leaf_slots,
    write_fit,
    write_leaves,
    write_padding,
)
from gmengine.cpu._tree_hem_vjp import descend, load_cotangent, pass_to_leaves, store_gradient
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite


@njit(cache=True, error_model="numpy")
def _first_fault(weights, means, covariances, dims):
    """Return (code, component) of the first present component that is no Gaussian."""
    K = len(dims)
    work = np.empty((2, K, K))
    for i in range(weights.shape[0]):
        if weights[i] == 0.0:
            continue
        total = weights[i] - weights[i]
        for a in range(K):
            total += means[i, a] - means[i, a]
            for b in range(K):
                work[0, a, b] = covariances[i, a, b]
                total += covariances[i, a, b] - covariances[i, a, b]
        if not total == 0.0:
            return NON_FINITE, i
        if np.isnan(invert(work[0], work[1], dims)):
            return NOT_DEFINITE, i
    return SOUND, 0


@njit(cache=True)
def _follows(weights, order, positive):
    """Return (code, component): whether the present components and their signs are those of the plan."""
    present = 0
    for i in range(weights.shape[0]):
        present += weights[i] != 0.0
    for p in range(order.shape[0]):
        i = order[p]
        if i < 0:
            return (SOUND, 0) if present == p else (OTHER_SIGN, -1)
        if (weights[i] > 0.0) != (p < positive) or weights[i] == 0.0:
            return OTHER_SIGN, i
    return SOUND, 0


@njit(cache=True, error_model="numpy")
def _centre(low, high, centre):
    for a in range(low.shape[0]):
        centre[a] = 0.5 * low[a] + 0.5 * high[a]


@njit(cache=True, error_model="numpy")
def _grow(weights, means, low, high, eps, plan, dims):
    """Write the discrete part of a plan that needs no EM; return the number of leaves, or a fault."""
    order, positive, children, leaves, selected, offsets = plan[:6]
    per_node = plan[6].shape[1] // 2
    keys = np.empty(weights.shape[0], np.uint64)
    present = morton_keys(weights, means, low, high, eps, keys, dims)
    order[present:] = -1
    positive[0] = sign_trees(keys[:present], children, leaves, order)
    counts = np.zeros(selected.shape[0], np.int64)
    chosen = select_nodes(
        weights, order[:present], positive[0], children, leaves, per_node, eps, selected, counts
    )
    offsets[0] = 0
    for k in range(selected.shape[0]):
        if k >= chosen:
            selected[k] = 0
        offsets[k + 1] = offsets[k] + counts[k]
    return chosen


@njit(cache=True, error_model="numpy")
def _reduce_one(weights, means, covariances, eps, tiny, frozen, plan, result, dims):
    """Reduce one mixture; unless `frozen`, write its plan on the way. Return (code, component)."""
    fault = _first_fault(weights, means, covariances, dims)
    if fault[0] == SOUND and frozen:
        fault = _follows(weights, plan[0], plan[1][0])
    if fault[0] != SOUND:
        return fault
    order, positive, children, leaves, selected, offsets = plan[:6]
    choices = plan[6:]
    per_node = choices[0].shape[1] // 2
    K = len(dims)
    low, high, centre = np.empty(K), np.empty(K), np.empty(K)
    extent = bounding_box(weights, means, low, high)
    if not frozen and _grow(weights, means, low, high, eps, plan, dims) < 0:
        return TWO_SIGNS, 0
    _centre(low, high, centre)
    present = 0
    while present < order.shape[0] and order[present] >= 0:
        present += 1
    nodes = leaf_slots(
        weights, means, covariances, order[:present], centre, children.shape[0], per_node, dims
    )
    slots, fitted = new_components(2 * per_node, dims), new_components(2 * per_node, dims)
    scratch = new_scratch(2 * per_node, dims)
    for k in range(selected.shape[0]):
        v, start, count = selected[k], offsets[k], offsets[k + 1] - offsets[k]
        if count == 0:
            break
        if v < 0 or leaves[v] == count:
            write_leaves(weights, means, covariances, order, v, children, count, result, start)
            continue
        climb(v, nodes, (children, leaves), choices, frozen, extent, eps, slots, scratch, dims)
        fit_node(
            v, count, nodes, (children, leaves), choices, frozen, extent, eps, slots, fitted, 0, scratch, dims
        )
        sign = 1.0 if first_leaf(v, children) < positive[0] else -1.0
        write_fit(fitted, count, sign, centre, tiny, result, start, dims)
    write_padding(result, offsets[selected.shape[0]])
    return SOUND, 0


@njit(parallel=True, cache=True, error_model="numpy")
def _reduce_all(weights, means, covariances, eps, tiny, frozen, plan, out, faults, dims):
    order, positive, children, leaves, selected, offsets, representatives, masks = plan
    for m in prange(weights.shape[0]):
        faults[m] = _reduce_one(
            weights[m],
            means[m],
            covariances[m],
            eps,
            tiny,
            frozen,
            (
                order[m],
                positive[m : m + 1],
                children[m],
                leaves[m],
                selected[m],
                offsets[m],
                representatives[m],
                masks[m],
            ),
            Components(out[0][m], out[1][m], out[2][m]),
            dims,
        )


@njit(cache=True, error_model="numpy")
def _vjp_one(weights, means, covariances, plan, cotangents, grads, dims):
    """Write the gradients of one mixture's present components."""
    order, positive, children, leaves, selected, offsets = plan[:6]
    choices, tree = plan[6:], (children, leaves)
    K, per_node = len(dims), choices[0].shape[1] // 2
    present = 0
    while present < order.shape[0] and order[present] >= 0:
        present += 1
    low, high, centre = np.empty(K), np.empty(K), np.empty(K)
    bounding_box(weights, means, low, high)
    _centre(low, high, centre)
    n_inner = children.shape[0]
    nodes = leaf_slots(weights, means, covariances, order[:present], centre, n_inner, per_node, dims)
    g_nodes = new_components(nodes.w.shape[0], dims)
    slots, fitted = new_components(2 * per_node, dims), new_components(2 * per_node, dims)
    g_slots, g_fitted = new_components(2 * per_node, dims), new_components(2 * per_node, dims)
    scratch = new_scratch(2 * per_node, dims)
    pairs = np.empty((2, 2 * per_node, 2 * per_node))
    for k in range(selected.shape[0]):
        v, start, count = selected[k], offsets[k], offsets[k + 1] - offsets[k]
        if count == 0:
            break
        sign = 1.0 if first_leaf(v, children) < positive[0] else -1.0
        for t in range(count):
            load_cotangent(cotangents, start + t, sign, g_fitted, t, dims)
        if v < 0 or leaves[v] == count:
            pass_to_leaves(g_fitted, v, children, count, g_nodes, n_inner, per_node, dims)
            continue
        climb(v, nodes, tree, choices, True, 0.0, 0.0, slots, scratch, dims)
        descend(
            v, count, nodes, tree, choices, g_nodes, g_fitted, slots, fitted, g_slots, scratch, pairs, dims
        )
    for p in range(present):
        sign = 1.0 if p < positive[0] else -1.0
        store_gradient(g_nodes, n_inner * per_node + p, sign, grads, order[p], dims)


@njit(parallel=True, cache=True, error_model="numpy")
def _vjp_all(weights, means, covariances, plan, cotangents, grads, dims):
    order, positive, children, leaves, selected, offsets, representatives, masks = plan
    for m in prange(weights.shape[0]):
        _vjp_one(
            weights[m],
            means[m],
            covariances[m],
            (
                order[m],
                positive[m : m + 1],
                children[m],
                leaves[m],
                selected[m],
                offsets[m],
                representatives[m],
                masks[m],
            ),
            Components(cotangents[0][m], cotangents[1][m], cotangents[2][m]),
            Components(grads[0][m], grads[1][m], grads[2][m]),
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


def _run(weights, means, covariances, plan, frozen):
    M, n = plan[4].shape
    K, dtype = means.shape[-1], weights.dtype
    out = np.empty((M, n), dtype), np.empty((M, n, K), dtype), np.empty((M, n, K, K), dtype)
    faults = np.zeros((M, 2), np.int64)
    limits = np.finfo(dtype)
    _reduce_all(
        *_compiled_for(weights, means, covariances),
        float(limits.eps),
        float(limits.tiny),
        frozen,
        plan,
        out,
        faults,
        (0,) * K,
    )
    if faults.any():
        _raise(faults, covariances)
    return out


def _compiled_for(*arrays):
    """Return the arrays contiguous and writable, the one kind for which the kernels get compiled."""
    return tuple(np.require(a, requirements=("C", "W")) for a in arrays)


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


def vjp(residuals, g_weights, g_means, g_covariances, needs):
    """Return the gradients of weights, means and covariances, with the plan held (None where not needed)."""
    weights, means, covariances, plan = residuals
    grads = np.zeros_like(weights), np.zeros_like(means), np.zeros_like(covariances)
    inputs, cotangents = (
        _compiled_for(weights, means, covariances),
        _compiled_for(g_weights, g_means, g_covariances),
    )
    _vjp_all(*inputs, plan, cotangents, grads, (0,) * means.shape[-1])
    return tuple(g if need else None for g, need in zip(grads, needs, strict=True))

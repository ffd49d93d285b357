"""From the leaves to the selected nodes: every node under a selected one is fitted, bottom-up."""

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._morton_tree import first_leaf, size_of
from gmengine.cpu._node_fit import (
    MU,
    W,
    choose_masks,
    choose_representatives,
    energies,
    expectation,
    maximisation,
)


@helper
def slot_of(reference, n_inner, per_node):
    """Return the first of a node's slots: `per_node` for each inner node, then one for each leaf."""
    return reference * per_node if reference >= 0 else n_inner * per_node + ~reference


@helper
def outputs_slot(n_inner, present, per_node):
    """Return the first of the ``2 per_node`` slots behind all others, in which selected nodes are fitted."""
    return n_inner * per_node + present


@helper
def leaf_slots(weights, means, covariances, order, present, centre, n_inner, per_node, dims):
    """Return slots for all nodes, of which the leaves' are filled: |w|, means from the centre, symmetric C."""
    K = len(dims)
    nodes = np.empty((outputs_slot(n_inner, present, per_node) + 2 * per_node, 1 + K + K * K))
    for p in range(present):
        i, t = order[p], slot_of(~p, n_inner, per_node)
        nodes[t, W] = abs(weights[i])
        for a in range(K):
            nodes[t, MU + a] = means[i, a] - centre[a]
            for b in range(K):
                both = np.float64(covariances[i, a, b]) + np.float64(covariances[i, b, a])
                nodes[t, MU + K + K * a + b] = 0.5 * both
    return nodes


@helper
def copy(source, i, target, j, dims):
    """Copy component i of `source` to component j of `target`."""
    for c in range(1 + len(dims) + len(dims) ** 2):
        target[j, c] = source[i, c]


@helper
def collect(v, nodes, tree, per_node, slots, dims):
    """Copy what the children of node v hold, left before right; return how many."""
    children, leaves = tree
    n_in = 0
    for side in range(2):
        c = children[v, side]
        first, size = slot_of(c, children.shape[0], per_node), size_of(c, leaves, per_node)
        for k in range(size):
            copy(nodes, first + k, slots, n_in + k, dims)
        n_in += size
    return n_in


@helper
def climb(root, count, start, nodes, tree, choices, frozen, extent, eps, slots, scratch, dims):
    """Fit every node under `root`, children before parents, and `root` itself to `count` from `start` on.

    Unless `frozen`, representatives and masks are chosen and written first.
    """
    leaves, per_node = tree[1], choices[0].shape[1] // 2
    for v in range(root + leaves[root] - 2, root - 1, -1):
        n_out = count if v == root else size_of(v, leaves, per_node)
        t = start if v == root else v * per_node
        n_in = collect(v, nodes, tree, per_node, slots, dims)
        if n_in == n_out:
            for i in range(n_in):
                copy(slots, i, nodes, t + i, dims)
            continue
        representatives, masks = choices[0][v], choices[1][v]
        if not frozen:
            choose_representatives(slots, n_in, n_out, extent, eps, scratch, representatives, dims)
            for i in range(n_in):
                masks[i] = np.uint32((1 << n_out) - 1)
        energies(slots, n_in, n_out, representatives, masks, scratch, dims)
        if not frozen:
            choose_masks(slots, n_in, n_out, eps, representatives, masks, scratch, dims)
        expectation(slots, n_in, n_out, masks, scratch)
        maximisation(slots, n_in, n_out, representatives, scratch, nodes, t, dims)


@helper
def write_leaves(weights, means, covariances, order, root, children, count, result, start, dims):
    """Copy the `count` leaves under `root` to the result, bit for bit."""
    K = len(dims)
    p = first_leaf(root, children)
    for k in range(count):
        i, t = order[p + k], start + k
        result[0][t] = weights[i]
        for a in range(K):
            result[1][t, a] = means[i, a]
            for b in range(K):
                result[2][t, a, b] = covariances[i, a, b]


@helper
def write_fit(nodes, first, count, sign, centre, tiny, result, start, dims):
    """Write `count` fitted components to the result; none may underflow to an absent one."""
    K = len(dims)
    for k in range(count):
        s, t = first + k, start + k
        result[0][t] = sign * max(nodes[s, W], tiny)
        for a in range(K):
            result[1][t, a] = nodes[s, MU + a] + centre[a]
            for b in range(K):
                result[2][t, a, b] = nodes[s, MU + K + K * a + b]


@helper
def write_padding(result, start, dims):
    """Write absent components from `start` on."""
    K = len(dims)
    for t in range(start, result[0].shape[0]):
        result[0][t] = 0.0
        for a in range(K):
            result[1][t, a] = 0.0
            for b in range(K):
                result[2][t, a, b] = 1.0 if a == b else 0.0

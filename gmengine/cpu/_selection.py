"""Which nodes of the trees give the result, and how many components each (facts that need no EM)."""

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._morton_tree import root_of, size_of


@helper
def _subtree_masses(weights, order, children, n_nodes):
    mass = np.empty(n_nodes)
    for v in range(n_nodes - 1, -1, -1):
        mass[v] = 0.0
        for side in range(2):
            c = children[v, side]
            mass[v] += mass[c] if c >= 0 else abs(weights[order[~c]])
    return mass


@helper
def _share_between_roots(mass, roots, n_roots, counts, leaves, per_node, n, eps):
    """Cut the roots' counts so that they sum to `n`: one each, the next to the larger mass per component."""
    for k in range(n_roots):
        counts[k] = 1
    for _ in range(n - n_roots):
        best, best_mass = -1, -1.0
        for k in range(n_roots):
            if counts[k] < size_of(roots[k], leaves, per_node):
                per_component = mass[roots[k]] / counts[k]
                if per_component > best_mass * (1.0 + 64.0 * eps):
                    best, best_mass = k, per_component
        counts[best] += 1


@helper
def _heaviest(mass, selected, n_selected, leaves, per_node, eps):
    """Return the first of the heaviest among the selected nodes that can be opened."""
    heaviest = 0.0
    for k in range(n_selected):
        v = selected[k]
        if v >= 0 and leaves[v] >= per_node:
            heaviest = max(heaviest, mass[v])
    for k in range(n_selected):
        v = selected[k]
        if v >= 0 and leaves[v] >= per_node and mass[v] >= heaviest * (1.0 - 64.0 * eps):
            return k
    return -1


@helper
def _keep_all(weights, order, present, selected, counts):
    """Select every leaf, in the order of the input."""
    position = np.empty(weights.shape[0], np.int64)
    for p in range(present):
        position[order[p]] = p
    k = 0
    for i in range(weights.shape[0]):
        if weights[i] != 0.0:
            selected[k] = ~position[i]
            counts[k] = 1
            k += 1
    return k


@helper
def select_nodes(weights, order, present, positive, children, leaves, per_node, eps, selected, counts):
    """Write the selected nodes and how many components each gives; return their number, -1 if impossible.

    From the roots downwards, the heaviest node is replaced by its left child and the right one appended,
    until `n` components are selected (paper section 4.1, but to exactly n). A node whose opening would overshoot is
    not opened but gives as many more components as are missing. Impossible is one component for two signs.
    """
    n = selected.shape[0]
    if present <= n:
        return _keep_all(weights, order, present, selected, counts)
    roots = np.empty(2, np.int64)
    n_selected = 0
    if positive > 0:
        roots[0] = root_of(0, positive, 0)
        n_selected = 1
    if present > positive:
        roots[n_selected] = root_of(positive, present, max(positive - 1, 0))
        n_selected += 1
    if n < n_selected:
        return -1
    mass = _subtree_masses(weights, order, children, present - n_selected)
    count = 0
    for k in range(n_selected):
        selected[k] = roots[k]
        counts[k] = size_of(roots[k], leaves, per_node)
        count += counts[k]
    if count > n:
        _share_between_roots(mass, roots, n_selected, counts, leaves, per_node, n, eps)
    while count < n:
        k = _heaviest(mass, selected, n_selected, leaves, per_node, eps)
        left, right = children[selected[k], 0], children[selected[k], 1]
        sizes = size_of(left, leaves, per_node), size_of(right, leaves, per_node)
        if count + sizes[0] + sizes[1] - per_node > n:
            counts[k] = per_node + n - count
            break
        selected[k], counts[k] = left, sizes[0]
        selected[n_selected], counts[n_selected] = right, sizes[1]
        n_selected += 1
        count += sizes[0] + sizes[1] - per_node
    return n_selected

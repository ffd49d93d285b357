"""The way back through TreeHEM: from the selected nodes to the leaves (derivation: `tree_hem.vjp`)."""

import numpy as np
from numba import njit

from gmengine.cpu._morton_tree import first_leaf, size_of
from gmengine.cpu._node_fit import VIRTUAL_SAMPLES, energies, expectation, maximisation
from gmengine.cpu._tree_climb import collect, copy, slot_of


@njit(cache=True, error_model="numpy")
def maximisation_vjp(slots, n_in, n_out, share, fitted, g_fitted, g_slots, g_share, dims):
    """Write the slots' gradients through the moments, and those of their shares."""
    K = len(dims)
    for i in range(n_in):
        g_slots.w[i] = 0.0
        for a in range(K):
            g_slots.mu[i, a] = 0.0
            for b in range(K):
                g_slots.cov[i, a, b] = 0.0
        for s in range(n_out):
            if share[i, s] == 0.0:
                g_share[i, s] = 0.0
                continue
            rho = share[i, s] * slots.w[i] / fitted.w[s]
            first = second = 0.0
            for a in range(K):
                d = slots.mu[i, a] - fitted.mu[s, a]
                slope = g_fitted.mu[s, a]
                for b in range(K):
                    e = slots.mu[i, b] - fitted.mu[s, b]
                    g_cov = g_fitted.cov[s, a, b]
                    slope += 2.0 * g_cov * e
                    second += g_cov * (d * e + slots.cov[i, a, b] - fitted.cov[s, a, b])
                    g_slots.cov[i, a, b] += rho * g_cov
                first += g_fitted.mu[s, a] * d
                g_slots.mu[i, a] += rho * slope
            g_rho = g_fitted.w[s] + (first + second) / fitted.w[s]
            g_slots.w[i] += share[i, s] * g_rho
            g_share[i, s] = slots.w[i] * g_rho


@njit(cache=True, error_model="numpy")
def expectation_vjp(slots, n_in, n_out, representatives, scratch, g_share, g_slots, g_l):
    """Add the weights' gradients through the shares; write those of the log-likelihoods."""
    total = normalised = 0.0
    for i in range(n_in):
        total += slots.w[i]
    for i in range(n_in):
        mean = 0.0
        for s in range(n_out):
            mean += scratch.share[i, s] * g_share[i, s]
        g_normalised = 0.0
        for s in range(n_out):
            g_z = scratch.share[i, s] * (g_share[i, s] - mean)
            rep = representatives[s]
            g_slots.w[rep] += g_z / slots.w[rep]
            log_likelihood = -0.5 * (scratch.log_det[s] + scratch.energy[i, s])
            g_normalised += VIRTUAL_SAMPLES * g_z * log_likelihood if g_z != 0.0 else 0.0
            g_l[i, s] = VIRTUAL_SAMPLES * g_z * slots.w[i] / total
        g_slots.w[i] += g_normalised / total
        normalised += g_normalised * slots.w[i] / total
    for i in range(n_in):
        g_slots.w[i] -= normalised / total


@njit(cache=True, error_model="numpy")
def energies_vjp(slots, n_in, n_out, representatives, scratch, g_l, g_slots, dims):
    """Add the gradients through the log-likelihoods l_is, whose gradients are `g_l`."""
    K = len(dims)
    moment, product = scratch.squares[0], scratch.squares[1]
    for s in range(n_out):
        rep = representatives[s]
        P = scratch.precision[s]
        total = 0.0
        for a in range(K):
            for b in range(K):
                moment[a, b] = 0.0
        for i in range(n_in):
            g = g_l[i, s]
            if g == 0.0:
                continue
            total += g
            for a in range(K):
                d = slots.mu[i, a] - slots.mu[rep, a]
                q = 0.0
                for b in range(K):
                    e = slots.mu[i, b] - slots.mu[rep, b]
                    q += P[a, b] * e
                    moment[a, b] += g * (d * e + slots.cov[i, a, b])
                    g_slots.cov[i, a, b] -= 0.5 * g * P[a, b]
                g_slots.mu[i, a] -= g * q
                g_slots.mu[rep, a] += g * q
        for a in range(K):
            for b in range(K):
                product[a, b] = 0.0
                for c in range(K):
                    product[a, b] += P[a, c] * moment[c, b]
        for a in range(K):
            for b in range(K):
                g_cov = -total * P[a, b]
                for c in range(K):
                    g_cov += product[a, c] * P[c, b]
                g_slots.cov[rep, a, b] += 0.5 * g_cov


@njit(cache=True, error_model="numpy")
def node_vjp(v, n_out, nodes, tree, choices, g_fitted, slots, fitted, g_slots, scratch, pairs, dims):
    """Write to ``g_slots`` the gradients of what the children of node v hold; return how many they are."""
    children, leaves = tree
    per_node = choices[0].shape[1] // 2
    n_in = collect(v, nodes, children, leaves, per_node, slots, dims)
    if n_in == n_out:
        for i in range(n_in):
            copy(g_fitted, i, g_slots, i, dims)
        return n_in
    representatives, masks = choices[0][v], choices[1][v]
    energies(slots, n_in, n_out, representatives, masks, scratch, dims)
    expectation(slots, n_in, n_out, representatives, masks, scratch)
    maximisation(slots, n_in, n_out, representatives, scratch.share, fitted, 0, dims)
    maximisation_vjp(slots, n_in, n_out, scratch.share, fitted, g_fitted, g_slots, pairs[0], dims)
    expectation_vjp(slots, n_in, n_out, representatives, scratch, pairs[0], g_slots, pairs[1])
    energies_vjp(slots, n_in, n_out, representatives, scratch, pairs[1], g_slots, dims)
    return n_in


@njit(cache=True, error_model="numpy")
def descend(
    root, n_out, nodes, tree, choices, g_nodes, g_fitted, slots, fitted, g_slots, scratch, pairs, dims
):
    """Carry the gradient ``g_fitted`` of a selected node's outputs down to its leaves' slots of ``g_nodes``."""
    children, leaves = tree
    per_node = choices[0].shape[1] // 2
    for v in range(root, root + leaves[root] - 1):
        if v > root:
            n_out = size_of(v, leaves, per_node)
            for t in range(n_out):
                copy(g_nodes, v * per_node + t, g_fitted, t, dims)
        node_vjp(v, n_out, nodes, tree, choices, g_fitted, slots, fitted, g_slots, scratch, pairs, dims)
        i = 0
        for side in range(2):
            c = children[v, side]
            start = slot_of(c, children.shape[0], per_node)
            for t in range(start, start + size_of(c, leaves, per_node)):
                copy(g_slots, i, g_nodes, t, dims)
                i += 1


@njit(cache=True)
def pass_to_leaves(g_fitted, root, children, count, g_nodes, n_inner, per_node, dims):
    """Copy the gradients of leaves that were selected unchanged."""
    p = first_leaf(root, children)
    for k in range(count):
        copy(g_fitted, k, g_nodes, slot_of(~(p + k), n_inner, per_node), dims)


@njit(cache=True)
def load_cotangent(cotangents, j, sign, target, t, dims):
    """Copy the cotangent of output j, symmetrised and for |w| instead of w."""
    K = len(dims)
    target.w[t] = sign * cotangents.w[j]
    for a in range(K):
        target.mu[t, a] = cotangents.mu[j, a]
        for b in range(K):
            target.cov[t, a, b] = 0.5 * (np.float64(cotangents.cov[j, a, b]) + cotangents.cov[j, b, a])


@njit(cache=True)
def store_gradient(g_nodes, t, sign, grads, i, dims):
    """Copy slot t's gradient to component i, symmetrised and for w instead of |w|."""
    K = len(dims)
    grads.w[i] = sign * g_nodes.w[t]
    for a in range(K):
        grads.mu[i, a] = g_nodes.mu[t, a]
        for b in range(K):
            grads.cov[i, a, b] = 0.5 * (g_nodes.cov[t, a, b] + g_nodes.cov[t, b, a])

"""The way back through TreeHEM: from the selected nodes to the leaves (derivation: `tree_hem.vjp`)."""

import numpy as np

from gmengine.cpu._morton_tree import size_of
from gmengine.cpu._node_fit import VIRTUAL_SAMPLES, energies, expectation
from gmengine.cpu._serial import serial
from gmengine.cpu._tree_climb import collect, copy, slot_of


@serial
def maximisation_vjp(slots, n_in, n_out, share, nodes, g_nodes, start, g_slots, g_share, dims):
    """Write the slots' gradients through the moments, whose own begin at `start`, and those of the shares."""
    K = len(dims)
    for i in range(n_in):
        g_slots.w[i] = 0.0
        for a in range(K):
            g_slots.mu[i, a] = 0.0
            for b in range(K):
                g_slots.cov[i, a, b] = 0.0
        for s in range(n_out):
            t = start + s
            if share[i, s] == 0.0:
                g_share[i, s] = 0.0
                continue
            reciprocal = 1.0 / nodes.w[t]
            rho = share[i, s] * slots.w[i] * reciprocal
            first = second = 0.0
            for a in range(K):
                d = slots.mu[i, a] - nodes.mu[t, a]
                slope = g_nodes.mu[t, a]
                for b in range(K):
                    e = slots.mu[i, b] - nodes.mu[t, b]
                    g_cov = g_nodes.cov[t, a, b]
                    slope += 2.0 * g_cov * e
                    second += g_cov * (d * e + slots.cov[i, a, b] - nodes.cov[t, a, b])
                    g_slots.cov[i, a, b] += rho * g_cov
                first += g_nodes.mu[t, a] * d
                g_slots.mu[i, a] += rho * slope
            g_rho = g_nodes.w[t] + (first + second) * reciprocal
            g_slots.w[i] += share[i, s] * g_rho
            g_share[i, s] = slots.w[i] * g_rho


@serial
def expectation_vjp(slots, n_in, n_out, representatives, scratch, g_share, g_slots, g_l):
    """Add the weights' gradients through the shares; write those of the log-likelihoods."""
    total = normalised = 0.0
    for i in range(n_in):
        total += slots.w[i]
    for i in range(n_in):
        mean = 0.0
        for s in range(n_out):
            mean += scratch.share[i, s] * g_share[i, s]
        samples = VIRTUAL_SAMPLES * slots.w[i] / total
        g_samples = 0.0
        for s in range(n_out):
            g_z = scratch.share[i, s] * (g_share[i, s] - mean)
            g_l[i, s] = samples * g_z
            if g_z != 0.0:
                g_slots.w[representatives[s]] += g_z / slots.w[representatives[s]]
                g_samples -= 0.5 * g_z * (scratch.log_det[s] + scratch.energy[i, s])
        g_slots.w[i] += VIRTUAL_SAMPLES / total * g_samples
        normalised += samples / total * g_samples
    for i in range(n_in):
        g_slots.w[i] -= normalised


@serial
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


@serial
def descend(root, count, start, nodes, tree, choices, g_nodes, slots, g_slots, scratch, pairs, dims):
    """Carry the gradients of what `root` is fitted to, in the slots from `start` on, down to its leaves' slots."""
    children, leaves = tree
    per_node = choices[0].shape[1] // 2
    for v in range(root, root + leaves[root] - 1):
        n_out = count if v == root else size_of(v, leaves, per_node)
        t = start if v == root else v * per_node
        n_in = collect(v, nodes, tree, per_node, slots, dims)
        if n_in == n_out:
            for i in range(n_in):
                copy(g_nodes, t + i, g_slots, i, dims)
        else:
            representatives, masks = choices[0][v], choices[1][v]
            energies(slots, n_in, n_out, representatives, masks, scratch, dims)
            expectation(slots, n_in, n_out, masks, scratch)
            maximisation_vjp(slots, n_in, n_out, scratch.share, nodes, g_nodes, t, g_slots, pairs[0], dims)
            expectation_vjp(slots, n_in, n_out, representatives, scratch, pairs[0], g_slots, pairs[1])
            energies_vjp(slots, n_in, n_out, representatives, scratch, pairs[1], g_slots, dims)
        i = 0
        for side in range(2):
            c = children[v, side]
            first, size = slot_of(c, children.shape[0], per_node), size_of(c, leaves, per_node)
            for k in range(size):
                copy(g_slots, i + k, g_nodes, first + k, dims)
            i += size


@serial
def load_cotangents(cotangents, start, count, sign, g_nodes, first, dims):
    """Copy `count` outputs' cotangents to slots, symmetrised and for |w| instead of w."""
    K = len(dims)
    for k in range(count):
        j, t = start + k, first + k
        g_nodes.w[t] = sign * cotangents.w[j]
        for a in range(K):
            g_nodes.mu[t, a] = cotangents.mu[j, a]
            for b in range(K):
                g_nodes.cov[t, a, b] = 0.5 * (np.float64(cotangents.cov[j, a, b]) + cotangents.cov[j, b, a])


@serial
def store_gradients(g_nodes, first, order, present, positive, grads, dims):
    """Copy the leaves' gradients to the components, symmetrised and for w instead of |w|."""
    K = len(dims)
    for p in range(present):
        i, t = order[p], first + p
        grads.w[i] = g_nodes.w[t] if p < positive else -g_nodes.w[t]
        for a in range(K):
            grads.mu[i, a] = g_nodes.mu[t, a]
            for b in range(K):
                grads.cov[i, a, b] = 0.5 * (g_nodes.cov[t, a, b] + g_nodes.cov[t, b, a])

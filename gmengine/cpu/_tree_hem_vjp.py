"""The way back through TreeHEM: from the selected nodes to the leaves (derivation: `tree_hem.vjp`)."""

from typing import Any, NamedTuple

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._morton_tree import size_of
from gmengine.cpu._node_fit import LOG_DET, MU, PRECISION, VIRTUAL_SAMPLES, W, energies, expectation
from gmengine.cpu._tree_climb import collect, copy, slot_of


class Slopes(NamedTuple):
    """Scratch for the gradients in one node."""

    slots: Any  # (slots, 1 + K + K K)
    share: Any  # (slots, outputs)
    likelihood: Any  # (slots, outputs)   of E_i[log N_s]
    squares: Any  # (2, K, K)             two matrices


@helper
def new_slopes(n, dims):
    K = len(dims)
    return Slopes(np.empty((n, 1 + K + K * K)), np.empty((n, n)), np.empty((n, n)), np.empty((2, K, K)))


@helper
def maximisation_vjp(slots, n_in, n_out, share, nodes, g_nodes, start, g_slots, g_share, dims):
    """Write the gradients of the slots and shares through the moments ``nodes[start:start + n_out]``."""
    K = len(dims)
    for i in range(n_in):
        for c in range(1 + K + K * K):
            g_slots[i, c] = 0.0
        for s in range(n_out):
            t = start + s
            if share[i, s] == 0.0:
                g_share[i, s] = 0.0
                continue
            reciprocal = 1.0 / nodes[t, W]
            rho = share[i, s] * slots[i, W] * reciprocal
            first = second = 0.0
            for a in range(K):
                d = slots[i, MU + a] - nodes[t, MU + a]
                slope = g_nodes[t, MU + a]
                first += slope * d
                for b in range(K):
                    ab = MU + K + K * a + b
                    e = slots[i, MU + b] - nodes[t, MU + b]
                    slope += 2.0 * g_nodes[t, ab] * e
                    second += g_nodes[t, ab] * (d * e + slots[i, ab] - nodes[t, ab])
                    g_slots[i, ab] += rho * g_nodes[t, ab]
                g_slots[i, MU + a] += rho * slope
            g_rho = g_nodes[t, W] + (first + second) * reciprocal
            g_slots[i, W] += share[i, s] * g_rho
            g_share[i, s] = slots[i, W] * g_rho


@helper
def expectation_vjp(slots, n_in, n_out, representatives, scratch, g_share, g_slots, g_likelihood):
    """Add the weights' gradients through the shares; write those of the log-likelihoods."""
    total = normalised = 0.0
    for i in range(n_in):
        total += slots[i, W]
    for i in range(n_in):
        mean = 0.0
        for s in range(n_out):
            mean += scratch.share[i, s] * g_share[i, s]
        samples = VIRTUAL_SAMPLES * slots[i, W] / total
        g_samples = 0.0
        for s in range(n_out):
            g_z = scratch.share[i, s] * (g_share[i, s] - mean)
            g_likelihood[i, s] = samples * g_z
            if g_z != 0.0:
                rep = representatives[s]
                g_slots[rep, W] += g_z / slots[rep, W]
                g_samples -= 0.5 * g_z * (scratch.model[s, LOG_DET] + scratch.energy[i, s])
        g_slots[i, W] += VIRTUAL_SAMPLES / total * g_samples
        normalised += samples / total * g_samples
    for i in range(n_in):
        g_slots[i, W] -= normalised


@helper
def likelihoods_vjp(slots, n_in, n_out, representatives, model, g_likelihood, squares, g_slots, dims):
    """Add the gradients through l_is = E_i[log N_s] of means and covariances."""
    K = len(dims)
    moment, product = squares[0], squares[1]
    for s in range(n_out):
        rep = representatives[s]
        total, idle = 0.0, True
        for a in range(K):
            for b in range(K):
                moment[a, b] = 0.0
        for i in range(n_in):
            g = g_likelihood[i, s]
            if g == 0.0:  # a slot that may join one output only
                continue
            idle = False
            total += g
            for a in range(K):
                d = slots[i, MU + a] - slots[rep, MU + a]
                q = 0.0
                for b in range(K):
                    ab, P = MU + K + K * a + b, model[s, PRECISION + K * a + b]
                    e = slots[i, MU + b] - slots[rep, MU + b]
                    q += P * e
                    moment[a, b] += g * (d * e + slots[i, ab])
                    g_slots[i, ab] -= 0.5 * g * P
                g_slots[i, MU + a] -= g * q
                g_slots[rep, MU + a] += g * q
        if idle:
            continue
        for a in range(K):
            for b in range(K):
                product[a, b] = 0.0
                for c in range(K):
                    product[a, b] += model[s, PRECISION + K * a + c] * moment[c, b]
        for a in range(K):
            for b in range(K):
                g_cov = -total * model[s, PRECISION + K * a + b]
                for c in range(K):
                    g_cov += product[a, c] * model[s, PRECISION + K * c + b]
                g_slots[rep, MU + K + K * a + b] += 0.5 * g_cov


@helper
def descend(root, count, start, nodes, tree, choices, g_nodes, slots, scratch, slopes, dims):
    """Carry the gradients of what `root` is fitted to, in the slots from `start` on, down to its leaves' slots."""
    children, leaves = tree
    per_node, g_slots = choices[0].shape[1] // 2, slopes.slots
    for v in range(root, root + leaves[root] - 1):
        n_out = count if v == root else size_of(v, leaves, per_node)
        t = start if v == root else v * per_node
        n_in = collect(v, nodes, tree, per_node, slots, dims)
        if n_in == n_out:
            for i in range(n_in):
                copy(g_nodes, t + i, g_slots, i, dims)
        else:
            reps, masks = choices[0][v], choices[1][v]
            energies(slots, n_in, n_out, reps, masks, scratch, dims)
            expectation(slots, n_in, n_out, masks, scratch)
            maximisation_vjp(
                slots, n_in, n_out, scratch.share, nodes, g_nodes, t, g_slots, slopes.share, dims
            )
            expectation_vjp(slots, n_in, n_out, reps, scratch, slopes.share, g_slots, slopes.likelihood)
            likelihoods_vjp(
                slots, n_in, n_out, reps, scratch.model, slopes.likelihood, slopes.squares, g_slots, dims
            )
        i = 0
        for side in range(2):
            c = children[v, side]
            first, size = slot_of(c, children.shape[0], per_node), size_of(c, leaves, per_node)
            for k in range(size):
                copy(g_slots, i + k, g_nodes, first + k, dims)
            i += size


@helper
def load_cotangents(cotangents, start, count, sign, g_nodes, first, dims):
    """Copy `count` outputs' cotangents to slots, symmetrised and for |w| instead of w."""
    K = len(dims)
    for k in range(count):
        j, t = start + k, first + k
        g_nodes[t, W] = sign * cotangents[0][j]
        for a in range(K):
            g_nodes[t, MU + a] = cotangents[1][j, a]
            for b in range(K):
                both = np.float64(cotangents[2][j, a, b]) + np.float64(cotangents[2][j, b, a])
                g_nodes[t, MU + K + K * a + b] = 0.5 * both


@helper
def store_gradients(g_nodes, first, order, present, positive, grads, dims):
    """Copy the leaves' gradients to the components, symmetrised and for w instead of |w|."""
    K = len(dims)
    for p in range(present):
        i, t = order[p], first + p
        grads[0][i] = g_nodes[t, W] if p < positive else -g_nodes[t, W]
        for a in range(K):
            grads[1][i, a] = g_nodes[t, MU + a]
            for b in range(K):
                both = g_nodes[t, MU + K + K * a + b] + g_nodes[t, MU + K + K * b + a]
                grads[2][i, a, b] = 0.5 * both

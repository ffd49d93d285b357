"""The way back through TreeHEM: from the selected nodes to the leaves (derivation: `tree_hem.vjp`)."""

from typing import Any, NamedTuple

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._lane_memory import gather_rows, get, put, scatter_rows
from gmengine.cpu._lanes import LANES, splat, where
from gmengine.cpu._node_fit import (
    MU,
    VIRTUAL_SAMPLES,
    W,
    columns,
    energies,
    entry,
    expectation,
    log_columns,
    mass_of,
)
from gmengine.cpu._tables import spliced, tail
from gmengine.cpu._tree_batches import list_batch
from gmengine.cpu._tree_climb import load_models, recall_choices, row_size


class Slopes(NamedTuple):
    """Scratch for the gradients in eight nodes, those of a `Scratch` under its names."""

    slots: Any  # (slots, columns)
    models: Any  # (outputs, columns)
    outputs: Any  # (outputs, columns)
    share: Any  # (slots, outputs)       then of E_i[log N_s]
    work: Any  # (1, ...)


@helper
def slopes_size(n, dims):
    """Return how many numbers `new_slopes` takes."""
    return (n * (3 * (log_columns(dims)[1] + 1) + n) + len(dims) ** 2) * LANES


@helper
def new_slopes(space, n, dims):
    """Return scratch for nodes of `n` slots, cut from a table."""
    columns = (log_columns(dims)[1] + 1) * LANES
    return Slopes(
        tail(space, 0, columns),
        tail(space, n * columns, columns),
        tail(space, 2 * n * columns, columns),
        tail(space, 3 * n * columns, n * LANES),
        tail(space, 3 * n * columns + n * n * LANES, 1),
    )


@helper
def maximisation_vjp(n_in, n_out, scratch, slopes, dims):
    """Write the gradients of the slots and shares through the outputs, which are moments."""
    K, slots, outputs = len(dims), scratch.slots, scratch.outputs
    g_slots, g_outputs = slopes.slots, slopes.outputs
    for i in range(n_in):
        for c in range(MU + K + entry(K, 0)):
            put(g_slots, i, c, 0.0)
        for s in range(n_out):
            share, weight = get(scratch.share, i, s), get(slots, i, W)
            reciprocal = 1.0 / get(outputs, s, W)
            rho = share * weight * reciprocal
            first, second = splat(0.0), splat(0.0)
            for a in range(K):
                d, slope = get(slots, i, MU + a) - get(outputs, s, MU + a), get(g_outputs, s, MU + a)
                first = first + slope * d
                for b in range(K):
                    e = get(slots, i, MU + b) - get(outputs, s, MU + b)
                    g = get(g_outputs, s, MU + K + entry(a, b))
                    slope = slope + 2.0 * g * e
                put(g_slots, i, MU + a, get(g_slots, i, MU + a) + rho * slope)
            for a in range(K):
                d = get(slots, i, MU + a) - get(outputs, s, MU + a)
                for b in range(a + 1):
                    ab = MU + K + entry(a, b)
                    g = get(g_outputs, s, ab)
                    e = get(slots, i, MU + b) - get(outputs, s, MU + b)
                    term = g * (d * e + get(slots, i, ab) - get(outputs, s, ab))
                    second = second + (term if a == b else 2.0 * term)
                    put(g_slots, i, ab, get(g_slots, i, ab) + rho * g)
            g_rho = get(g_outputs, s, W) + (first + second) * reciprocal
            g_rho = where(share > 0.0, g_rho, 0.0)
            put(g_slots, i, W, get(g_slots, i, W) + share * g_rho)
            put(slopes.share, i, s, weight * g_rho)


@helper
def expectation_vjp(n_in, n_out, scratch, slopes, dims):
    """Add the weights' gradients through the shares; replace the shares' by those of the log-likelihoods."""
    slots, models, share, g_slots = scratch.slots, scratch.models, scratch.share, slopes.slots
    log_det = log_columns(dims)[1]
    reciprocal = 1.0 / mass_of(slots, n_in)
    normalised = splat(0.0)
    for s in range(n_out):
        put(slopes.models, s, W, 0.0)
    for i in range(n_in):
        mean = splat(0.0)
        for s in range(n_out):
            mean = mean + get(share, i, s) * get(slopes.share, i, s)
        fraction = get(slots, i, W) * reciprocal
        g_fraction = splat(0.0)
        for s in range(n_out):
            g_z = get(share, i, s) * (get(slopes.share, i, s) - mean)
            put(slopes.share, i, s, VIRTUAL_SAMPLES * fraction * g_z)
            put(slopes.models, s, W, get(slopes.models, s, W) + g_z)
            likelihood = where(g_z == 0.0, 0.0, get(models, s, log_det) + get(scratch.energy, i, s))
            g_fraction = g_fraction - 0.5 * VIRTUAL_SAMPLES * g_z * likelihood
        put(g_slots, i, W, get(g_slots, i, W) + reciprocal * g_fraction)
        normalised = normalised + fraction * g_fraction
    for i in range(n_in):
        put(g_slots, i, W, get(g_slots, i, W) - reciprocal * normalised)
    for s in range(n_out):
        put(slopes.models, s, W, get(slopes.models, s, W) / get(models, s, W))


@helper
def likelihoods_vjp(n_in, n_out, scratch, slopes, dims):
    """Add the gradients of means and covariances through l_is = E_i[log N_s]; write those of the models."""
    K, slots, models, precision = len(dims), scratch.slots, scratch.models, scratch.precision
    g_slots, g_models = slopes.slots, slopes.models
    for s in range(n_out):
        total = splat(0.0)
        for c in range(MU, MU + K + entry(K, 0)):
            put(g_models, s, c, 0.0)
        for i in range(n_in):
            g = get(slopes.share, i, s)
            total = total + g
            for a in range(K):
                d, q = get(slots, i, MU + a) - get(models, s, MU + a), splat(0.0)
                for b in range(K):
                    e = get(slots, i, MU + b) - get(models, s, MU + b)
                    q = q + get(precision, s, entry(a, b)) * e
                    if b <= a:
                        ab = MU + K + entry(a, b)
                        moment = g * (d * e + get(slots, i, ab))
                        put(g_models, s, ab, get(g_models, s, ab) + moment)
                        put(g_slots, i, ab, get(g_slots, i, ab) - 0.5 * g * get(precision, s, entry(a, b)))
                put(g_slots, i, MU + a, get(g_slots, i, MU + a) - g * q)
                put(g_models, s, MU + a, get(g_models, s, MU + a) + g * q)
        _sandwich(s, total, precision, g_models, slopes.work, dims)


@helper
def _sandwich(s, total, precision, g_models, product, dims):
    """Replace the moment S in ``g_models[s]`` by (P S P - total P) / 2."""
    K = len(dims)
    for a in range(K):
        for b in range(K):
            value = splat(0.0)
            for c in range(K):
                value = value + get(precision, s, entry(a, c)) * get(g_models, s, MU + K + entry(c, b))
            put(product, 0, K * a + b, value)
    for a in range(K):
        for b in range(a + 1):
            value = -total * get(precision, s, entry(a, b))
            for c in range(K):
                value = value + get(product, 0, K * a + c) * get(precision, s, entry(c, b))
            put(g_models, s, MU + K + entry(a, b), 0.5 * value)


@helper
def _models_to_slots(n_in, n_out, scratch, slopes, dims):
    """Add the gradients of the models to those of the slots that they are."""
    for s in range(n_out):
        for i in range(n_in):
            same = get(scratch.chosen, 0, s) == float(i)
            for c in range(MU + len(dims) + entry(len(dims), 0)):
                g = where(same, get(slopes.models, s, c), 0.0)
                put(slopes.slots, i, c, get(slopes.slots, i, c) + g)


@spliced
def descend(n_batches, per_node, tree, order, choices, rows, g_rows, batches, scratch, slopes, dims):
    """Carry the gradients of the selected nodes' outputs down to the leaves, all in rows of `g_rows`."""
    size, starts = row_size(dims), batches.starts
    for b in range(n_batches - 1, -1, -1):
        n_in, n_out = list_batch(b, tree, order, size, per_node, batches)
        for i in range(n_in):
            gather_rows(rows, starts, i, scratch.slots, i, columns(dims))
        for s in range(n_out):
            gather_rows(rows, starts, 4 * per_node + s, scratch.outputs, s, columns(dims))
            gather_rows(g_rows, starts, 4 * per_node + s, slopes.outputs, s, columns(dims))
        recall_choices(n_in, n_out, per_node, choices, starts, scratch)
        load_models(n_out, per_node, rows, starts, scratch, dims)
        energies(n_in, n_out, scratch, dims)
        expectation(n_in, n_out, scratch, dims)
        maximisation_vjp(n_in, n_out, scratch, slopes, dims)
        expectation_vjp(n_in, n_out, scratch, slopes, dims)
        likelihoods_vjp(n_in, n_out, scratch, slopes, dims)
        _models_to_slots(n_in, n_out, scratch, slopes, dims)
        for i in range(n_in):
            scatter_rows(slopes.slots, i, g_rows, starts, i, columns(dims))


@helper
def load_cotangents(cotangents, start, count, sign, g_rows, starts, dims):
    """Copy `count` outputs' cotangents to rows, symmetrised and for |w| instead of w."""
    K = len(dims)
    for k in range(count):
        j, r = start + k, starts[k, 0]
        g_rows[r + W] = sign * cotangents[0][j]
        for a in range(K):
            g_rows[r + MU + a] = cotangents[1][j, a]
            for b in range(a + 1):
                both = np.float64(cotangents[2][j, K * a + b]) + np.float64(cotangents[2][j, K * b + a])
                g_rows[r + MU + K + entry(a, b)] = 0.5 * both


@helper
def store_gradients(N, weights, g_rows, size, grads, dims):
    """Copy the present components' gradients from their rows, for w instead of |w|."""
    K = len(dims)
    for i in range(N):
        if weights[i] != 0.0:
            r = i * size
            grads[0][i] = g_rows[r + W] if weights[i] > 0.0 else -g_rows[r + W]
            for a in range(K):
                grads[1][i, a] = g_rows[r + MU + a]
                for b in range(K):
                    grads[2][i, K * a + b] = g_rows[r + MU + K + entry(a, b)]

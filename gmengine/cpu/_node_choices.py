"""What TreeHEM decides in a node before it fits: representatives of the slots, and who may join whom.

As in `_node_fit`, eight nodes at once; equal means equal up to rounding, and the first of equals is chosen.
"""

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._lane_memory import get, put
from gmengine.cpu._lanes import maximum, minimum, root, splat, where
from gmengine.cpu._node_fit import MU, W, log_columns

KL_THRESHOLD = 0.5


@helper
def choose_representatives(n_in, n_out, extent, eps, scratch, dims):
    """Choose a slot for every output: of single-link clusters of the slots, the heaviest members."""
    K, slots, cluster, chosen = len(dims), scratch.slots, scratch.cluster, scratch.chosen
    for i in range(n_in):
        put(cluster, 0, i, float(i))
        for j in range(i + 1, n_in):
            squared = splat(0.0)
            for a in range(MU, MU + K):
                d = get(slots, i, a) - get(slots, j, a)
                squared = squared + d * d
            put(scratch.distance, i, j, squared)
    for _ in range(n_in - n_out):
        _join_closest(n_in, extent, eps, scratch.distance, cluster)
    for s in range(n_out):
        put(chosen, 0, s, 0.0)
    found = splat(0.0)
    for first in range(n_in):
        heaviest = splat(0.0)
        for i in range(first, n_in):
            weight = where(get(cluster, 0, i) == float(first), get(slots, i, W), 0.0)
            heaviest = maximum(heaviest, weight)
        member = splat(float(first))
        for i in range(n_in - 1, first - 1, -1):  # the last one written is the first
            heavy = get(slots, i, W) >= heaviest * (1.0 - 64.0 * eps)
            member = where(heavy & (get(cluster, 0, i) == float(first)), float(i), member)
        begins = get(cluster, 0, first) == float(first)
        for s in range(min(first + 1, n_out)):
            put(chosen, 0, s, where(begins & (found == float(s)), member, get(chosen, 0, s)))
        found = where(begins, found + 1.0, found)


@helper
def _join_closest(n_in, extent, eps, distance, cluster):
    """Join the clusters of the first pair of slots that is as close as any up to rounding of the input."""
    closest = splat(np.inf)
    for i in range(n_in):
        for j in range(i + 1, n_in):
            closest = minimum(closest, get(distance, i, j))
    error = 32.0 * eps * extent  # of a distance that is not squared
    bound = closest + 64.0 * eps * closest + error * (2.0 * root(closest) + error)
    kept, lost = splat(0.0), splat(0.0)
    for i in range(n_in - 2, -1, -1):
        for j in range(n_in - 1, i, -1):  # the last one written is the first
            near, a, b = get(distance, i, j) <= bound, get(cluster, 0, i), get(cluster, 0, j)
            kept = where(near, minimum(a, b), kept)
            lost = where(near, maximum(a, b), lost)
    for i in range(n_in):
        old = get(cluster, 0, i)
        put(cluster, 0, i, where(old == lost, kept, old))
    for i in range(n_in):
        for j in range(i + 1, n_in):
            joined = get(cluster, 0, i) == get(cluster, 0, j)
            put(distance, i, j, where(joined, np.inf, get(distance, i, j)))


@helper
def choose_masks(n_in, n_out, eps, scratch, dims):
    """Choose for each slot the outputs that may claim it: those of small divergence, and the nearest.

    KL(i || s) = 1/2 [(mu_i - mu_s)^T P_s (mu_i - mu_s) + tr(P_s C_i) - K - log(det C_i / det C_s)]; needs the
    energies.
    """
    log_det, K = log_columns(dims)[1], float(len(dims))
    for i in range(n_in):
        smallest = splat(np.inf)
        for s in range(n_out):
            ratio = get(scratch.slots, i, log_det) - get(scratch.models, s, log_det)
            divergence = 0.5 * (get(scratch.energy, i, s) - K - ratio)
            put(scratch.work, 0, s, divergence)
            smallest = minimum(smallest, divergence)
        bound = smallest + 64.0 * eps * maximum(smallest, -smallest)
        nearest = splat(0.0) == 0.0
        for s in range(n_out):
            divergence = get(scratch.work, 0, s)
            near = nearest & ~(divergence > bound)
            nearest = nearest & ~near
            close = divergence < KL_THRESHOLD - 64.0 * eps
            put(scratch.allowed, i, s, where(near | close, 1.0, 0.0))

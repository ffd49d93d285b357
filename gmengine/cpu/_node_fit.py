"""One node of TreeHEM: the components of its two children become fewer by one step of EM.

A component is a row (w, mu, C row by row) of float64; weights are positive here, the sign belongs to the tree.
Slots are the components that a node collects from its children, left before right, at most
``2 per_node <= 32``; outputs are what it fits to them, fewer. All scratch comes from the caller.
"""

from typing import Any, NamedTuple

import numpy as np

from gmengine.cpu._compile import helper

KL_THRESHOLD = 0.5
VIRTUAL_SAMPLES = 4.0
PIVOT, LIFT = 2.0**-51, 2.0**-50  # of a diagonal entry, and of the trace
_SMALLEST = np.finfo(np.float64).tiny  # an output whose mass underflows stays present

# Columns of a component; the covariance begins at 1 + K.
W, MU = 0, 1
# Columns of an output's model, the representative from which it starts; the precision begins at PRECISION.
LOG_W, LOG_DET, PRECISION = 0, 1, 2


class Scratch(NamedTuple):
    """What the fit of one node needs besides its slots and outputs."""

    model: Any  # (outputs, 2 + K K)
    energy: Any  # (slots, outputs)     E_i[(x - mu_s)^T P_s (x - mu_s)]
    share: Any  # (slots, outputs)      responsibility of output s for slot i
    labels: Any  # (slots,)             cluster of each slot


@helper
def new_scratch(n, dims):
    K = len(dims)
    return Scratch(np.empty((n, 2 + K * K)), np.empty((n, n)), np.empty((n, n)), np.empty(n, np.int64))


@helper
def invert(row, column, dims, result, at, start):
    """Write the inverse of the symmetric ``row[column:column + K K]`` to ``result[at, start:]``.

    Returns log det, or NaN if the matrix is not positive definite.
    """
    K = len(dims)
    for i in range(K * K):
        result[at, start + i] = row[column + i]
    product, log_det = 1.0, 0.0
    for k in range(K):
        pivot = result[at, start + K * k + k]
        if not pivot > 0.0:
            return np.nan
        product *= pivot
        if not 1e-150 < product < 1e150:  # one logarithm serves many pivots while the product is in range
            log_det += np.log(product)
            product = 1.0
        reciprocal = 1.0 / pivot
        result[at, start + K * k + k] = 1.0
        for j in range(K):
            result[at, start + K * k + j] *= reciprocal
        for i in range(K):
            if i != k:
                factor = result[at, start + K * i + k]
                result[at, start + K * i + k] = 0.0
                for j in range(K):
                    result[at, start + K * i + j] -= factor * result[at, start + K * k + j]
    return log_det + np.log(product)


@helper
def log_determinant(row, column, dims, work, at, least=0.0):
    """Return log det of the symmetric ``row[column:column + K K]``, NaN if it is not positive definite.

    That is, if a pivot is not more than `least` of its diagonal entry. ``work[at, :K K]`` is overwritten.
    """
    K = len(dims)
    for i in range(K * K):
        work[at, i] = row[column + i]
    product, log_det = 1.0, 0.0
    for k in range(K):
        pivot = work[at, K * k + k]
        if not pivot > least * row[column + K * k + k]:
            return np.nan
        product *= pivot
        if not 1e-150 < product < 1e150:
            log_det += np.log(product)
            product = 1.0
        for i in range(k + 1, K):
            factor = work[at, K * i + k] / pivot
            for j in range(k + 1, K):
                work[at, K * i + j] -= factor * work[at, K * k + j]
    return log_det + np.log(product)


@helper
def choose_representatives(slots, n_in, n_out, extent, eps, scratch, representatives, dims):
    """Write one representative per cluster of the slots: single-link clusters, their heaviest members."""
    K, labels, distance = len(dims), scratch.labels, scratch.energy
    for i in range(n_in):
        labels[i] = i  # the first member names the cluster
        for j in range(i + 1, n_in):
            squared = 0.0
            for a in range(K):
                squared += (slots[i, MU + a] - slots[j, MU + a]) ** 2
            distance[i, j] = squared
    for _ in range(n_in - n_out):
        a, b = _closest_clusters(distance, n_in, extent, eps, labels)
        for i in range(n_in):
            if labels[i] == b:
                labels[i] = a
    s = 0
    for first in range(n_in):
        if labels[first] == first:
            heaviest = 0.0
            for i in range(first, n_in):
                if labels[i] == first:
                    heaviest = max(heaviest, slots[i, W])
            i = first
            while labels[i] != first or slots[i, W] < heaviest * (1.0 - 64.0 * eps):
                i += 1
            representatives[s] = i
            s += 1


@helper
def _closest_clusters(distance, n_in, extent, eps, labels):
    """Return the labels, ascending, of the first pair that is as close as any up to rounding of the input.

    Distances are squared.
    """
    closest = np.inf
    for i in range(n_in):
        for j in range(i + 1, n_in):
            if labels[i] != labels[j]:
                closest = min(closest, distance[i, j])
    bound = closest + 64.0 * eps * (closest + np.sqrt(closest) * extent)
    for i in range(n_in):
        for j in range(i + 1, n_in):
            if labels[i] != labels[j] and distance[i, j] <= bound:
                return min(labels[i], labels[j]), max(labels[i], labels[j])
    return labels[0], labels[0]


@helper
def energies(slots, n_in, n_out, representatives, masks, scratch, dims):
    """Write the models of the representatives and ``E_i[(x - mu_s)^T P_s (x - mu_s)]`` of every allowed pair."""
    K, model = len(dims), scratch.model
    for s in range(n_out):
        rep = representatives[s]
        model[s, LOG_W] = np.log(slots[rep, W])
        model[s, LOG_DET] = invert(slots[rep], MU + K, dims, model, s, PRECISION)
    for i in range(n_in):
        for s in range(n_out):
            if masks[i] >> s & 1:
                rep = representatives[s]
                energy = 0.0
                for a in range(K):
                    d = slots[i, MU + a] - slots[rep, MU + a]
                    for b in range(K):
                        e = slots[i, MU + b] - slots[rep, MU + b]
                        energy += model[s, PRECISION + K * a + b] * (d * e + slots[i, MU + K + K * a + b])
                scratch.energy[i, s] = energy


@helper
def choose_masks(slots, n_in, n_out, eps, representatives, masks, scratch, dims):
    """Write for each slot the outputs that may claim it, as bits: those of small divergence, and the nearest.

    KL(i || s) = 1/2 [(mu_i - mu_s)^T P_s (mu_i - mu_s) + tr(P_s C_i) - K - log(det C_i / det C_s)]; needs the
    energies of all pairs.
    """
    K = len(dims)
    spare = scratch.model.shape[0] - 1  # outputs are fewer than slots
    for i in range(n_in):
        log_det, smallest = np.nan, np.inf
        for s in range(n_out):
            if representatives[s] == i:
                log_det = scratch.model[s, LOG_DET]
        if np.isnan(log_det):
            log_det = log_determinant(slots[i], MU + K, dims, scratch.model, spare)
        for s in range(n_out):
            kl = 0.5 * (scratch.energy[i, s] - K - (log_det - scratch.model[s, LOG_DET]))
            scratch.share[i, s] = kl
            smallest = min(smallest, kl)
        nearest = 0
        bound = smallest + 64.0 * eps * abs(smallest)
        while nearest < n_out - 1 and scratch.share[i, nearest] > bound:
            nearest += 1
        bits = 1 << nearest
        for s in range(n_out):
            if scratch.share[i, s] < KL_THRESHOLD - 64.0 * eps:
                bits |= 1 << s
        masks[i] = np.uint32(bits)


@helper
def expectation(slots, n_in, n_out, masks, scratch):
    """Write the shares r_is = softmax over the allowed s of z_is = log w_rep(s) + 4 wh_i E_i[log N_s].

    wh are the slots' weights divided by their sum; terms of z that are equal for all s are left out. Needs the
    energies.
    """
    model, share = scratch.model, scratch.share
    total = 0.0
    for i in range(n_in):
        total += slots[i, W]
    for i in range(n_in):
        samples = VIRTUAL_SAMPLES * slots[i, W] / total
        largest = -np.inf
        for s in range(n_out):
            if masks[i] >> s & 1:
                z = model[s, LOG_W] - 0.5 * samples * (model[s, LOG_DET] + scratch.energy[i, s])
                share[i, s] = z
                largest = max(largest, z)
        normaliser = 0.0
        for s in range(n_out):
            if not masks[i] >> s & 1:
                share[i, s] = 0.0
            elif share[i, s] == largest:
                share[i, s] = 1.0
            else:
                share[i, s] = np.exp(share[i, s] - largest)
            normaliser += share[i, s]
        for s in range(n_out):
            share[i, s] *= 1.0 / normaliser


@helper
def maximisation(slots, n_in, n_out, representatives, scratch, fitted, start, dims):
    """Write the moment match of the slots under their shares to ``fitted[start:start + n_out]``.

    The models are overwritten.
    """
    K, share = len(dims), scratch.share
    for s in range(n_out):
        t, rep = start + s, representatives[s]
        mass = 0.0
        for i in range(n_in):
            mass += share[i, s] * slots[i, W]
        fitted[t, W] = max(mass, _SMALLEST)
        for c in range(MU, MU + K + K * K):
            fitted[t, c] = 0.0 if mass > 0.0 else slots[rep, c]
        reciprocal = 1.0 / fitted[t, W]
        for i in range(n_in):
            rho = share[i, s] * slots[i, W] * reciprocal
            for a in range(K):
                fitted[t, MU + a] += rho * slots[i, MU + a]
        for i in range(n_in):
            rho = share[i, s] * slots[i, W] * reciprocal
            for a in range(K):
                d = slots[i, MU + a] - fitted[t, MU + a]
                for b in range(K):
                    e = slots[i, MU + b] - fitted[t, MU + b]
                    fitted[t, MU + K + K * a + b] += rho * (slots[i, MU + K + K * a + b] + d * e)
        _keep_definite(fitted, t, dims, scratch.model)


@helper
def _keep_definite(fitted, t, dims, work):
    """Add to the diagonal of a fitted covariance what rounding took, if it is no longer positive definite.

    The spread d d^T of two means that are 1e8 deviations apart drowns their covariances. What is added is a few
    2^-50 of the trace, less than the rounding of the moments themselves; gradients do not see it.
    """
    K, trace = len(dims), 0.0
    for k in range(K):
        trace += fitted[t, MU + K + (K + 1) * k]
    lift = LIFT * trace
    while lift < trace and np.isnan(log_determinant(fitted[t], MU + K, dims, work, 0, PIVOT)):
        for k in range(K):
            fitted[t, MU + K + (K + 1) * k] += lift
        lift *= 2.0

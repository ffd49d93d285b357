"""One node of TreeHEM: the components of its two children become fewer by one step of EM.

Weights are positive here (the sign belongs to the tree), everything is float64. Slots are the components
that a node collects from its children, left before right, at most ``2 per_node <= 32``; outputs are what it
fits to them. All scratch comes from the caller.
"""

from typing import Any, NamedTuple

import numpy as np

from gmengine.cpu._serial import serial

KL_THRESHOLD = 0.5
VIRTUAL_SAMPLES = 4.0
_SMALLEST = np.finfo(np.float64).tiny  # an output whose mass underflows stays present


class Components(NamedTuple):
    """Weights, means and covariances of some components."""

    w: Any
    mu: Any
    cov: Any


class Scratch(NamedTuple):
    """What the fit of one node needs besides its slots and outputs."""

    precision: Any  # (outputs, K, K)    of the representatives
    log_det: Any  # (outputs,)           of the representatives' covariances
    log_w: Any  # (outputs,)             of their weights
    energy: Any  # (slots, outputs)      E_i[(x - mu_s)^T P_s (x - mu_s)]
    share: Any  # (slots, outputs)       responsibility of output s for slot i
    labels: Any  # (slots,)              cluster of each slot
    squares: Any  # (2, K, K)            two matrices


@serial
def new_components(n, dims):
    K = len(dims)
    return Components(np.empty(n), np.empty((n, K)), np.empty((n, K, K)))


@serial
def new_scratch(n, dims):
    K = len(dims)
    return Scratch(
        np.empty((n, K, K)),
        np.empty(n),
        np.empty(n),
        np.empty((n, n)),
        np.empty((n, n)),
        np.empty(n, np.int64),
        np.empty((2, K, K)),
    )


@serial
def invert(a, inverse, dims):
    """Write the inverse of a symmetric matrix; return log det, or NaN if it is not positive definite."""
    K = len(dims)
    for i in range(K):
        for j in range(K):
            inverse[i, j] = a[i, j]
    product, log_det = 1.0, 0.0
    for k in range(K):
        pivot = inverse[k, k]
        if not pivot > 0.0:
            return np.nan
        product *= pivot
        if not 1e-150 < product < 1e150:  # one logarithm serves many pivots while the product is in range
            log_det += np.log(product)
            product = 1.0
        reciprocal = 1.0 / pivot
        inverse[k, k] = 1.0
        for j in range(K):
            inverse[k, j] *= reciprocal
        for i in range(K):
            if i != k:
                factor = inverse[i, k]
                inverse[i, k] = 0.0
                for j in range(K):
                    inverse[i, j] -= factor * inverse[k, j]
    return log_det + np.log(product)


@serial
def choose_representatives(slots, n_in, n_out, extent, eps, scratch, representatives):
    """Write one representative per cluster of the slots: single-link clusters, their heaviest members."""
    labels, distance = scratch.labels, scratch.energy
    for i in range(n_in):
        labels[i] = i  # the first member names the cluster
        for j in range(i + 1, n_in):
            distance[i, j] = 0.0
            for a in range(slots.mu.shape[1]):
                distance[i, j] += (slots.mu[i, a] - slots.mu[j, a]) ** 2
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
                    heaviest = max(heaviest, slots.w[i])
            i = first
            while labels[i] != first or slots.w[i] < heaviest * (1.0 - 64.0 * eps):
                i += 1
            representatives[s] = i
            s += 1


@serial
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
    return 0, 0


@serial
def energies(slots, n_in, n_out, representatives, masks, scratch, dims):
    """Write ``E_i[(x - mu_s)^T P_s (x - mu_s)]`` of every allowed pair, and what it needs of representative s."""
    K = len(dims)
    for s in range(n_out):
        scratch.log_det[s] = invert(slots.cov[representatives[s]], scratch.precision[s], dims)
        scratch.log_w[s] = np.log(slots.w[representatives[s]])
    for i in range(n_in):
        for s in range(n_out):
            if masks[i] >> s & 1:
                rep = representatives[s]
                energy = 0.0
                for a in range(K):
                    d = slots.mu[i, a] - slots.mu[rep, a]
                    for b in range(K):
                        second_moment = d * (slots.mu[i, b] - slots.mu[rep, b]) + slots.cov[i, a, b]
                        energy += scratch.precision[s, a, b] * second_moment
                scratch.energy[i, s] = energy


@serial
def choose_masks(slots, n_in, n_out, eps, masks, scratch, dims):
    """Write for each slot the outputs that may claim it, as bits: those of small divergence, and the nearest.

    KL(i || s) = 1/2 [(mu_i - mu_s)^T P_s (mu_i - mu_s) + tr(P_s C_i) - K - log(det C_i / det C_s)]; needs the
    energies of all pairs.
    """
    for i in range(n_in):
        log_det = invert(slots.cov[i], scratch.squares[0], dims)
        smallest = np.inf
        for s in range(n_out):
            kl = 0.5 * (scratch.energy[i, s] - len(dims) - (log_det - scratch.log_det[s]))
            scratch.share[i, s] = kl
            smallest = min(smallest, kl)
        nearest = 0
        while nearest < n_out - 1 and scratch.share[i, nearest] > smallest + 64.0 * eps * (
            1.0 + abs(smallest)
        ):
            nearest += 1
        bits = 1 << nearest
        for s in range(n_out):
            if scratch.share[i, s] < KL_THRESHOLD - 64.0 * eps:
                bits |= 1 << s
        masks[i] = np.uint32(bits)


@serial
def expectation(slots, n_in, n_out, masks, scratch):
    """Write the shares r_is = softmax over the allowed s of log w_rep(s) + 4 wh_i E_i[log N_s]; needs energies.

    wh are the slots' weights divided by their sum; terms of z that are equal for all s are left out.
    """
    total = 0.0
    for i in range(n_in):
        total += slots.w[i]
    for i in range(n_in):
        samples = VIRTUAL_SAMPLES * slots.w[i] / total
        largest = -np.inf
        for s in range(n_out):
            if masks[i] >> s & 1:
                log_likelihood = -0.5 * (scratch.log_det[s] + scratch.energy[i, s])
                scratch.share[i, s] = scratch.log_w[s] + samples * log_likelihood
                largest = max(largest, scratch.share[i, s])
        normaliser = 0.0
        for s in range(n_out):
            if not masks[i] >> s & 1:
                scratch.share[i, s] = 0.0
            elif scratch.share[i, s] == largest:
                scratch.share[i, s] = 1.0
            else:
                scratch.share[i, s] = np.exp(scratch.share[i, s] - largest)
            normaliser += scratch.share[i, s]
        for s in range(n_out):
            scratch.share[i, s] *= 1.0 / normaliser


@serial
def maximisation(slots, n_in, n_out, representatives, share, fitted, start, dims):
    """Write the moment match of the slots under `share` to ``fitted[start:start + n_out]``."""
    K = len(dims)
    for s in range(n_out):
        t, rep = start + s, representatives[s]
        mass = 0.0
        for i in range(n_in):
            mass += share[i, s] * slots.w[i]
        fitted.w[t] = max(mass, _SMALLEST)
        reciprocal = 1.0 / fitted.w[t]
        for a in range(K):
            fitted.mu[t, a] = 0.0 if mass > 0.0 else slots.mu[rep, a]
            for b in range(K):
                fitted.cov[t, a, b] = 0.0 if mass > 0.0 else slots.cov[rep, a, b]
        for i in range(n_in):
            rho = share[i, s] * slots.w[i] * reciprocal
            for a in range(K):
                fitted.mu[t, a] += rho * slots.mu[i, a]
        for i in range(n_in):
            rho = share[i, s] * slots.w[i] * reciprocal
            for a in range(K):
                d = slots.mu[i, a] - fitted.mu[t, a]
                for b in range(K):
                    fitted.cov[t, a, b] += rho * (slots.cov[i, a, b] + d * (slots.mu[i, b] - fitted.mu[t, b]))

"""One node of TreeHEM: the components of its two children become fewer by one step of EM; eight nodes at once.

A component is a row (w, mu, lower triangle of C, log w, log det C) of float64; weights are positive here, the sign
belongs to the tree. Slots are the components that a node collects from its children, left before right, at most
``2 per_node <= 32``; outputs are what it fits to them, fewer. All eight nodes have equally many slots and outputs.
Everything below is a number per lane (`_lanes`); all scratch comes from the caller.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from gmengine.cpu._compile import helper
from gmengine.cpu._lane_memory import get, put
from gmengine.cpu._lanes import LANES, anywhere, exp, exponent, log, mantissa, maximum, splat, where
from gmengine.cpu._tables import tail

VIRTUAL_SAMPLES = 4.0
PIVOT, LIFT = 2.0**-51, 2.0**-50  # of a diagonal entry, and of the trace
_SMALLEST = np.finfo(np.float64).tiny  # an output whose mass underflows stays present

# Columns of a component; the covariance begins at 1 + K, and `log_columns` are the two behind it.
W, MU = 0, 1


class Scratch(NamedTuple):
    """What the fit of eight nodes needs; the last axis of each array is the lane."""

    slots: Any  # (slots, columns)      what is fitted to
    models: Any  # (outputs, columns)   the representatives, from which the outputs start
    outputs: Any  # (outputs, columns)  the fit
    precision: Any  # (outputs, ...)    P_s, of the representatives
    energy: Any  # (slots, outputs)     E_i[(x - mu_s)^T P_s (x - mu_s)]
    share: Any  # (slots, outputs)      responsibility of output s for slot i
    allowed: Any  # (slots, outputs)    1 where slot i may join output s, else 0
    chosen: Any  # (1, outputs)         the slot that represents output s
    distance: Any  # (slots, slots)     squared, infinite within a cluster
    cluster: Any  # (1, slots)          its first member
    work: Any  # (1, ...)


@helper
def entry(a, b):
    """Return the place of entry (a, b) in a packed lower triangle."""
    return (a * (a + 1) >> 1) + b if a >= b else (b * (b + 1) >> 1) + a


@helper
def log_columns(dims):
    """Return the columns of log w and log det C."""
    K = len(dims)
    return MU + K + entry(K, 0), MU + K + entry(K, 0) + 1


@intrinsic
def columns(typing_context, dims):
    """Return a tuple that is as long as a component has columns."""
    result = types.UniTuple(types.int64, 3 + len(dims) + len(dims) * (len(dims) + 1) // 2)

    def generate(context, builder, signature, args):
        return context.get_constant_null(result)

    return result(dims), generate


@helper
def scratch_size(n, dims):
    """Return how many numbers `new_scratch` takes."""
    packed, columns = entry(len(dims), 0), log_columns(dims)[1] + 1
    return (n * (3 * columns + packed + 4 * n + 2) + max(packed, n)) * LANES


@helper
def new_scratch(space, n, dims):
    """Return scratch for nodes of `n` slots, cut from a table."""
    packed, columns = entry(len(dims), 0) * LANES, (log_columns(dims)[1] + 1) * LANES
    matrices = n * (3 * columns + packed)
    rows = matrices + 4 * n * n * LANES
    return Scratch(
        tail(space, 0, columns),
        tail(space, n * columns, columns),
        tail(space, 2 * n * columns, columns),
        tail(space, 3 * n * columns, packed),
        tail(space, matrices, n * LANES),
        tail(space, matrices + n * n * LANES, n * LANES),
        tail(space, matrices + 2 * n * n * LANES, n * LANES),
        tail(space, rows, n * LANES),
        tail(space, matrices + 3 * n * n * LANES, n * LANES),
        tail(space, rows + n * LANES, n * LANES),
        tail(space, rows + 2 * n * LANES, n * LANES),
    )


# --- small matrices -----------------------------------------------------------------------------------------


@helper
def log_determinant(rows, i, column, work, least, dims):
    """Return log det of the packed matrix at ``rows[i, column:]``, and whether it is positive definite.

    That is, whether each pivot is more than `least` of its diagonal entry. If not, the first is NaN.
    """
    K = len(dims)
    for c in range(entry(K, 0)):
        put(work, 0, c, get(rows, i, column + c))
    product, power, definite = splat(1.0), splat(0.0), splat(0.0) == 0.0
    for k in range(K):
        pivot = get(work, 0, entry(k, k))
        definite = definite & (pivot > least * get(rows, i, column + entry(k, k)))
        product = product * mantissa(pivot)
        power = power + exponent(pivot)
        reciprocal = 1.0 / pivot
        for a in range(k + 1, K):
            factor = get(work, 0, entry(a, k)) * reciprocal
            for b in range(k + 1, a + 1):
                put(work, 0, entry(a, b), get(work, 0, entry(a, b)) - factor * get(work, 0, entry(b, k)))
    return where(definite, log(product, power), np.nan), definite


@helper
def invert(rows, i, column, inverse, dims):
    """Write the inverse of the packed matrix at ``rows[i, column:]`` to ``inverse[i]`` by sweeping every pivot."""
    K = len(dims)
    for c in range(entry(K, 0)):
        put(inverse, i, c, get(rows, i, column + c))
    for k in range(K):
        reciprocal = 1.0 / get(inverse, i, entry(k, k))
        for a in range(K):
            if a != k:
                factor = get(inverse, i, entry(a, k)) * reciprocal
                for b in range(a + 1):
                    if b != k:
                        swept = get(inverse, i, entry(a, b)) - factor * get(inverse, i, entry(b, k))
                        put(inverse, i, entry(a, b), swept)
        for a in range(K):
            if a != k:
                put(inverse, i, entry(a, k), get(inverse, i, entry(a, k)) * reciprocal)
        put(inverse, i, entry(k, k), -reciprocal)
    for c in range(entry(K, 0)):
        put(inverse, i, c, -get(inverse, i, c))


# --- one step of EM -----------------------------------------------------------------------------------------


@helper
def energies(n_in, n_out, scratch, dims):
    """Write the precisions of the representatives and ``E_i[(x - mu_s)^T P_s (x - mu_s)]`` of every pair."""
    K, slots, models, precision = len(dims), scratch.slots, scratch.models, scratch.precision
    for s in range(n_out):
        invert(models, s, MU + K, precision, dims)
        for i in range(n_in):
            diagonal, mixed = splat(0.0), splat(0.0)
            for a in range(K):
                d = get(slots, i, MU + a) - get(models, s, MU + a)
                for b in range(a + 1):
                    e = get(slots, i, MU + b) - get(models, s, MU + b)
                    second = d * e + get(slots, i, MU + K + entry(a, b))
                    if a == b:
                        diagonal = diagonal + get(precision, s, entry(a, b)) * second
                    else:
                        mixed = mixed + get(precision, s, entry(a, b)) * second
            put(scratch.energy, i, s, diagonal + 2.0 * mixed)


@helper
def mass_of(slots, n_in):
    """Return the sum of the slots' weights."""
    total = splat(0.0)
    for i in range(n_in):
        total = total + get(slots, i, W)
    return total


@helper
def expectation(n_in, n_out, scratch, dims):
    """Write the shares r_is = softmax over the allowed s of z_is = log w_rep(s) + 4 wh_i E_i[log N_s].

    wh are the slots' weights divided by their sum; terms of z that are equal for all s are left out. Needs the
    energies.
    """
    slots, models, share, allowed = scratch.slots, scratch.models, scratch.share, scratch.allowed
    log_w, log_det = log_columns(dims)
    scale = -0.5 * VIRTUAL_SAMPLES / mass_of(slots, n_in)
    for i in range(n_in):
        factor, largest = scale * get(slots, i, W), splat(-np.inf)
        for s in range(n_out):
            z = get(models, s, log_w) + factor * (get(models, s, log_det) + get(scratch.energy, i, s))
            z = where(get(allowed, i, s) > 0.0, z, -np.inf)
            put(share, i, s, z)
            largest = maximum(largest, z)
        normaliser = splat(0.0)
        for s in range(n_out):
            power = where(get(allowed, i, s) > 0.0, exp(get(share, i, s) - largest), 0.0)
            put(share, i, s, power)
            normaliser = normaliser + power
        reciprocal = 1.0 / normaliser
        for s in range(n_out):
            put(share, i, s, get(share, i, s) * reciprocal)


@helper
def maximisation(n_in, n_out, scratch, dims):
    """Write the moment match of the slots under their shares to the outputs."""
    K, slots, outputs = len(dims), scratch.slots, scratch.outputs
    log_w, log_det = log_columns(dims)
    for s in range(n_out):
        mass = splat(0.0)
        for i in range(n_in):
            mass = mass + get(scratch.share, i, s) * get(slots, i, W)
        weight = maximum(mass, _SMALLEST)
        reciprocal = 1.0 / weight
        for i in range(n_in):
            put(scratch.work, 0, i, get(scratch.share, i, s) * get(slots, i, W) * reciprocal)
        _moments(n_in, s, slots, scratch.work, outputs, dims)
        if anywhere(mass <= 0.0):
            for c in range(MU, MU + K + entry(K, 0)):
                put(outputs, s, c, where(mass > 0.0, get(outputs, s, c), get(scratch.models, s, c)))
        put(outputs, s, W, weight)
        put(outputs, s, log_w, log(weight, 0.0))
        put(outputs, s, log_det, _keep_definite(outputs, s, scratch.work, dims))


@helper
def _moments(n_in, s, slots, rho, outputs, dims):
    """Write the mean and the covariance of the slots with the weights rho, which sum to 1."""
    K = len(dims)
    for a in range(MU, MU + K):
        mean = splat(0.0)
        for i in range(n_in):
            mean = mean + get(rho, 0, i) * get(slots, i, a)
        put(outputs, s, a, mean)
    for a in range(K):
        for b in range(a + 1):
            ab = MU + K + entry(a, b)
            mean, other, covariance = get(outputs, s, MU + a), get(outputs, s, MU + b), splat(0.0)
            for i in range(n_in):
                spread = (get(slots, i, MU + a) - mean) * (get(slots, i, MU + b) - other)
                covariance = covariance + get(rho, 0, i) * (get(slots, i, ab) + spread)
            put(outputs, s, ab, covariance)


@helper
def _keep_definite(outputs, s, work, dims):
    """Add to the diagonal of a fitted covariance what rounding took, if it is no longer definite; return log det.

    The spread d d^T of two means that are 1e8 deviations apart drowns their covariances. What is added is a few
    2^-50 of the trace, less than the rounding of the moments themselves; gradients do not see it.
    """
    K, column = len(dims), MU + len(dims)
    log_det, definite = log_determinant(outputs, s, column, work, PIVOT, dims)
    if not anywhere(~definite):
        return log_det
    trace = splat(0.0)
    for k in range(K):
        trace = trace + get(outputs, s, column + entry(k, k))
    lift = LIFT * trace
    singular = ~definite & (lift < trace)
    while anywhere(singular):
        for k in range(K):
            diagonal = get(outputs, s, column + entry(k, k))
            put(outputs, s, column + entry(k, k), where(singular, diagonal + lift, diagonal))
        lift = where(singular, 2.0 * lift, lift)
        log_det, definite = log_determinant(outputs, s, column, work, PIVOT, dims)
        singular = ~definite & (lift < trace)
    return log_det

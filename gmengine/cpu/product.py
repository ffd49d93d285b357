"""Inner products and distances of mixtures by Numba, in closed form.

All of it is done in float64, whatever the dtype of the mixtures: a distance is a difference of inner products, and
one set of kernels serves both dtypes.

Every value here is a bilinear form <f, h> of combinations f, h of two mixtures a and b, with coefficients 1, 0 or -1:
the inner product is <a, b>, the squared distance <a - b, a - b>. Components of f lie in lanes, those of h are
streamed past them.
"""

import math
from math import prod

import numpy as np

from gmengine.cpu._compile import TASKS, helper, ready, threaded
from gmengine.cpu._component_rows import flat
from gmengine.cpu._gaussian import NOT_DEFINITE, SCALE, SOUND, gather_present, prepare, raise_faults
from gmengine.cpu._pairs import new_lanes, zeros_like_pairs
from gmengine.cpu._product_pairs import (
    BLOCK,
    block_length,
    combine,
    load,
    new_rows,
    slopes,
    values,
    write,
)
from gmengine.cpu._rows import read_lane, write_lane, write_row, write_symmetric
from gmengine.cpu._tuples import scaled
from gmengine.errors import NonFiniteError

SINGULAR = 1e-14  # of its diagonal entry; rounding leaves a few 1e-16


@threaded
def _check(worker, workers, mixture, faults, like):
    """Find each mixture's first component that is no Gaussian; faults (M, 2)."""
    weights, means, covariances = mixture
    M, N = weights.shape
    index, peaks, rows = np.empty(N, np.int64), np.empty(N), new_rows(N, like)
    for m in range(worker, M, workers):
        n = gather_present(weights[m], index)
        fault, where = prepare(weights[m], means[m], covariances[m], index, n, rows, peaks, like)
        for r in range(n):
            if fault == SOUND and _is_singular(rows, r, covariances[m], index[r], like):
                fault, where = NOT_DEFINITE, index[r]
        faults[m, 0], faults[m, 1] = fault, where


@helper
def _is_singular(rows, r, covariances, j, like):
    """Return whether a pivot of the Cholesky factorisation is all rounding.

    Pivots of a sum are no smaller than the sums of pivots: once all components pass, every pair does.
    """
    K = len(like[0])
    singular = False
    for k in range(K):
        pivot = SCALE / rows[r, K + k * (k + 3) // 2] ** 2
        singular |= not pivot > SINGULAR * covariances[j, k * (K + 1)]
    return singular


@threaded
def _forward(worker, workers, slices, a, b, pairs, symmetric, parts, like):
    """A task is every slices-th block of the left side of one form: <a, b>, or if `symmetric` <a - b, a - b>.

    A symmetric form takes every pair of blocks once, and half of each block's form with itself; all is doubled.
    """
    mean, tri, amp = like
    N, amplitude = a[0].shape[1] + b[0].shape[1], len(mean) + len(tri)
    rows, other = new_rows(N, like), new_rows(N, like)
    means, covariances, sums = new_lanes(mean), new_lanes(tri), new_lanes(amp)
    for task in range(worker, len(pairs) * slices, workers):
        p, q = pairs[task // slices]
        n = combine(1.0, a, p, -1.0 if symmetric else 0.0, b, q, 1.0, rows, like)
        n_other = 0 if symmetric else combine(0.0, a, p, 1.0, b, q, 1.0, other, like)
        streamed = rows if symmetric else other
        total, length = 0.0, block_length(n)
        for first in range(task % slices * length, n, slices * length):
            last = min(first + length, n)
            filled = load(rows, first, last, means, covariances, like)
            start, stop, half = (first, n, last) if symmetric else (0, n_other, 0)
            values(streamed, start, stop, half, means, covariances, filled, sums, like)
            for i in range(first, last):
                total += rows[i, amplitude] * sums[0, i - first]
        parts[task] = 2.0 * total if symmetric else total


@threaded
def _gather(worker, workers, slices, side, a, b, partners, coefficients, factors, grads, like):
    """Set the gradients of the mixtures `side` (which is a, or b); a task is every slices-th block of one mixture.

    Mixture p meets factor_m (alpha a + beta b) in the forms m = order[starts[p] : starts[p + 1]].
    """
    pairs, order, starts = partners
    alpha, beta = coefficients
    mean, tri, amp = like
    M, N = side[0].shape
    index = np.empty(N, np.int64)
    own, rows = new_rows(N, like), new_rows(a[0].shape[1] + b[0].shape[1], like)
    means, covariances = new_lanes(mean), new_lanes(tri)
    zeroth, firsts, seconds = new_lanes(amp), new_lanes(mean), new_lanes(tri)
    loaded, n_rows = -1, 0
    for task in range(worker, M * slices, workers):
        p = task // slices
        n = gather_present(side[0][p], index)
        for r in range(n):
            write(own, r, side, p, index[r], side[0][p, index[r]], like)
        length = block_length(n)
        for first in range(task % slices * length, n, slices * length):
            last = min(first + length, n)
            filled = load(own, first, last, means, covariances, like)
            for i in range(filled):  # `like` holds zeros
                zeroth[0, i] = 0.0
                write_lane(firsts, i, mean)
                write_lane(seconds, i, tri)
            for position in range(starts[p], starts[p + 1]):
                m = order[position]
                if factors[m] == 0.0:
                    continue
                if m != loaded:
                    n_rows = combine(alpha, a, pairs[m, 0], beta, b, pairs[m, 1], factors[m], rows, like)
                    loaded = m
                slopes(rows, n_rows, means, covariances, filled, zeroth, firsts, seconds, like)
            for r in range(first, last):
                i, w = index[r], own[r, len(mean) + len(tri)]
                grads[0][p, i] = zeroth[0, r - first]
                write_row(grads[1][p], i, 0, scaled(-w, read_lane(firsts, r - first, mean)))
                write_symmetric(grads[2][p], i, scaled(0.5 * w, read_lane(seconds, r - first, tri)))


def forward(*inputs, batches, form):
    """Return (values (M,), residuals) of forms of mixtures a (A, N) and b (B, N') in K dimensions.

    inputs: weights, means and covariances of a, then those of b.
    batches: shapes of A and B elements, which broadcast to one of M elements; no mixture is copied for that.
    form: "product" for <a, b>, "squared" for |a - b|^2, "distance" for |a - b|.
    """
    dtype, K = inputs[0].dtype, inputs[1].shape[-1]
    wide = tuple(ready(x.astype(np.float64, copy=False)) for x in inputs)
    a, b = flat(*wide[:3]), flat(*wide[3:])
    like = zeros_like_pairs(K, 1, np.float64)
    for name, mixture, covariances in (("a", a, wide[2]), ("b", b, wide[5])):
        faults = np.zeros((len(mixture[0]), 2), np.int64)
        _check(len(faults), mixture, faults, like)
        raise_faults(f"product ({name})", faults, covariances)
    pairs = _pairs(*batches)
    symmetric = form != "product"
    slices = _n_slices(len(pairs), a[0].shape[1] + b[0].shape[1] * symmetric)
    parts = np.zeros(len(pairs) * slices)
    _forward(len(parts), slices, a, b, pairs, symmetric, parts, like)
    results = parts.reshape(-1, slices).sum(axis=1) * (2.0 * math.pi) ** (-0.5 * K)
    if not np.all(np.isfinite(results)):
        p, q = pairs[np.flatnonzero(~np.isfinite(results))[0]]
        raise NonFiniteError(
            f"product: the integral for mixtures {p} of a and {q} of b is beyond float64's range"
        )
    if symmetric:
        results = np.maximum(results, 0.0)
    if form == "distance":
        results = np.sqrt(results)
    return _rounded(results, dtype), (wide, dtype, pairs, form, results)


def vjp(residuals, g_values, needs):
    """Return the gradients of a's weights, means and covariances, then b's, None where `needs` is False.

    With cotangent g of F = sum_ij w_i v_j N_ij, N_ij = N(mu_i; nu_j, S), S = C_i + D_j, P = S^-1, d = mu_i - nu_j:

        g_w_i = g sum_j v_j N_ij                g_mu_i = -g w_i sum_j v_j N_ij P d
        g_C_i = 1/2 g w_i sum_j v_j N_ij (P d d^T P - P)

    because log N = -1/2 (d^T P d + log det S) + constant has the derivatives -P d in mu_i and
    1/2 (P d d^T P - P) in S (symmetric; off-diagonal entries count as independent). The gradients of b are these
    with the mixtures' parts exchanged; d changes its sign with them. So one function serves both: the
    gradient of <f, h> in a component of f is a field of h, gathered at that component. A mixture that a broadcast
    batch brings into several forms gathers from all of them, in ascending order.

    The squared distance Q = <c, c> with c = a - b has dQ = 2 <da, c> - 2 <db, c>: the gradient in a is that of
    <a, c> with cotangent 2 g, that in b is that of <b, c> with cotangent -2 g. Where components of a and b coincide c
    holds one for both, which changes its field by rounding alone. The distance is sqrt(Q), hence
    g_Q = g / (2 sqrt(Q)); at Q = 0, where it has a kink, the gradient is 0, one of its subgradients.
    """
    wide, dtype, pairs, form, results = residuals
    K = wide[1].shape[-1]
    g = np.asarray(g_values, np.float64) * (2.0 * math.pi) ** (-0.5 * K)
    if form == "distance":
        g = np.divide(g, 2.0 * results, out=np.zeros_like(g), where=results > 0.0)
    coefficients, factors = ((0.0, 1.0), (1.0, 0.0)), (g, g)
    if form != "product":
        coefficients, factors = ((1.0, -1.0), (1.0, -1.0)), (2.0 * g, -2.0 * g)
    a, b = flat(*wide[:3]), flat(*wide[3:])
    like = zeros_like_pairs(K, 1, np.float64)
    grads = []
    for s, side in enumerate((a, b)):
        found = tuple(np.zeros_like(x) for x in wide[3 * s : 3 * s + 3])
        if any(needs[3 * s : 3 * s + 3]):
            slices = _n_slices(*side[0].shape)
            partners = pairs, *_partners(pairs[:, s], len(side[0]))
            tasks = len(side[0]) * slices
            _gather(tasks, slices, side, a, b, partners, coefficients[s], factors[s], flat(*found), like)
        grads += [_rounded(x, dtype) for x in found]
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _pairs(*batches):
    """Return which element of each batch meets in the elements of the broadcast batch, shape (M, 2)."""
    shape = np.broadcast_shapes(*batches)
    numbers = (np.arange(prod(batch)).reshape(batch) for batch in batches)
    return np.stack([np.broadcast_to(x, shape).reshape(-1) for x in numbers], axis=-1)


def _partners(members, count):
    """Return (order, starts): the forms with member p are order[starts[p] : starts[p + 1]], ascending."""
    order = np.argsort(members, kind="stable")
    return order, np.searchsorted(members[order], np.arange(count + 1))


def _n_slices(mixtures, components):
    """Return into how many slices the blocks of each mixture are dealt; of shapes alone, see `n_slices`."""
    return max(1, min(-(-TASKS // max(mixtures, 1)), components // BLOCK))


def _rounded(x, dtype):
    with np.errstate(over="ignore"):  # a value beyond float32 is infinite, as it is in other ops
        return x.astype(dtype, copy=False)

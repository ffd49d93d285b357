"""The loops over all pairs of a point and a component that `cpu.derivatives` takes, in the manner of `_pairs`.

`order`, a tuple of one or two zeros, says which derivative is wanted; being a type, it leaves the code of the other
one out. `like` is (K zeros, T zeros, (SCALE,)) in the dtype of the mixture, T = K (K + 1) / 2. A component is a row
of coefficients: its mean, A = sqrt(SCALE) L^-1 (packed), and its amplitude w N(mu; mu, C). With y = A d and
q = A^T y = SCALE C^-1 d, its gradient and Hessian are -amplitude 2^(-y.y) q / SCALE and
amplitude 2^(-y.y) (q q^T - SCALE A^T A) / SCALE^2.
"""

from gmengine.cpu._compile import helper
from gmengine.cpu._exp2 import exp2
from gmengine.cpu._pairs import CHUNK
from gmengine.cpu._rows import read_lane, read_row, write_lane, write_row
from gmengine.cpu._symmetric import symmetric_dot, symmetric_times
from gmengine.cpu._tuples import (
    added,
    as_double,
    congruence,
    dot,
    lower_times,
    outer,
    scaled,
    subtracted,
    transposed_times,
)


@helper
def form_of(like, order):
    """Return zeros, as many as numbers are kept of one derivative: K of a gradient, T of a Hessian."""
    if len(order) == 1:  # Numba compiles only the branch that is taken
        form = like[0]
    else:
        form = like[1]
    return form


@helper
def _whiten(x, i, mu, a):
    """Return y = A (x_i - mu) and 2^(-y.y); y = 0 where that underflows: there y.y may be infinite."""
    y = lower_times(a, subtracted(read_lane(x, i, mu), mu))
    e = exp2(-dot(y, y))
    return (y if e > 0.0 else subtracted(mu, mu)), e


@helper
def _term(e, q, curvature, order):
    """Return one pair's part of the derivative, times -SCALE (gradient) or SCALE^2 (Hessian)."""
    if len(order) == 1:
        term = scaled(e, q)
    else:
        term = subtracted(outer(scaled(e, q), q, curvature), scaled(e, curvature))
    return term


@helper
def _values_of_chunk(rows, first, last, x, length, sums, like, order):
    mean, tri, scale = like
    K, T = len(mean), len(tri)
    for j in range(first, last):
        mu, a = read_row(rows, j, 0, mean), read_row(rows, j, K, tri)
        w = rows[j, K + T]
        curvature = congruence(a, tri, -scale[0])
        for i in range(length):
            y, e = _whiten(x, i, mu, a)
            term = _term(e * w, transposed_times(a, y), curvature, order)
            write_lane(sums, i, added(read_lane(sums, i, term), term))


@helper
def pair_derivatives(rows, n, x, length, sums, totals, like, order):
    """Set totals[:, i] to the sum of all terms (see `_term`) of the points in the lanes `x`.

    rows (N, K + T + 1); sums (K or T, LANES): scratch; totals (K or T, LANES) float64.
    """
    _clear(totals, length)
    for first in range(0, n, CHUNK):
        _clear(sums, length)
        _values_of_chunk(rows, first, min(first + CHUNK, n), x, length, sums, like, order)
        _move(sums, totals, length)


@helper
def _clear(lanes, length):
    for k in range(lanes.shape[0]):
        for i in range(length):
            lanes[k, i] = 0


@helper
def _move(sums, totals, length):
    for k in range(sums.shape[0]):
        for i in range(length):
            totals[k, i] += sums[k, i]


@helper
def _slope(y, a, g, curvature, scale, order):
    """Return (psi, u): one pair's <cotangent, derivative> is amplitude 2^(-y.y) psi; u is in `derivatives.vjp`."""
    if len(order) == 1:
        ag = lower_times(a, g)
        psi, u = -dot(ag, y), scaled(scale, ag)
    else:
        q = transposed_times(a, y)
        gq = symmetric_times(g, q)
        psi, u = dot(q, gq) - symmetric_dot(g, curvature), scaled(-(scale + scale), lower_times(a, gq))
    return psi, u


@helper
def _add_to_row(moments, j, start, values):
    wide = as_double(values)
    write_row(moments, j, start, added(read_row(moments, j, start, wide), wide))


@helper
def _slopes_of_chunk(rows, first, last, x, g, length, sums, moments, like, order, form, of_components):
    mean, tri, scale = like
    K, T = len(mean), len(tri)
    for j in range(first, last):
        mu, a = read_row(rows, j, 0, mean), read_row(rows, j, K, tri)
        w = rows[j, K + T]
        curvature = congruence(a, tri, -scale[0])
        m0, m1, m2, m3 = scale[0] - scale[0], mean, tri, form
        for i in range(length):
            y, e = _whiten(x, i, mu, a)
            gi = read_lane(g, i, form)
            psi, u = _slope(y, a, gi, curvature, scale[0], order)
            eu = scaled(e, u)
            v = added(scaled(e * psi, y), eu)
            if len(of_components):
                m0 += e * psi
                m1 = added(m1, v)
                m2 = added(m2, added(outer(v, y, tri), outer(y, eu, tri)))
                if len(order) == 2:
                    m3 = added(m3, scaled(e, gi))
            write_lane(sums, i, added(read_lane(sums, i, y), transposed_times(a, scaled(w, v))))
        if len(of_components):
            moments[j, 0] += m0
            _add_to_row(moments, j, 1, m1)
            _add_to_row(moments, j, 1 + K, m2)
            if len(order) == 2:
                _add_to_row(moments, j, 1 + K + T, m3)


@helper
def pair_derivative_slopes(rows, n, x, g, length, sums, totals, moments, like, order, of_components):
    """Pull cotangents back to points and components; `derivatives.vjp` derives psi, u and v.

    g (K or T, LANES): cotangents of gradients over SCALE, or of Hessians over SCALE^2; 0 in lanes past the last point.
    With e = 2^(-y.y):

    - totals[k, i] = sum_j amplitude_j (A_j^T v_ij)_k, which costs next to nothing,
    - moments[j] += sum_i (e psi, v, e psi y y^T + e u y^T + e y u^T packed, and of a Hessian e g_i), unless
      `of_components` is the empty tuple.
    """
    _clear(totals, length)
    form = form_of(like, order)
    for first in range(0, n, CHUNK):
        _clear(sums, length)
        last = min(first + CHUNK, n)
        _slopes_of_chunk(rows, first, last, x, g, length, sums, moments, like, order, form, of_components)
        _move(sums, totals, length)

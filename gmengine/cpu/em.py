"""One step of EM from the heaviest components by Numba: the paper's MEM, in log space (paper eq. 15-16).

A plan is a tuple of integer arrays; M mixtures of N components, at most n of them kept:

- ``order (M, N)``: the present components, positive ones first; -1 past the end,
- ``ends (M, 2)``: where in that order the positive and the negative ones end,
- ``parents (M, n)``: the places in that order of the components from which the result starts, those of positive ones
  first, heaviest first; -1 past the end,
- ``parent_ends (M, 2)``: where among them those of positive and of negative ones end.
"""

import numpy as np

from gmengine.cpu import _em_levels
from gmengine.cpu._compile import helper, ready, threaded
from gmengine.cpu._tree_faults import NON_FINITE, SOUND, TWO_SIGNS, raise_first

VIRTUAL_POINTS = 20.0


@helper
def _sort_by_sign(weights, order, ends):
    """Write the present components, positive ones first, then -1, and where either sign ends."""
    count = 0
    for negative in range(2):
        for i in range(weights.shape[0]):
            if weights[i] < 0.0 if negative else weights[i] > 0.0:
                order[count] = i
                count += 1
        ends[negative] = count
    for p in range(count, order.shape[0]):
        order[p] = -1


@helper
def _heaviest(weights, order, taken, start, stop, eps):
    """Return the place in `order[start:stop]` of the heaviest component that is not taken, of equals the first one."""
    heaviest, best = 0.0, -1
    for p in range(start, stop):
        if not taken[p]:
            heaviest = max(heaviest, abs(weights[order[p]]))
    for p in range(start, stop):
        enough = not taken[p] and abs(weights[order[p]]) >= heaviest * (1.0 - 64.0 * eps)
        if enough and (best < 0 or order[p] < order[best]):
            best = p
    return best


@helper
def _choose(weights, order, ends, eps, parents, parent_ends):
    """Write the places of the heaviest components; the last one gives way if a sign would have none."""
    n, positive, present = parents.shape[0], ends[0], ends[1]
    taken, chosen = np.zeros(present, np.bool_), np.empty(n, np.int64)
    n_positive = 0
    for k in range(n):
        chosen[k] = _heaviest(weights, order, taken, 0, present, eps)
        taken[chosen[k]] = True
        n_positive += chosen[k] < positive
    if n_positive == 0 < positive:
        chosen[n - 1], n_positive = _heaviest(weights, order, taken, 0, positive, eps), 1
    elif n_positive == n and positive < present:
        chosen[n - 1], n_positive = _heaviest(weights, order, taken, positive, present, eps), n - 1
    count = 0
    for negative in range(2):
        for k in range(n):
            if (chosen[k] >= positive) == (negative == 1):
                parents[count] = chosen[k]
                count += 1
        parent_ends[negative] = count


@threaded
def _list_all(worker, workers, n, weights, order, ends, faults):
    for m in range(worker, weights.shape[0], workers):
        for i in range(weights.shape[1]):
            if faults[m, 0] == SOUND and not np.isfinite(weights[m, i]):
                faults[m, 0], faults[m, 1] = NON_FINITE, i
        _sort_by_sign(weights[m], order[m], ends[m])
        if faults[m, 0] == SOUND and n == 1 and 0 < ends[m, 0] < ends[m, 1]:
            faults[m, 0] = TWO_SIGNS


def list_by_sign(weights, n):
    """Return (order, ends) of weights (M, N) and raise if they cannot be reduced to n components."""
    order, ends = np.empty(weights.shape, np.int32), np.empty((len(weights), 2), np.int32)
    faults = np.zeros((len(weights), 2), np.int64)
    _list_all(len(weights), n, ready(np.asarray(weights, np.float64)), order, ends, faults)
    if faults[:, 0].any():
        raise_first(faults, None)
    return order, ends


@threaded
def _choose_all(worker, workers, eps, weights, order, ends, parents, parent_ends):
    for m in range(worker, weights.shape[0], workers):
        if ends[m, 1] > parents.shape[1]:
            _choose(weights[m], order[m], ends[m], eps, parents[m], parent_ends[m])
        else:
            for k in range(parents.shape[1]):
                parents[m, k] = -1
            parent_ends[m, 0], parent_ends[m, 1] = ends[m, 0], ends[m, 1]


def plan(weights, n):
    """Return the plan for `n` of the components of weights (M, N), which must be finite; 1 <= n < N."""
    order, ends = list_by_sign(weights, n)
    parents, parent_ends = np.empty((len(weights), n), np.int32), np.empty_like(ends)
    doubles, eps = ready(np.asarray(weights, np.float64)), float(np.finfo(weights.dtype).eps)
    _choose_all(len(weights), eps, doubles, order, ends, parents, parent_ends)
    return order, ends, parents, parent_ends


def forward(weights, means, covariances, plan):
    """Return ((weights, means, covariances) of the result, residuals) of mixtures (M, N) in K dimensions."""
    points = np.full(len(weights), VIRTUAL_POINTS)
    no_masks = np.empty((*plan[2].shape, 0), np.uint64)
    return _em_levels.forward(weights, means, covariances, points, ((*plan, no_masks),))


def vjp(residuals, g_weights, g_means, g_covariances, needs):
    """Return the gradients of weights, means and covariances, with the plan held (None where not needed).

    Components i of one sign are fitted by outputs s, which start from representatives of that sign with mean mu_s and
    covariance C_s = P_s^-1. Weights here are |w|, S is their sum over both signs, V = 20:

        wh_i = w_i / S,     l_is = -1/2 [log det C_s + (mu_i - mu_s)^T P_s (mu_i - mu_s) + tr P_s C_i]
        z_is = log wh_s + V wh_i l_is,     r_is = exp z_is / sum_s' exp z_is',     rho_is = r_is w_i
        W_s = sum_i rho_is,     M_s = sum_i rho_is mu_i / W_s
        V_s = sum_i rho_is (C_i + d d^T) / W_s    with d = mu_i - M_s.

    Let x* be the gradient of x; all C* and V* are symmetric. As sum_i rho_is d = 0, M_s does not move V_s to first
    order, hence

        rho_is* = W_s* + [M_s*.d + <V_s*, d d^T + C_i - V_s>] / W_s
        mu_i* += sum_s rho_is / W_s (M_s* + 2 V_s* d),    C_i* += sum_s rho_is / W_s V_s*

    Through the softmax, with the mean slope m_i = sum_s r_is rho_is*:

        w_i* += m_i,                                       z_is* = rho_is (rho_is* - m_i)
        w_s* += sum_i z_is* / w_s,                         l_is* = V wh_i z_is*
        wh_i* = V sum_s z_is* l_is,                        w_i* += (wh_i* - sum_j wh_j* wh_j) / S

    (wh_s is normalised by S as well, but sum_s z_is* = 0 makes that, and every term of l that is equal for all s, drop
    out.) Through the likelihoods, with e = mu_i - mu_s and dP = -P dC P:

        mu_i* -= sum_s l_is* P_s e,        C_i* -= 1/2 sum_s l_is* P_s
        mu_s* += P_s sum_i l_is* e,        C_s* += 1/2 P_s [sum_i l_is* (e e^T + C_i)] P_s - 1/2 sum_i l_is* P_s

    Shares are computed again, in the same blocks as in `forward`. The gradient of a negative component's weight is that
    of |w| with its sign changed. Absent components have none, and the cotangents of absent outputs are ignored.
    """
    return _em_levels.vjp(residuals, g_weights, g_means, g_covariances, needs)

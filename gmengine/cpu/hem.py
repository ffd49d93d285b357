"""Hierarchical EM by Numba: levels of EM, each to a third (Vasconcelos & Lippman; regularised as by Preiner et al.).

A plan is one tuple of integer arrays per level, as `_em_levels` defines them. The order of a level is that along the
Morton curve, of either sign; parents hold equal-mass quantiles along it.
"""

from itertools import pairwise

import numpy as np

from gmengine.cpu import _em_levels
from gmengine.cpu._em_step import WORD, zeros_like_components
from gmengine.cpu._hem_plan import REDUCTION, plan_all
from gmengine.cpu.em import list_by_sign


def level_sizes(N, n):
    """Return how many components N become level by level: a third each time, rounded up, and `n` in the end."""
    sizes = [N]
    while sizes[-1] > n:
        sizes.append(max(n, -(-sizes[-1] // REDUCTION)))
    return sizes


def _new_level(M, P, n):
    """Return a level's plan that is not written yet; masks without a bit."""
    shapes = (M, P), (M, 2), (M, n), (M, 2)
    masks = np.zeros((M, n, -(-P // WORD)), np.uint64)
    return (*(np.empty(shape, np.int32) for shape in shapes), masks)


def _virtual_points(ends):
    """Return one point for each component that is present, as in the original, which fits points."""
    return ends[:, 1].astype(np.float64)


def plan_and_forward(weights, means, covariances, n):
    """Return ``(plan, values)``: the plan, and what `forward` would compute with it, in one pass.

    weights (M, N), means (M, N, K), covariances (M, N, K, K); 1 <= n < N.
    """
    (M, N, K), eps = means.shape, float(np.finfo(weights.dtype).eps)
    like, (listing, ends) = zeros_like_components(K), list_by_sign(weights, n)
    source, centres = _em_levels.load(weights, means, covariances, listing, ends)
    levels, fits, sizes, points = [], [], level_sizes(N, n), _virtual_points(ends)
    for P, size in pairwise(sizes):
        level = _new_level(M, P, size)
        plan_all(M, n, eps, source, listing, ends, level, like)
        source = _em_levels.fit(n, source, points, level, like)
        levels.append(level)
        fits.append(source)
        listing, ends = np.tile(np.arange(size, dtype=np.int32), (M, 1)), level[3]
    result = _em_levels.results(weights, means, covariances, levels, source, centres)
    return tuple(levels), (result, tuple(fits))


def plan(weights, means, covariances, n):
    """Return the plan: the integers that fix how `n` components come about."""
    return plan_and_forward(weights, means, covariances, n)[0]


def forward(weights, means, covariances, plan, values=None):
    """Return ((weights, means, covariances) of the result, residuals): the inputs, the plan and the levels' fits.

    The fits, (M, n_l, 1 + K + T) float64 for a level of n_l components, take less memory than twice the inputs.
    """
    return _em_levels.forward(weights, means, covariances, _virtual_points(plan[0][1]), plan, values)


def vjp(residuals, g_weights, g_means, g_covariances, needs):
    """Return the gradients of weights, means and covariances, with the plan held (None where not needed).

    Level by level from the last to the first, each is one step of EM, whose gradients `em.vjp` derives. The shares
    r_is of parents that component i may not join are 0 and stay so, and sums over s run over the others. S is the
    mass of the level's own components, V the number of those of the mixture on every level, and what is fitted are the
    components of the next level.
    """
    return _em_levels.vjp(residuals, g_weights, g_means, g_covariances, needs)

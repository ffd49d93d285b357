"""Where k-means starts: greedy k-means++ (Arthur & Vassilvitskii 2007) or furthest points (Gonzalez 1985)."""

import numpy as np

from gmengine.cpu._fit_parts import TIE, dot, exact

_COINCIDENT = 1e-24  # squared distance in the frame below which points count as one


@exact
def _draw(running, u):
    """Return the index at which the running sums of chances pass u times their total, which is the last one's."""
    low, high = (
        0,
        running.size,
    )  # the answer, or running.size if rounding keeps the sums from passing the target
    while low < high:
        middle = (low + high) // 2
        if running[middle] > u:
            high = middle
        else:
            low = middle + 1
    return low


@exact
def _last_chance(chances):
    last = 0
    for i in range(chances.size):
        if chances[i] > 0:
            last = i
    return last


@exact
def _lower(x, candidate, nearest, trial, dims):
    """Fill `trial` with the squared distances to the nearest centre if `candidate` became one."""
    for i in range(trial.size):
        d = 0.0
        for k in range(len(dims)):
            d += (x[k, i] - x[k, candidate]) ** 2
        d = d if d > _COINCIDENT else 0.0
        trial[i] = d if d < nearest[i] else nearest[i]


@exact
def plus_plus(x, share, uniforms, centres, dims):
    """Choose starting centres by greedy k-means++; return how many: no more than there are distinct points.

    A centre is drawn with probability proportional to mass times squared distance to the centres so far; of
    the draws uniforms[s, :] the one that leaves the smallest sum of these is kept, the first on ties.
    """
    count, (n, trials) = share.size, uniforms.shape
    chances, running, nearest = np.empty(count), np.empty(count), np.empty(count)
    for i in range(count):
        chances[i], nearest[i] = share[i], np.inf  # the first centre: by mass alone
    total = 1.0
    trial, best = np.empty(count), np.empty(count)
    for s in range(min(n, count)):
        so_far = 0.0
        for i in range(count):
            so_far += chances[i]
            running[i] = so_far
        lowest = np.inf
        for t in range(trials if s > 0 else 1):
            candidate = _draw(running, uniforms[s, t] * total)
            if candidate == count:
                candidate = _last_chance(chances)
            _lower(x, candidate, nearest, trial, dims)
            potential = dot(share, trial)
            if potential < lowest * (1.0 - TIE):
                lowest = potential
                trial, best = best, trial
                for k in range(len(dims)):
                    centres[s, k] = x[k, candidate]
        nearest, best = best, nearest
        total = lowest
        for i in range(count):
            chances[i] = share[i] * nearest[i]
        if not total > 0:
            return s + 1
    return min(n, count)


@exact
def furthest(x, centres, dims):
    """Choose the first point, then ever the point furthest from all centres so far, the first on ties.

    Return how many: no more than there are distinct points. Masses do not count.
    """
    count, n = x.shape[1], centres.shape[0]
    nearest, candidate = np.full(count, np.inf), 0
    for s in range(min(n, count)):
        for k in range(len(dims)):
            centres[s, k] = x[k, candidate]
        _lower(x, candidate, nearest, nearest, dims)
        largest = 0.0
        for i in range(count):
            if nearest[i] > largest * (1.0 + TIE):
                largest, candidate = nearest[i], i
        if not largest > 0:
            return s + 1
    return min(n, count)

"""What one level of hierarchical EM decides: the order of its components, the parents and what they may take."""

import math

import numpy as np

from gmengine.cpu._compile import helper, threaded
from gmengine.cpu._em_levels import gather
from gmengine.cpu._em_step import MU, WORD, W, load_block, log_likelihood, new_scratch, prepare_parents
from gmengine.cpu._gaussian import SCALE
from gmengine.cpu._morton_tree import bounding_box, morton_keys, sign_trees
from gmengine.cpu._rows import read_row
from gmengine.cpu._tuples import diagonal_product, whitening

REDUCTION = 3
_KL_BOUND = 2.0 * math.log2(math.e)  # alpha^2 / 2 in bits, alpha = 2


@helper
def _sort_along_curve(source, listing, positive, present, eps, order, like):
    """Write the listed components along the Morton curve, the positive ones first; `listing` has them so too."""
    K = len(like[0])
    weights, means = np.empty(present), np.empty((present, K))
    for p in range(present):
        weights[p] = 1.0 if p < positive else -1.0
        for k in range(K):
            means[p, k] = source[listing[p], MU + k]
    low, high, centre = np.empty(K), np.empty(K), np.empty(K)
    bounding_box(weights, means, low, high, centre)
    keys, places = np.empty(present, np.uint64), np.empty(present, np.int32)
    morton_keys(weights, means, low, high, eps, keys, like[0])
    inner = max(present - 1, 0)
    sign_trees(keys, present, np.empty((inner, 2), np.int32), np.empty(inner, np.int32), places)
    for p in range(order.shape[0]):
        order[p] = listing[places[p]] if p < present else -1


@helper
def _share_parents(mass, positive, present, number, eps):
    """Return how many of the parents are positive: in proportion to the mass, but some of each sign that there is."""
    share = number * (mass[0] / (mass[0] + mass[1]))
    rounded = math.floor(share + 0.5 + 64.0 * eps * number)
    least = number if positive == present else min(positive, 1)
    most = min(positive, number if positive == present else number - 1)
    return min(max(rounded, least, number - (present - positive)), most)


@helper
def _choose_parents(rows, start, stop, number, eps, taken, parents, first):
    """Write `number` places of start, ..., stop - 1: those that hold the equal-mass quantiles (k + 1/2) / number.

    A quantile at the border of two components is held by the first. If one component holds several, quantiles of
    what is left find the missing ones, and so on. Should a mass be no number, the first ones left take their place.
    """
    for p in range(start, stop):
        taken[p] = False
    missing = number
    while missing > 0:
        mass = 0.0
        for p in range(start, stop):
            mass += 0.0 if taken[p] else rows[p, W]
        cumulated, k, found = 0.0, 0, 0
        for p in range(start, stop):
            if not taken[p]:
                cumulated += rows[p, W]
                before = k
                while k < missing and (k + 0.5) / missing * mass <= cumulated + 64.0 * eps * mass:
                    k += 1
                taken[p] = k > before
                found += taken[p]
        if found == 0:
            for p in range(start, stop):
                if not taken[p] and found < missing:
                    taken[p] = True
                    found += 1
        missing -= found
    for p in range(start, stop):
        if taken[p]:
            parents[first] = p
            first += 1


@helper
def _write_divergences(rows, begin, end, length, first, last, t, like):
    """Set t.share[s] to the divergences KL(i || s) in bits of the block's components, and t.top to the smallest."""
    mean, tri = like
    K, T = len(mean), len(tri)
    for i in range(length):
        inverse, _ = whitening(read_row(rows, min(begin + i, end - 1), MU + K, tri))
        # In the place of the virtual points: the mean over x ~ i of the component's own log density.
        t.samples[i] = math.log2(diagonal_product(inverse)) - SCALE * K
        t.top[i] = np.inf
    for s in range(first, last):
        mu, a = read_row(t.models, s, 0, mean), read_row(t.models, s, K, tri)
        p, peak, share = read_row(t.models, s, K + T, tri), t.models[s, K + 2 * T], t.share[s]
        for i in range(length):
            share[i] = t.samples[i] - log_likelihood(t.x, t.c, i, mu, a, p, peak)
            t.top[i] = t.top[i] if t.top[i] < share[i] else share[i]


@helper
def _choose_masks(rows, start, stop, parents, first, last, eps, t, masks, like):
    """Let every component be taken by the parents within the bound of the divergence, and by the nearest one."""
    prepare_parents(rows, parents, first, last, t.models, like)
    bound, nearest = _KL_BOUND * (1.0 + 64.0 * eps), t.total
    for begin in range(start, stop, t.share.shape[1]):
        end = min(begin + t.share.shape[1], stop)
        length = load_block(rows, begin, end, (1.0, 0.0), t, like)
        _write_divergences(rows, begin, end, length, first, last, t, like)
        for s in range(last - 1, first - 1, -1):
            for i in range(end - begin):
                if t.share[s, i] <= t.top[i] + 64.0 * eps * abs(t.top[i]):
                    nearest[i] = s
        for s in range(first, last):
            for i in range(end - begin):
                if t.share[s, i] <= bound or nearest[i] == s:
                    place = begin - start + i
                    masks[s, place // WORD] |= np.uint64(1) << np.uint64(place % WORD)


@helper
def _pass_through(listing, ends, order, level_ends, parents, parent_ends):
    """Write the plan of a level that does nothing."""
    for p in range(order.shape[0]):
        order[p] = listing[p] if p < ends[1] else -1
    for s in range(parents.shape[0]):
        parents[s] = -1
    for sign in range(2):
        level_ends[sign] = parent_ends[sign] = ends[sign]


@threaded
def plan_all(worker, workers, enough, eps, sources, listings, before, level, like):
    """Write a level's plan; `listings` (M, P) and `before` (M, 2) are its order and ends before they are sorted."""
    order, ends, parents, parent_ends, masks = level
    rows, taken = np.empty(sources.shape[1:]), np.empty(sources.shape[1], np.bool_)
    mass, t = np.empty(2), new_scratch(parents.shape[1], like)
    for m in range(worker, sources.shape[0], workers):
        positive, present = np.int64(before[m, 0]), np.int64(before[m, 1])
        _pass_through(listings[m], before[m], order[m], ends[m], parents[m], parent_ends[m])
        if present <= enough:
            continue
        _sort_along_curve(sources[m], listings[m], positive, present, eps, order[m], like)
        gather(sources[m], order[m], present, rows)
        mass[0], mass[1] = 0.0, 0.0
        for p in range(present):
            mass[0 if p < positive else 1] += rows[p, W]
        number = max(enough, (present + REDUCTION - 1) // REDUCTION)
        parent_ends[m, 0] = _share_parents(mass, positive, present, number, eps)
        parent_ends[m, 1] = number
        start, first = np.int64(0), np.int64(0)
        for sign in range(2):
            stop, last = np.int64(ends[m, sign]), np.int64(parent_ends[m, sign])
            _choose_parents(rows, start, stop, last - first, eps, taken, parents[m], first)
            _choose_masks(rows, start, stop, parents[m], first, last, eps, t, masks[m], like)
            start, first = stop, last

"""Exact nearest neighbours between point sets, many pairs of sets at once.

The targets are sorted along the axis of their longest extent; a query starts at its place in that order and walks both
ways until the distance along the axis alone exceeds the best found. Nothing but the sorted targets is held.
Cost: T log T to sort, then per query the targets in a slab of twice its nearest distance: about sqrt(T) of T points on
a surface, T^(2/3) of points that fill space, and all T in the worst case (targets in a plane across the axis).
"""

from itertools import pairwise

import numpy as np

from gmengine.cpu._compile import helper, ready, threaded

_BLOCK = 256  # queries per task: a constant, so that what a task is does not depend on the number of threads


@helper
def _first_not_below(sorted_targets, begin, end, axis, value):
    """Return the first row in [begin, end) whose coordinate on `axis` is not below `value`, or `end`."""
    while begin < end:
        middle = (begin + end) // 2
        if sorted_targets[middle, axis] < value:
            begin = middle + 1
        else:
            end = middle
    return begin


@helper
def _squared_distance(a, i, b, j):
    d = 0.0
    for k in range(a.shape[1]):
        d += (a[i, k] - b[j, k]) ** 2
    return d


@threaded
def _search(worker, workers, blocks, queries, targets, order, offsets, axes, squares, nearest):
    """A task is a block (set, first query, end): fill its squared distances and original target indices."""
    for task in range(worker, blocks.shape[0], workers):
        s, first, last = blocks[task]
        begin, end, axis = offsets[s], offsets[s + 1], axes[s]
        for i in range(first, last):
            best, at, x = np.inf, np.int64(-1), queries[i, axis]
            middle = _first_not_below(targets, begin, end, axis, x)
            for way in (1, -1):
                j = middle if way == 1 else middle - 1
                while begin <= j < end and (targets[j, axis] - x) ** 2 <= best:
                    d = _squared_distance(queries, i, targets, j)
                    if d < best or (d == best and order[j] < at):
                        best, at = d, order[j]
                    j += way
            squares[i], nearest[i] = best, at


def nearest(queries, query_offsets, targets, target_offsets):
    """Return the distance of every query to the nearest target of its set, and that target's index in its set.

    Packed arrays: queries (Q, K) and targets (T, K), finite, sets given by offsets (S + 1,). Results (Q,): float64
    distances, int64 indices; of equally near targets the lowest index counts. Without targets: infinity and -1.
    """
    x, y = (ready(np.asarray(a, np.float64)) for a in (queries, targets))
    order, axes = np.empty(len(y), np.int64), np.zeros(len(target_offsets) - 1, np.int64)
    for s, (begin, end) in enumerate(pairwise(target_offsets)):
        if begin < end:
            part = y[begin:end]
            axes[s] = np.argmax(part.max(0) - part.min(0))
            order[begin:end] = np.argsort(part[:, axes[s]], kind="stable")
    rows = order + np.repeat(target_offsets[:-1], np.diff(target_offsets))
    blocks = [
        (s, first, min(first + _BLOCK, end))
        for s, (begin, end) in enumerate(pairwise(query_offsets))
        for first in range(begin, end, _BLOCK)
    ]
    squares, found = np.empty(len(x)), np.empty(len(x), np.int64)
    table = np.array(blocks, np.int64).reshape(-1, 3)
    offsets = ready(np.asarray(target_offsets, np.int64))
    _search(len(blocks), table, x, ready(y[rows]), order, offsets, axes, squares, found)
    return np.sqrt(squares), found

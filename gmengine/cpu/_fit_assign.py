"""Which centre is nearest to every point: all pairs once, later only those that the centres' moves leave open.

After Hamerly (2010): a point keeps a bound from above on the distance to its own centre and one from below on
that to any other. While the first is below the second no centre can have taken the point away, and not one
distance is computed. The others are looked at together, because loops over points vectorise.
"""

import numpy as np

from gmengine.cpu._fit_parts import TIE, exact

# The frame has side 1. Ties reach as far as 2e-14 in distance, the rounding of bounds over 300 rounds is smaller.
_MARGIN = 1e-12


@exact
def _reach(smallest):
    """Return up to which squared distance a centre counts as being as near as the nearest."""
    return smallest + TIE * (smallest + np.sqrt(smallest))


@exact
def _square(x, i, centres, s, dims):
    d = 0.0
    for k in range(len(dims)):
        d += (x[k, i] - centres[s, k]) ** 2
    return d


@exact
def _open_points(x, centres, labels, upper, lower, some, dims):
    """List in `some` the points whose nearest centre may be another than their own; return how many they are."""
    count = 0
    for i in range(labels.size):
        if upper[i] + _MARGIN < lower[i]:
            continue
        if labels[i] >= 0:
            upper[i] = np.sqrt(_square(x, i, centres, labels[i], dims))
            if upper[i] + _MARGIN < lower[i]:
                continue
        some[count] = i
        count += 1
    return count


@exact
def _two_nearest(y, count, centres, n, first, second, which, dims):
    """Fill the smallest squared distance of the points y[:, :count], the next one, and whose the smallest is."""
    for j in range(count):
        first[j], second[j], which[j] = np.inf, np.inf, 0.0
    for s in range(n):
        number = float(s)  # as wide as the distances, so that the loop vectorises
        for j in range(count):
            d = 0.0
            for k in range(len(dims)):
                d += (y[k, j] - centres[s, k]) ** 2
            nearer, old = d < first[j], first[j]
            which[j] = number if nearer else which[j]
            first[j] = d if nearer else old
            loser = old if nearer else d
            second[j] = loser if loser < second[j] else second[j]


@exact
def assign(x, centres, n, labels, upper, lower, scratch, some, dims):
    """Label every point with its nearest centre, the lowest index on ties; return whether a label changed.

    upper, lower (P,) are the bounds, `labels` those of the last round (-1: none); scratch (K + 3, P) and some
    (P,) are overwritten.
    """
    K = len(dims)
    count = _open_points(x, centres, labels, upper, lower, some, dims)
    for k in range(K):
        for j in range(count):
            scratch[k, j] = x[k, some[j]]
    first, second, which = scratch[K], scratch[K + 1], scratch[K + 2]
    _two_nearest(scratch, count, centres, n, first, second, which, dims)
    changed = False
    for j in range(count):
        i, own, reach = some[j], int(which[j]), _reach(first[j])
        if second[j] <= reach:
            own = 0
            while _square(x, i, centres, own, dims) > reach:
                own += 1
        changed |= labels[i] != own
        labels[i] = own
        upper[i], lower[i] = np.sqrt(reach), np.sqrt(second[j])
    return changed


@exact
def loosen(moves, labels, upper, lower):
    """Widen every point's bounds by how far the centres have moved, moves (n,)."""
    fastest, largest, next_largest = -1, 0.0, 0.0
    for s in range(moves.size):
        if moves[s] > largest:
            fastest, largest, next_largest = s, moves[s], largest
        elif moves[s] > next_largest:
            next_largest = moves[s]
    for i in range(labels.size):
        upper[i] += moves[labels[i]]
        lower[i] -= next_largest if labels[i] == fastest else largest


@exact
def _fill(share, filled, labels, distances, upper, lower):
    """Give every cluster that is not `filled`, by index, the point of largest mass times squared distance."""
    for s in range(filled.size):
        if filled[s]:
            continue
        farthest, largest = 0, -1.0
        for i in range(share.size):
            value = share[i] * distances[i]
            if value > largest * (1.0 + TIE):
                farthest, largest = i, value
        labels[farthest], distances[farthest] = s, 0.0
        # nothing is known about its distance to the new centre, and the centre it had is one of the others now
        upper[farthest], lower[farthest] = np.inf, 0.0


@exact
def reseed(x, share, centres, n, labels, upper, lower, dims):
    """Give every empty cluster the point of largest mass times squared distance, first on ties.

    The distance is that to the nearest centre. Return whether there was an empty cluster.
    """
    filled = np.zeros(n, np.bool_)
    for i in range(labels.size):
        filled[labels[i]] = True
    if filled.all():
        return False
    distances = np.full(labels.size, np.inf)
    for s in range(n):
        for i in range(labels.size):
            distances[i] = min(distances[i], _square(x, i, centres, s, dims))
    _fill(share, filled, labels, distances, upper, lower)
    return True

"""Which components can be felt in a block of neighbouring points: what lets `evaluate` pass over the others.

Points are put in the order of a Morton curve, so that a block of TILE of them lies in a small ball of centre c and
radius r. With z = |A (c - mu)| and a = |A| (Frobenius), the exponent -|A (x - mu)|^2 of a component is between
-(z + a r)^2 and -max(z - a r, 0)^2 in the whole ball. The best of the lower bounds over all components is a lower bound
of S(x) = sum_j |w_j| N_j(x) at every point of the block. A component is passed over

- if its upper bound is at most 2^-MARGIN eps / N times that: what is left out at a point is less than a quarter of
  eps S(x), and one rounding of a sum is half of eps times its size; or
- if its exponential is exactly 0 in the dtype, at every point of the block.

Components that stay keep their order. MARGIN pays for the rounding of the bounds: z is as exact as the exponents
of the pair loop themselves.
"""

import math
from typing import NamedTuple

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._pairs import STEP, lane_dtype
from gmengine.cpu._rows import LANES, read_lane, read_row, write_lane, write_row
from gmengine.cpu._tuples import dot, lower_times, n_packed, subtracted

TILE = 64
MARGIN = 2.0
VANISHED = {"float32": 127.0, "float64": 1023.0}  # 2^-(this - 1) is already 0, see `_exp2`
_WORD = 8  # flags are looked at in words of as many bytes
_PER_CELL, _MOST_BITS = 4, 20
_PROBES = 16, 128  # points, components


class Groups(NamedTuple):
    """A mixture's components in groups of LANES, the last filled up with amplitudes of 0.

    means (L, K, LANES), whitening (L, T, LANES), sizes (L, 2, LANES): |A| and log2 |amplitude|.
    """

    means: np.ndarray
    whitening: np.ndarray
    sizes: np.ndarray


class Felt(NamedTuple):
    """What a block finds out, and scratch.

    rows (N, K + T + 1): of the components that are felt; bounds (L, 2, LANES): logarithms, upper and lower;
    best (LANES,) of the lower ones; flags (L LANES,) of bytes, and the same memory as words; centre (1, K).
    """

    rows: np.ndarray
    bounds: np.ndarray
    best: np.ndarray
    flags: np.ndarray
    words: np.ndarray
    centre: np.ndarray


def new_groups(M, N, K, dtype):
    """Return room for the groups of M mixtures of N components, arrays with a leading axis of M."""
    L = -(-N // LANES)
    return Groups(*(np.empty((M, L, q, LANES), dtype) for q in (K, n_packed(K), 2)))


@helper
def groups_of(groups, m):
    """Return the groups of mixture m."""
    return Groups(groups.means[m], groups.whitening[m], groups.sizes[m])


@helper
def new_felt(N, like):
    """Return room for what a block of points feels of N components."""
    mean, tri, amp = like
    L, kind = (N + LANES - 1) // LANES, lane_dtype(mean)
    flags = np.empty((L, LANES), np.uint8)
    return Felt(
        np.empty((N, len(mean) + len(tri) + len(amp)), kind),
        np.empty((L, 2, LANES), kind),
        np.empty(LANES, kind),
        flags,
        flags.view(np.uint64),
        np.empty((1, len(mean)), kind),
    )


@helper
def load_groups(rows, n, groups, like):
    """Bring the first n >= 1 rows into groups."""
    mean, tri, _ = like
    K, T = len(mean), len(tri)
    for j in range(groups.means.shape[0] * LANES):
        t, i, r = j // LANES, j % LANES, min(j, n - 1)
        for k in range(K):
            groups.means[t, k, i] = rows[r, k]
        for q in range(T):
            groups.whitening[t, q, i] = rows[r, K + q]
        a = read_row(rows, r, K, tri)
        amplitude = abs(float(rows[r, K + T])) if j < n else 0.0
        groups.sizes[t, 0, i] = math.sqrt(dot(a, a))
        groups.sizes[t, 1, i] = math.log2(amplitude) if amplitude > 0.0 else -np.inf


@helper
def _ball(x, length, centre):
    """Write the centre of the lanes' box to `centre`; return the largest distance from it."""
    for k in range(x.shape[0]):
        low, high = x[k, 0], x[k, 0]
        for i in range(length):
            low, high = min(low, x[k, i]), max(high, x[k, i])
        centre[0, k] = 0.5 * low + 0.5 * high
    largest = 0.0
    for i in range(length):
        square = 0.0
        for k in range(x.shape[0]):
            square += (float(x[k, i]) - float(centre[0, k])) ** 2
        largest = max(largest, square)
    return math.sqrt(largest)


@helper
def _bounds(means, whitening, sizes, bounds, centre, radius, vanished, nothing, tri):
    """Write logarithms of the upper and the lower bounds of one group; nothing: (-inf, -inf) of the dtype."""
    zero, none = radius - radius, nothing[0]
    for i in range(LANES):
        y = lower_times(read_lane(whitening, i, tri), subtracted(centre, read_lane(means, i, centre)))
        a, log_amplitude = read_lane(sizes, i, nothing)
        z, reach = math.sqrt(dot(y, y)), a * radius
        near = z - reach if z > reach else zero
        far = z + reach
        upper = log_amplitude - near * near if near * near < vanished else none
        write_lane(bounds, i, (upper, log_amplitude - far * far))


@helper
def _raise_best(bounds, best):
    for i in range(LANES):
        best[i] = bounds[1, i] if bounds[1, i] > best[i] else best[i]


@helper
def _flag(bounds, threshold, flags):
    for i in range(LANES):
        flags[i] = 1 if bounds[0, i] > threshold else 0


@helper
def felt_rows(rows, n, x, length, groups, felt, slack, vanished, like):
    """Copy the rows of the components felt by the points in the lanes `x` to `felt.rows`; return how many.

    slack: log2 of the share of the largest term up to which a term does not count; vanished: see `VANISHED`.
    """
    mean, tri, amp = like
    K, T, kind = len(mean), len(tri), lane_dtype(mean).type
    radius, limit = kind(_ball(x, length, felt.centre)), kind(vanished)
    centre, nothing = read_row(felt.centre, 0, 0, mean), (kind(-np.inf), kind(-np.inf))
    means, whitening, sizes = groups
    felt.best[:] = -np.inf
    for t in range(means.shape[0]):
        bounds = felt.bounds[t]
        _bounds(means[t], whitening[t], sizes[t], bounds, centre, radius, limit, nothing, tri)
        _raise_best(bounds, felt.best)
    threshold = kind(felt.best.max() + slack)
    for t in range(means.shape[0]):
        _flag(felt.bounds[t], threshold, felt.flags[t])
    count = 0
    for t in range(means.shape[0]):
        for word in range(LANES // _WORD):
            if felt.words[t, word] != 0:
                for i in range(word * _WORD, (word + 1) * _WORD):
                    if felt.flags[t, i] != 0:
                        j = t * LANES + i
                        write_row(felt.rows, count, 0, read_row(rows, j, 0, mean))
                        write_row(felt.rows, count, K, read_row(rows, j, K, tri))
                        write_row(felt.rows, count, K + T, read_row(rows, j, K + T, amp))
                        count += 1
    return count


@helper
def share_of_pairs(rows, n, points, slack, like):
    """Return about which share of pairs counts: a guess from a few points and components, without amplitudes."""
    mean, tri, _ = like
    of_points, of_components = min(_PROBES[0], points.shape[0]), min(_PROBES[1], n)
    found = 0
    for p in range(of_points):
        x = read_row(points, p * points.shape[0] // of_points, 0, mean)
        for q in range(of_components):
            r = q * n // of_components
            y = lower_times(read_row(rows, r, len(mean), tri), subtracted(x, read_row(rows, r, 0, mean)))
            found += dot(y, y) < -slack
    return found / max(1, of_points * of_components)


@helper
def order_points(points, keys, order, dims):
    """Write the points' numbers in Morton order, equal cells by number: a counting sort over about P / 4 cells."""
    K, P = min(len(dims), _MOST_BITS), points.shape[0]
    bits = 1
    while (bits + 1) * K <= _MOST_BITS and 1 << (bits * K) < P // _PER_CELL:
        bits += 1
    starts = np.zeros((1 << (bits * K)) + 1, np.int64)
    keys[:] = 0
    for a in range(K):
        low, high = float(points[0, a]), float(points[0, a])
        for i in range(P):
            low, high = min(low, points[i, a]), max(high, points[i, a])
        scale = (1 << bits) / (high - low) if high > low else 0.0
        for i in range(P):
            cell = min((1 << bits) - 1, int((points[i, a] - low) * scale))
            for b in range(bits):
                keys[i] |= (cell >> b & 1) << (b * K + a)
    for i in range(P):
        starts[keys[i] + 1] += 1
    for c in range(1, starts.shape[0]):
        starts[c] += starts[c - 1]
    for i in range(P):
        order[starts[keys[i]]] = i
        starts[keys[i]] += 1


@helper
def load_ordered(points, order, start, stop, lanes):
    """Copy points number order[start:stop] into `lanes` like `load_points`; return the length, filled up."""
    length = (stop - start + STEP - 1) // STEP * STEP
    for i in range(length):
        p = order[min(start + i, stop - 1)]
        for k in range(lanes.shape[0]):
            lanes[k, i] = points[p, k]
    return length

"""Which cells of a grid a component touches: a walk over the planes, and their lines, that cross its ellipsoid.

Cells are counted: along axis k, cell i has its centre at coordinate i, so means and whitening matrices are first
brought into units of cells. A is lower triangular, so y_k = (A d)_k = A_kk (i_k - centre_k), where centre_k depends
on the coordinates of the axes before k alone. Given these, y.y can stay within the cutoff if and only if
y_k^2 <= cutoff - sum_{l<k} y_l^2: an interval of cells, exact at every depth, so that no line is entered (but for
rounding to whole cells) that the ellipsoid does not cross.

The last two axes make a plane, see `_render_planes`; the axes before them are counted like an odometer. A grid of one
axis gets another one before it, of one cell, so that there are D = max(K, 2) axes.

The state of a walk is two matrices with a column for each axis: ints (6, D) with the rows LOWER to AXIS, and reals
(4, D) with the rows DELTA to FALL. (A structure of arrays would cost Numba a reference count for every access.)
"""

import math
from typing import NamedTuple

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._gaussian import SCALE
from gmengine.cpu._render_planes import Plane, interval


class Grid(NamedTuple):
    """lengths (2, D): cells, and the stride of the flat index; edges (2, D): the lower edge, and the size of a cell."""

    lengths: np.ndarray
    edges: np.ndarray
    cutoff: float


# The box to stay in, the cells yet to visit, part of the flat index of the axes before, the axis to go on from.
LOWER, UPPER, AT, END, PLACE, AXIS = range(6)
# i - mean, the centre of the interval, y, the sum of y^2 over the axes before.
DELTA, CENTRE, Y, FALL = range(4)


@helper
def new_walk(D):
    return np.empty((6, D), np.int64), np.empty((4, D))


@helper
def _tri(D, k):
    """Return the column of entry (k, 0) of a packed triangle behind D numbers."""
    return D + k * (k + 1) // 2


@helper
def to_cells(row, variances, K, lengths, edges, cutoff, cells, box):
    """Bring a component into units of cells.

    row: mean (K), A (packed); variances: C (K K). Writes its mean (D) and A, with A_kl / A_kk beside the diagonal,
    into `cells`, and into box (2, D) the first and the past-the-last cell of its bounding box along each axis.
    """
    D = lengths.shape[1]
    s = D - K
    if s:
        cells[0], cells[_tri(D, 0)], cells[_tri(D, 1)] = 0.0, 1.0, 0.0
        box[0, 0], box[1, 0] = 0, 1
    for k in range(K):
        step, p, q = edges[1, s + k], _tri(K, k), _tri(D, s + k) + s
        mean = (row[k] - edges[0, s + k]) / step - 0.5
        for l in range(k):
            cells[q + l] = row[p + l] / row[p + k] * (edges[1, s + l] / step)
        cells[s + k], cells[q + k] = mean, row[p + k] * step
        reach = math.sqrt(cutoff / SCALE * variances[k * K + k]) / step
        box[0, s + k], box[1, s + k] = interval(mean, reach, 0, lengths[0, s + k])


@helper
def clip(boxes, m, r, bounds, ints):
    """Let a walk stay where `bounds` (2, D) meet the bounding box of a component; return whether they do."""
    meet = True
    for k in range(bounds.shape[1]):
        lower, upper = max(bounds[0, k], boxes[m, r, 0, k]), min(bounds[1, k], boxes[m, r, 1, k])
        ints[LOWER, k], ints[UPPER, k] = lower, upper
        meet &= lower < upper
    return meet


@helper
def begin(cells, cutoff, place, ints, reals):
    """Begin a walk in the box that `clip` has set; `place` is the flat index of cell 0."""
    reals[FALL, 0], ints[PLACE, 0], ints[AXIS, 0] = 0.0, place, 0
    if ints.shape[1] > 2:
        _enter(0, cells, cutoff, ints, reals)


@helper
def _centre(k, before, cells, reals):
    """Return the centre along axis k, given the coordinates of the axes before `before`."""
    centre, p = cells[k], _tri(reals.shape[1], k)
    for l in range(before):
        centre -= cells[p + l] * reals[DELTA, l]
    return centre


@helper
def _enter(k, cells, cutoff, ints, reals):
    """Find the interval of cells of axis k, given those of the axes before."""
    centre = _centre(k, k, cells, reals)
    reach = math.sqrt(max(cutoff - reals[FALL, k], 0.0)) / cells[_tri(reals.shape[1], k) + k]
    reals[CENTRE, k] = centre
    ints[AT, k], ints[END, k] = interval(centre, reach, ints[LOWER, k], ints[UPPER, k])


@helper
def next_plane(cells, lengths, cutoff, ints, reals):
    """Go to the next plane; return whether there was one."""
    D, k = ints.shape[1], ints[AXIS, 0]
    while k >= 0:
        if k == D - 2:
            ints[AXIS, 0] = k - 1
            return True
        if ints[AT, k] >= ints[END, k]:
            k -= 1
            continue
        i = ints[AT, k]
        ints[AT, k] += 1
        y = cells[_tri(D, k) + k] * (i - reals[CENTRE, k])
        reals[DELTA, k], reals[Y, k] = i - cells[k], y
        reals[FALL, k + 1] = reals[FALL, k] + y * y
        ints[PLACE, k + 1] = ints[PLACE, k] + i * lengths[1, k]
        k += 1
        if k < D - 2:
            _enter(k, cells, cutoff, ints, reals)
    return False


@helper
def plane_of(cells, lengths, cutoff, ints, reals):
    """Return the plane that the walk has come to."""
    D = ints.shape[1]
    u, v = D - 2, D - 1
    return Plane(
        ints[PLACE, u],
        lengths[1, u],
        ints[LOWER, u],
        ints[UPPER, u],
        ints[LOWER, v],
        ints[UPPER, v],
        cells[u],
        _centre(u, u, cells, reals),
        _centre(v, u, cells, reals),
        cells[_tri(D, u) + u],
        cells[_tri(D, v) + v],
        cells[_tri(D, v) + u],
        cutoff,
        reals[FALL, u],
    )

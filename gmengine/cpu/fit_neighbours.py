"""How the nearest neighbours of every point of a set lie around it."""

import numpy as np

from gmengine.cpu._compile import ready, threaded
from gmengine.cpu._fit_parts import TIE, exact, gather


def spreads(points, masses, offsets, frames, neighbours):
    """Return (total, K, K): the mean of d d^T over the offsets d to a point's nearest neighbours, in the frame.

    points (total, K), masses (total,), frames (S, K + 3) as for `fit_kmeans.clusters`; points of mass 0 do not
    exist and get zeros, as do those that are alone. The neighbours are the others that are not further away
    than the `neighbours`-th nearest, up to rounding: of a tie all or none, whatever their order. All pairs of a
    set are compared; memory is linear.
    """
    K = points.shape[1]
    result = np.zeros((len(points), K, K))
    given = (ready(a) for a in (points, masses, offsets, frames))
    _spread_all(len(frames), *given, neighbours, result, (0,) * K)
    return result


@exact
def _insert(nearest, value):
    """Put a value that is below the last into the ascending list, which loses its last."""
    place = nearest.size - 1
    while place > 0 and nearest[place - 1] > value:
        nearest[place] = nearest[place - 1]
        place -= 1
    nearest[place] = value


@exact
def _squares(x, i, squares, dims):
    for j in range(squares.size):
        d = 0.0
        for k in range(len(dims)):
            d += (x[k, j] - x[k, i]) ** 2
        squares[j] = d
    squares[i] = np.inf


@exact
def _spread(x, i, squares, nearest, result, dims):
    """Add up the outer products of the offsets to the neighbours of point i; `squares` and `nearest` are scratch."""
    _squares(x, i, squares, dims)
    nearest[:] = np.inf
    for j in range(squares.size):
        if squares[j] < nearest[-1]:
            _insert(nearest, squares[j])
    last = nearest.size - 1
    while last > 0 and nearest[last] == np.inf:  # fewer points than asked for: all of them
        last -= 1
    reach, count = nearest[last] * (1.0 + TIE), 0
    for j in range(squares.size):
        if squares[j] <= reach and j != i:
            count += 1
            for k in range(len(dims)):
                for m in range(len(dims)):
                    result[k, m] += (x[k, j] - x[k, i]) * (x[m, j] - x[m, i])
    if count > 0:
        for k in range(len(dims)):
            for m in range(len(dims)):
                result[k, m] /= count


@threaded
def _spread_all(worker, workers, points, masses, offsets, frames, neighbours, result, dims):
    nearest = np.empty(neighbours)
    for s in range(worker, frames.shape[0], workers):
        begin, end = offsets[s], offsets[s + 1]
        x, _, index = gather(points[begin:end], masses[begin:end], frames[s], dims)
        squares = np.empty(index.size)
        for i in range(index.size):
            _spread(x, i, squares, nearest, result[begin + index[i]], dims)

"""Hierarchical EM from the bottom up: every point a Gaussian, reduced by thirds (Preiner et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import numpy as np

from gmengine.fitting._frame import Moments
from gmengine.fitting._sets import Piece
from gmengine.mixture import Mixture
from gmengine.ops.reduce import reduce

_PAIRS = (
    2**28
)  # padded pairs of points at a time: bounds the memory of the masks of "hem", a bit per three pairs


def bottom_up(piece: Piece, n: int, neighbours: int) -> Moments:
    """Return n components for every set of the piece, in the caller's units; see `gmengine.fit`."""
    spreads = import_module("gmengine.cpu.fit_neighbours").spreads
    spread = spreads(piece.points, piece.masses, piece.offsets, piece.frames, neighbours)
    shapes = (len(piece), n), (len(piece), n, piece.dim), (len(piece), n, piece.dim, piece.dim)
    result = tuple(np.zeros(shape) for shape in shapes)
    present = np.flatnonzero(piece.masses > 0)
    sizes = np.diff(np.searchsorted(present, piece.host_offsets))
    for part in _groups(sizes):
        small = reduce(_gaussians(piece, part, int(sizes[part].max()), spread / neighbours), n, "hem")
        for whole, own in zip(result, small.arrays, strict=True):
            whole[part, : small.n_components] = own
    floor = _floors(piece)[:, None, None, None] * np.eye(piece.dim)
    return piece.leave((result[0], result[1], result[2] - floor))


def _groups(sizes: np.ndarray) -> Iterator[slice]:
    """Yield ranges of sets that are reduced together, padded to the largest."""
    begin, largest = 0, 0
    for end, size in enumerate(sizes):
        wider = max(largest, int(size))
        if end > begin and wider**2 * (end + 1 - begin) > _PAIRS:
            yield slice(begin, end)
            begin, wider = end, int(size)
        largest = wider
    if begin < len(sizes):
        yield slice(begin, len(sizes))


def _gaussians(piece: Piece, part: slice, most: int, spread: np.ndarray) -> Mixture:
    """Return the points of some sets as Gaussians in the frame: what is a point's own of `spread`, and the floor."""
    sets = range(part.start, part.stop)
    weights, means = np.zeros((len(sets), most)), np.zeros((len(sets), most, piece.dim))
    covariances = np.zeros((len(sets), most, piece.dim, piece.dim))
    floor = _floors(piece)
    for place, s in enumerate(sets):
        begin, end = piece.host_offsets[s], piece.host_offsets[s + 1]
        rows = begin + np.flatnonzero(piece.masses[begin:end] > 0)
        centre, scale, total = piece.frames[s, :-3], piece.frames[s, -3], piece.frames[s, -1]
        weights[place, : len(rows)] = piece.masses[rows] / total
        means[place, : len(rows)] = (piece.points[rows] - centre) / scale
        covariances[place, : len(rows)] = spread[rows] + floor[s] * np.eye(piece.dim)
    return Mixture(weights, means, covariances)


def _floors(piece: Piece) -> np.ndarray:
    """Return the covariance floors in the frames."""
    scale = piece.frames[:, -3]
    return np.asarray(piece.floors / scale / scale)

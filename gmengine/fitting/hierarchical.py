"""Hierarchical EM from the top down: Eckart et al. 2016, "Accelerated generative models for 3D point cloud data"."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from gmengine.fitting._frame import Moments
from gmengine.fitting._sets import Piece
from gmengine.fitting._starts import clusters


@dataclass(frozen=True)
class Rules:
    """How nodes are split: children per node, smallest responsibility (None: the largest takes all), EM, start."""

    branching: int
    threshold: float | None
    steps: int
    tol: float
    init: str


@dataclass(frozen=True)
class _Nodes:
    """Nodes of one level, of all samples. Node b has the rows offsets[b] to offsets[b + 1].

    A row is a point of the piece (`points`) with the part of its mass that has come down to the node (`masses`).
    The node's components have their places in the result from first[b] on, budget[b] of them.
    """

    points: np.ndarray
    masses: np.ndarray
    offsets: np.ndarray
    sample: np.ndarray
    first: np.ndarray
    budget: np.ndarray

    def chosen(self, which: np.ndarray) -> _Nodes:
        """Return the nodes that the mask `which` names."""
        rows = np.repeat(which, np.diff(self.offsets))
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[which])])
        return _Nodes(
            self.points[rows],
            self.masses[rows],
            offsets,
            self.sample[which],
            self.first[which],
            self.budget[which],
        )


def hierarchical(piece: Piece, n: int, rng: np.random.Generator, rules: Rules) -> Moments:
    """Return at most n components for every set of the piece, in the caller's units; see `gmengine.fit`."""
    generators = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=len(piece))]
    shapes = (len(piece), n), (len(piece), n, piece.dim), (len(piece), n, piece.dim, piece.dim)
    weights, means, covariances = (np.zeros(shape) for shape in shapes)
    covariances[:] = np.eye(piece.dim)
    nodes = _roots(piece, n)
    while len(nodes.budget):
        splits = nodes.budget > rules.branching
        leaves = [nodes.chosen(nodes.budget == size) for size in np.unique(nodes.budget[~splits])]
        nodes, stuck = _split(piece, nodes.chosen(splits), generators, rules)
        leaves += [stuck.chosen(stuck.budget == size) for size in np.unique(stuck.budget)]
        for group in leaves:
            fitted, work = _fit(piece, group, int(group.budget[0]), generators, rules)
            places = group.first[:, None] + np.arange(group.budget[0])
            for whole, part in zip((weights, means, covariances), work.leave(fitted), strict=True):
                whole[group.sample[:, None], places] = part
    if piece.density:
        weights /= np.where(piece.frames[:, -1] > 0, piece.frames[:, -1], 1.0)[:, None]
    return weights, means, covariances


def _roots(piece: Piece, n: int) -> _Nodes:
    """Return one node per set that has points, with as many components as it has, n at most."""
    points = np.flatnonzero(piece.masses > 0)
    offsets = np.searchsorted(points, piece.host_offsets)
    budget = np.minimum(np.diff(offsets), n)
    number = np.arange(len(piece))
    every = _Nodes(points, piece.masses[points], offsets, number, np.zeros_like(number), budget)
    return every.chosen(budget > 0)


def _fit(
    piece: Piece, nodes: _Nodes, n: int, generators: list[np.random.Generator], rules: Rules
) -> tuple[Moments, Piece]:
    """Fit n components to every node, one ragged batch; return them in the nodes' frames, and the batch."""
    points, floors = piece.points[nodes.points], np.asarray(piece.floors)[nodes.sample]
    work = Piece.of(points, nodes.masses, nodes.offsets, floors, blurred=piece.blurred)

    def draw(shape: tuple[int, ...]) -> np.ndarray:  # a sample's fit must not depend on the others
        return np.array([generators[s].random(shape[1:]) for s in nodes.sample]).reshape(shape)

    start = clusters(work, n, draw, rules.init)[0]
    return work.steps(start, rules.steps if n > 1 else 0, rules.tol), work


def _split(
    piece: Piece, nodes: _Nodes, generators: list[np.random.Generator], rules: Rules
) -> tuple[_Nodes, _Nodes]:
    """Return the children of the nodes, and the nodes that cannot be split because one component takes all."""
    if not len(nodes.budget):
        return nodes, nodes
    fitted, work = _fit(piece, nodes, rules.branching, generators, rules)
    kernel = import_module("gmengine.cpu.fit_hierarchy").responsibilities
    r = kernel(work.points, work.masses, work.offsets, work.frames, work.floors, work.blurred, *fitted)
    node = np.repeat(np.arange(len(work)), np.diff(nodes.offsets))
    shares = _partition(r, rules.threshold)
    counts = np.zeros(fitted[0].shape, np.int64)
    np.add.at(counts, node, shares > 0)
    stuck = (counts > 0).sum(axis=1) < 2
    if stuck.any():
        shares = np.where(stuck[node, None], 0.0, shares)
        counts[stuck] = 0
    return _children(nodes, node, shares, counts, fitted[0]), nodes.chosen(stuck)


def _partition(r: np.ndarray, threshold: float | None) -> np.ndarray:
    """Return what part of every row (rows, j) goes to each child: parts sum to 1, the lowest index wins ties."""
    largest = r.max(axis=1, keepdims=True)
    first = np.argmax(r >= largest * (1.0 - 64 * np.finfo(np.float64).eps), axis=1)
    best = first[:, None] == np.arange(r.shape[1])
    if threshold is None:
        return best.astype(np.float64)
    kept = np.where((r > threshold) | best, r, 0.0)
    return kept / kept.sum(axis=1, keepdims=True)


def _children(
    nodes: _Nodes, node: np.ndarray, shares: np.ndarray, counts: np.ndarray, weights: np.ndarray
) -> _Nodes:
    """Return one node per pair (node, component) that got rows; ordered, and so are their rows."""
    row, child = np.nonzero(shares)
    n_children = shares.shape[1]
    order = np.argsort(node[row] * n_children + child, kind="stable")
    row, child = row[order], child[order]
    budgets = np.array(
        [_share_out(b, c, w) for b, c, w in zip(nodes.budget, counts, weights, strict=True)]
    ).reshape(counts.shape)
    first = nodes.first[:, None] + np.cumsum(budgets, axis=1) - budgets
    exists = counts.ravel() > 0
    offsets = np.concatenate([[0], np.cumsum(counts.ravel()[exists])])
    sample = np.repeat(nodes.sample, n_children)[exists]
    masses = nodes.masses[row] * shares[row, child]
    return _Nodes(nodes.points[row], masses, offsets, sample, first.ravel()[exists], budgets.ravel()[exists])


def _share_out(budget: int, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share `budget` components evenly among the children that have points, none gets more than its points.

    What cannot be shared evenly goes to the heaviest, the lowest index on ties.
    """
    result = np.zeros(len(points), np.int64)
    rank = np.argsort(-weights, kind="stable")
    while budget > 0:
        open_ones = rank[result[rank] < points[rank]]
        if not len(open_ones):
            break
        each = budget // len(open_ones)
        if each == 0:
            result[open_ones[:budget]] += 1
            break
        given = np.minimum(each, points[open_ones] - result[open_ones])
        result[open_ones] += given
        budget -= int(given.sum())
    return result

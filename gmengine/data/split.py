"""Parting a data set into disjoint pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gmengine.backend import Array
from gmengine.errors import ArgumentError, ShapeError

# Of every data set without official parts: training, validation, test; the same for every training seed.
FRACTIONS = (0.7, 0.1, 0.2)
SPLIT_SEED = 20220127


def split(
    labels: Array, fractions: Sequence[float], rng: int | np.random.Generator | None
) -> tuple[np.ndarray, ...]:
    """Return disjoint index arrays that part the objects by `fractions`, every class alike (stratified).

    Parameters
    ----------
    labels : array, shape (n,)
        Class of every object.
    fractions : sequence of float
        Positive, with the sum 1, e.g. ``(0.7, 0.1, 0.2)``. Every class is cut at its rounded cumulative
        shares, so each part has each class's share to within one object.
    rng : int, Generator or None
        Decides which objects go where.

    Returns
    -------
    tuple of arrays of int64
        One per fraction, ascending; together every index once.

    Raises
    ------
    ShapeError
        If the labels are not one-dimensional.
    ArgumentError
        If a fraction is not positive, or their sum is not 1 to within 1e-9.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ShapeError(f"split: expected labels (n,), got {labels.shape}")
    shares = _shares("split", fractions)
    rng = np.random.default_rng(rng)
    parts: list[list[np.ndarray]] = [[] for _ in shares]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        # rint before rounding hides that 0.7 + 0.1 is a little less than 0.8
        cuts = np.rint(np.round(np.cumsum(shares)[:-1] * len(members), 9)).astype(np.int64)
        for part, piece in zip(parts, np.split(members, cuts), strict=True):
            part.append(piece)
    return tuple(np.sort(np.concatenate([np.empty(0, np.int64), *part])) for part in parts)


def _shares(name: str, fractions: Sequence[float]) -> np.ndarray:
    shares = np.asarray(fractions, np.float64)
    if shares.ndim != 1 or not (shares > 0).all() or not abs(shares.sum() - 1.0) <= 1e-9:
        raise ArgumentError(f"{name}: expected positive fractions with the sum 1, got {fractions}")
    return shares


def split_groups(
    labels: Array, groups: Array, fractions: Sequence[float], rng: int | np.random.Generator | None
) -> tuple[np.ndarray, ...]:
    """Return disjoint index arrays that part the objects by `fractions` without cutting a group.

    For objects that come in families so alike that a member in the training part gives away those in the test
    part. Groups are dealt out from the largest to the smallest, each to the part that lacks most of its
    classes, and then moved from part to part as long as that brings the classes' shares nearer to the
    fractions.

    Parameters
    ----------
    labels, groups : array, shape (n,)
        Class and group of every object.
    fractions : sequence of float
        Positive, with the sum 1. Where every group is of one class, no part has more of a class than its
        share and the class's largest group together, and a class of at least as many groups as there are
        parts is in all of them.
    rng : int, Generator or None
        Decides among groups of one size.

    Returns
    -------
    tuple of arrays of int64
        One per fraction, ascending; together every index once.

    Raises
    ------
    ShapeError
        If labels or groups are not one-dimensional, or of different length.
    ArgumentError
        As `split`.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    if labels.ndim != 1 or groups.shape != labels.shape:
        raise ShapeError(f"split_groups: expected labels, groups (n,), got {labels.shape}, {groups.shape}")
    shares = _shares("split_groups", fractions)
    classes, label = np.unique(labels, return_inverse=True)
    names, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (group, label), 1)
    order = np.random.default_rng(rng).permutation(len(names))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    part = _deal(counts, order, shares)
    return tuple(np.flatnonzero(part[group] == p) for p in range(len(shares)))


def _deal(counts: np.ndarray, order: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the part of every group, of counts (groups, classes)."""
    excess = -shares[:, None] * counts.sum(axis=0)  # what a part has of a class, less its share
    held = np.zeros(excess.shape, np.int64)  # groups of a class in a part
    waiting = (counts > 0).sum(axis=0)
    part = np.zeros(len(counts), np.int64)
    for g in order:
        own = counts[g] > 0
        empty = (held == 0) & own
        # As many groups left as parts without any: each must go to one of those.
        due = (empty & (waiting == (held == 0).sum(axis=0))).any(axis=1)
        costs = (2 * excess + counts[g]) @ counts[g]  # what the sum of squares of the excess grows by
        part[g] = np.where(due, costs, np.inf).argmin() if due.any() else costs.argmin()
        excess[part[g]] += counts[g]
        held[part[g]] += own
        waiting -= own
    while _improve(counts, order, part, excess, held):
        pass
    return part


def _improve(
    counts: np.ndarray, order: np.ndarray, part: np.ndarray, excess: np.ndarray, held: np.ndarray
) -> bool:
    """Move groups where that makes the sum of squares of `excess` smaller; return whether one was moved."""
    moved = False
    for g in order:
        own, size = counts[g] > 0, counts[g]
        here = part[g]
        if (held[here][own] == 1).any():
            continue  # it would leave its class unseen
        costs = 2 * (excess - excess[here] + size) @ size
        costs[here] = 0
        best = costs.argmin()
        if costs[best] < -1e-6 * (size @ size):  # by more than rounding, so that it comes to an end
            for p, sign in ((here, -1), (best, 1)):
                excess[p] += sign * size
                held[p] += sign * own
            part[g], moved = best, True
    return moved

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
    shares = np.asarray(fractions, np.float64)
    if shares.ndim != 1 or not (shares > 0).all() or not abs(shares.sum() - 1.0) <= 1e-9:
        raise ArgumentError(f"split: expected positive fractions with the sum 1, got {fractions}")
    rng = np.random.default_rng(rng)
    parts: list[list[np.ndarray]] = [[] for _ in shares]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        # rint before rounding hides that 0.7 + 0.1 is a little less than 0.8
        cuts = np.rint(np.round(np.cumsum(shares)[:-1] * len(members), 9)).astype(np.int64)
        for part, piece in zip(parts, np.split(members, cuts), strict=True):
            part.append(piece)
    return tuple(np.sort(np.concatenate([np.empty(0, np.int64), *part])) for part in parts)

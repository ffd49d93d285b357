"""Walking through a data set in batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gmengine.data.dataset import Dataset
from gmengine.errors import ArgumentError


def batches(
    dataset: Dataset,
    size: int,
    *,
    rng: int | np.random.Generator | None = None,
    drop_last: bool = False,
) -> Iterator[Dataset]:
    """Iterate over `dataset` in batches; every object comes once.

    Parameters
    ----------
    dataset : Dataset
        What to walk through.
    size : int
        Objects per batch.
    rng : int, Generator or None
        Shuffles the objects (one permutation is drawn at the call); None keeps their order.
    drop_last : bool
        Leave out a last batch of fewer than `size` objects.

    Raises
    ------
    ArgumentError
        At the call, if `size` is not a positive integer.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ArgumentError(f"batches: expected size to be an integer >= 1, got {size!r}")
    count = len(dataset)
    order = np.arange(count) if rng is None else np.random.default_rng(rng).permutation(count)
    stop = count - count % size if drop_last else count
    return (dataset[order[start : min(start + size, stop)]] for start in range(0, stop, int(size)))

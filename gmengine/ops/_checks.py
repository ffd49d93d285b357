"""Find the first element that breaks a contract."""

from __future__ import annotations

import numpy as np

from gmengine.backend import Array, namespace


def first_false(good: Array) -> tuple[int, ...] | None:
    """Return the index of the first False of a boolean array, None if there is none."""
    xp = namespace(good)
    if bool(xp.all(good)):
        return None
    flat = int(xp.argmin(xp.reshape(xp.astype(good, xp.int8), (-1,))))
    return tuple(int(i) for i in np.unravel_index(flat, tuple(good.shape)))

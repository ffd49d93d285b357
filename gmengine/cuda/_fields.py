"""How kernels that move components number by number are dealt to blocks; fields.cuh reads it off again."""

from __future__ import annotations

_WARP, _MOST = 32, 1024  # threads


def lanes(K: int) -> int:
    """Return how many components a block holds: the largest power of two, up to a warp, that fits."""
    found = _WARP
    while found * entries(K) > _MOST:
        found //= 2
    return found


def threads(K: int) -> int:
    """Return the threads of such a block: one per number, rounded up to full warps."""
    return -(-lanes(K) * entries(K) // _WARP) * _WARP


def entries(K: int) -> int:
    """Return the numbers of a component: weight, mean and covariance."""
    return 1 + K + K * K

"""How the loops over pairs of points and components are dealt to blocks; pairs.cuh computes them."""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._launch import BLOCK, blocks_for

FULL = 264
"""Blocks that keep a large card busy, two for each of 132 multiprocessors; on every card, so that bits are the same."""


def new_rows(M: int, N: int, K: int, amplitudes: int, dtype: Any) -> Any:
    """Return the uninitialised rows (M, N, length) that ``Row<amplitudes>`` lays out: a multiple of 16 bytes each."""
    numbers, per_chunk = K + K * (K + 1) // 2 + amplitudes, 16 // dtype.itemsize
    return cupy.empty((M, N, -(-numbers // per_chunk) * per_chunk), dtype)


def new_points(M: int, P: int, K: int, values: int, dtype: Any) -> Any:
    """Return the uninitialised points (M, P, length) that ``Point<values>`` lays out: a multiple of 16 bytes each."""
    per_chunk = 16 // dtype.itemsize
    return cupy.empty((M, P, -(-(K + values) // per_chunk) * per_chunk), dtype)


def points_per_thread(M: int, P: int, most: int) -> int:
    """Return `most` if that leaves enough blocks for a large card, else 1; a point's sums do not depend on it."""
    return most if M * blocks_for(P, most * BLOCK) >= FULL else 1


def deal(M: int, N: int, P: int) -> tuple[int, int, int]:
    """Return (blocks, width, slices) of a pass that gathers, for every component, moments over the points.

    A block takes one of `slices` slices of the points and `width` components: the largest power of two, 2 to the size
    of a block, of which at most an eighth has nothing to do. The moments of the slices are to be added.
    """
    width = BLOCK
    while width > 2 and blocks_for(N, width) * width > 1.125 * N:
        width //= 2
    tiles = M * blocks_for(N, width)
    slices = max(1, min(blocks_for(P, 4 * BLOCK), FULL // max(tiles, 1)))
    return tiles * slices, width, slices


def n_moments(K: int, amplitudes: int) -> int:
    """Return the number of moments that a component pass gathers."""
    return amplitudes + K + K * (K + 1) // 2

"""How much room the kernels of TreeHEM need, and how mixtures are dealt out so that it stays small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cupy

WARP, MOST_WARPS = 32, 4
SHARED = 44 * 1024
"""Bytes of shared memory that a block may take besides its static variables: every card has 48 KiB in all."""
SCRATCH = 1 << 28
"""Bytes of global memory for the mixtures that are worked on together, if one alone does not need more."""


def chunks(M: int, bytes_per_mixture: int) -> Iterator[tuple[int, int]]:
    """Yield (first, number) of mixtures that fit into the scratch memory together: all but the last the same."""
    most = max(1, SCRATCH // bytes_per_mixture)
    size = -(-M // max(1, -(-M // most))) or 1
    for start in range(0, M, size):
        yield start, min(size, M - start)


def row_length(K: int) -> int:
    """Return the numbers in a row of tree_fit.cuh: weight, mean, packed covariance."""
    return 1 + K + K * (K + 1) // 2


@dataclass(frozen=True)
class Staging:
    """Where the blocks of a kernel stage the slots of their nodes, and hence how large they are."""

    threads: int
    """Per block: as many as the shared memory serves, up to MOST_WARPS warps."""
    shared: int
    """Bytes of shared memory; 0 if not even one warp's areas fit."""
    numbers: int
    """float64 numbers of global memory per block instead; 0 if shared memory serves."""

    @classmethod
    def of(cls, K: int, per_node: int, slopes: bool) -> Staging:
        """Lay out the areas ``FIT_AREA``, or with `slopes` ``SLOPES_AREA``, of the .cuh files."""
        slots, outputs = 2 * per_node, 2 * per_node - 1
        staged = (row_length(K) + 2 + K * (K + 1) // 2) | 1
        area = slots * staged + slots * outputs
        if slopes:
            area += slots * outputs + 2 * outputs * row_length(K) + slots
        lanes = 1 << (slots - 1).bit_length()
        of_warp = WARP // lanes * (area | 1)
        warps = min(MOST_WARPS, SHARED // (8 * of_warp))
        if warps == 0:
            return cls(WARP, 0, of_warp)
        return cls(WARP * warps, 8 * of_warp * warps, 0)

    def room(self, blocks: int) -> Any:
        """Return the global memory of so many blocks."""
        return cupy.empty(max(1, blocks * self.numbers), cupy.float64)

    @property
    def options(self) -> dict[str, int]:
        """What `launch` must know."""
        return {"block": self.threads, "shared": self.shared, "staged": int(self.numbers > 0)}

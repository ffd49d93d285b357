"""What every fit works on: weighted point sets, packed, checked once and handed to the kernels in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gmengine.backend import Array, kernels, namespace
from gmengine.fitting._frame import Moments, enter, leave, parts

_RELATIVE_FLOOR = 1e-6  # of the squared side: float32 still inverts a covariance of that condition
_PIECE = 2**21  # coordinates per kernel call: bounds the memory of float64 copies and random numbers


@dataclass(frozen=True)
class Sets:
    """Points (total, K) with masses (total,), both of NumPy or CuPy; set s is offsets[s] to offsets[s + 1].

    floors (S,) are the sets' covariance floors, the variance of every point by itself; None: relative to their
    boxes, and only there to keep covariances from collapsing. With `density` the masses of a
    set count relative to their sum. Already checked.
    """

    points: Array
    masses: Array
    offsets: np.ndarray
    floors: np.ndarray | None
    density: bool = False

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def pieces(self) -> Iterator[tuple[int, Piece]]:
        """Yield the sets in order, some at a time, as kernels take them, with the first one's index."""
        most = max(1, _PIECE // self.points.shape[1])
        begin = 0
        while begin < len(self):
            end = int(np.searchsorted(self.offsets, self.offsets[begin] + most, side="right")) - 1
            end = max(end, begin + 1)
            yield begin, self._piece(begin, end)
            begin = end

    def _piece(self, begin: int, end: int) -> Piece:
        xp = namespace(self.points)
        part = slice(int(self.offsets[begin]), int(self.offsets[end]))
        offsets = self.offsets[begin : end + 1] - self.offsets[begin]
        points, masses = (xp.astype(a[part], xp.float64) for a in (self.points, self.masses))
        floors = None if self.floors is None else self.floors[begin:end]
        blurred = floors is not None
        return Piece.of(points, masses, offsets, floors, blurred=blurred, density=self.density)


@dataclass(frozen=True)
class Piece:
    """Sets as kernels take them: float64, their frames, floors (S,), and offsets on the host and beside the points.

    blurred: every point is a Gaussian of covariance floor I; else it is a point, and the floor a regulariser.
    """

    points: Array
    masses: Array
    offsets: Array
    host_offsets: np.ndarray
    frames: Array
    floors: Array
    blurred: bool
    density: bool

    @classmethod
    def of(
        cls,
        points: Array,
        masses: Array,
        offsets: np.ndarray,
        floors: Any,
        *,
        blurred: bool,
        density: bool = False,
    ) -> Piece:
        """Find the frames, and the floors where `floors` (S,) is None."""
        xp = namespace(points)
        there = xp.asarray(offsets)
        frames = kernels("fit_em", points).frames(points, masses, there)
        if floors is None:
            side = parts(frames)[2]
            with np.errstate(over="ignore"):  # infinite sides are reported with the result
                floors = _RELATIVE_FLOOR * xp.where(side > 0, side, 1.0) ** 2
        floors = xp.asarray(floors, dtype=xp.float64)
        return cls(points, masses, there, offsets, frames, floors, blurred, density)

    def __len__(self) -> int:
        return len(self.host_offsets) - 1

    @property
    def dim(self) -> int:
        """K."""
        return int(self.points.shape[1])

    def clusters(
        self, uniforms: np.ndarray, rounds: int, furthest: bool
    ) -> tuple[Array, Array, Array, Array]:
        """Return the clusters' moments in the frame and the labels; see `cpu.fit_kmeans.clusters`."""
        kernel = kernels("fit_kmeans", self.points).clusters
        uniforms = namespace(self.points).asarray(uniforms)
        return kernel(self.points, self.masses, self.offsets, self.frames, uniforms, rounds, furthest)

    def steps(self, moments: Moments, count: int, tol: float) -> Moments:
        """Return the moments, in the frame, after EM steps; see `cpu.fit_em.steps`."""
        kernel = kernels("fit_em", self.points).steps
        given = self.points, self.masses, self.offsets, self.frames, self.floors, self.blurred
        return kernel(*given, *moments, count, tol)[:3]

    def enter(self, moments: Moments) -> Moments:
        """Return mixtures in the caller's units in the frame."""
        return enter(self.frames, self.floors, *moments)

    def leave(self, moments: Moments) -> Moments:
        """Return mixtures in the frame in the caller's units."""
        frames, xp = self.frames, namespace(self.points)
        if self.density:
            total = xp.astype(frames[:, -1:] > 0, xp.float64)
            frames = xp.concat([frames[:, :-1], total], axis=1)
        return leave(frames, self.floors, *moments)

"""What the fits of point sets share by CUDA: the points of positive mass of every set, in its frame."""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._launch import launch, ready


def wide(array: Any) -> Any:
    """Return the array contiguous and in float64, itself if it is so already."""
    return ready(array.astype(cupy.float64, copy=False))


def find_frames(points: Any, masses: Any, offsets: Any) -> Any:
    """Return the frame of every set, (S, K + 3) float64: centre (K), scale, longest side and total mass."""
    S, K = len(offsets) - 1, points.shape[1]
    result = cupy.empty((S, K + 3), cupy.float64)
    args = ready(points), wide(masses), ready(offsets), result
    launch("_fit_sets", "fit_frames", S, args, dim=K, dtype=points.dtype)
    return result


def gather(points: Any, masses: Any, offsets: Any, frames: Any) -> tuple[Any, Any, Any, Any]:
    """Return the points of positive mass: coordinates, shares, indices and, for every set, their number.

    Every set keeps its place in the arrays; what comes behind its last point of positive mass is left as it is.
    Coordinates, axis by axis for every set, have the dtype of `points`.
    """
    S, (total, K) = len(offsets) - 1, points.shape
    x, share = cupy.empty(total * K, points.dtype), cupy.empty(total, cupy.float64)
    index, counts = cupy.empty(total, cupy.int32), cupy.empty(S, cupy.int32)
    args = ready(points), wide(masses), ready(offsets), wide(frames), x, share, index, counts
    launch("_fit_sets", "fit_gather", S, args, dim=K, dtype=points.dtype)
    return x, share, index, counts

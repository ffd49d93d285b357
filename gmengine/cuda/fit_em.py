"""Expectation maximisation (EM) of many samples at once, by CUDA; `gmengine.cpu.fit_em` says what it computes.

Points may also be float32: then pairs of points and components are computed in float32, in the frame, and summed in
float64; everything else is float64 in any case.
"""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._fit_sets import find_frames, gather, wide
from gmengine.cuda._launch import launch, on_device, ready
from gmengine.cuda._pairs import new_rows


@on_device
def frames(points: Any, masses: Any, offsets: Any) -> Any:
    """Return the frame of every sample, (S, K + 3): centre (K), scale, longest side and total mass."""
    return find_frames(points, masses, offsets)


@on_device
def steps(
    points: Any,
    masses: Any,
    offsets: Any,
    frames: Any,
    floors: Any,
    blurred: bool,
    weights: Any,
    means: Any,
    covariances: Any,
    count: int,
    tol: float,
) -> tuple[Any, ...]:
    """Return (weights, means, covariances, log_likelihood, taken) after at most `count` EM steps.

    One block takes all steps of a sample, until `tol` stops it: nothing waits for the host.
    """
    (S, N), (total, K), dtype = weights.shape, points.shape, points.dtype
    offsets = ready(offsets)
    x, share, _, counts = gather(points, masses, offsets, frames)
    outputs = tuple(wide(a).copy() for a in (weights, means, covariances))
    likelihood, taken = cupy.empty(S, cupy.float64), cupy.empty(S, cupy.int32)
    rows, members = new_rows(S, N, K, 1, dtype), cupy.empty((S, N), cupy.int32)
    tops, parts = cupy.empty(total, dtype), cupy.empty(total, dtype)
    given = x, share, offsets, counts, wide(frames), wide(floors)
    args = *given, *outputs, rows, members, tops, parts, likelihood, taken, N, count, int(blurred), float(tol)
    launch("fit_em", "fit_em_steps", S, args, dim=K, dtype=dtype)
    return *outputs, likelihood, taken

"""Weighted k-means of many samples at once, by CUDA; `gmengine.cpu.fit_kmeans` says what it computes.

Points may also be float32: then distances are computed in float32, in the frame, and ties reach as far as its rounding;
everything else is float64 in any case. Sums have a fixed order of their own: in float64 both houses draw the same seeds
as long as no random number lies within rounding of a boundary between two points.
"""

from __future__ import annotations

from typing import Any

import cupy

from gmengine.cuda._fit_sets import gather, wide
from gmengine.cuda._launch import launch, on_device, ready
from gmengine.errors import ArgumentError


@on_device
def clusters(
    points: Any, masses: Any, offsets: Any, frames: Any, uniforms: Any, rounds: int, furthest: bool
) -> tuple[Any, ...]:
    """Return (weights, means, covariances, labels) of the clusters of every sample, in its frame.

    One block takes all rounds of a sample: nothing waits for the host.
    """
    (S, N, trials), (total, K), dtype = uniforms.shape, points.shape, points.dtype
    if not trials and not furthest:
        raise ArgumentError(
            "k-means++: expected at least one random number per centre, got uniforms of no trial"
        )
    offsets = ready(offsets)
    x, share, index, counts = gather(points, masses, offsets, frames)
    weights, means, covariances = (cupy.zeros((S, N, *(K,) * rank), cupy.float64) for rank in range(3))
    labels = cupy.full(total, -1, dtype=cupy.int32)
    nearest, found = cupy.empty(total, dtype), cupy.empty(S, cupy.int32)
    sizes, own = cupy.empty((S, N), cupy.int32), cupy.empty(total, cupy.int32)
    given, moments = (x, share, offsets, counts), (weights, means, covariances)
    if furthest:
        seeded = *given, means, nearest, found, N
        launch("fit_kmeans", "fit_kmeans_furthest", S, seeded, dim=K, dtype=dtype)
    else:
        drawn = *given, wide(uniforms), means, nearest, found, N, trials
        launch("fit_kmeans", "fit_kmeans_seed", S, drawn, dim=K, dtype=dtype)
    args = *given, index, found, *moments, labels, sizes, own, nearest, N, rounds
    launch("fit_kmeans", "fit_kmeans_lloyd", S, args, dim=K, dtype=dtype)
    return *moments, labels

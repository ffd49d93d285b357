"""What a benchmark case is, how it is timed, and what is written down with its figures."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gmengine import Mixture
from gmengine.threads import get_num_threads


@dataclass(frozen=True)
class Question:
    """What a peer would have to do to stand beside a case: an op, its inputs, and whether with all gradients."""

    op: str
    inputs: tuple[Any, ...]
    gradients: bool


@dataclass(frozen=True)
class Case:
    """One thing to time.

    name: what and how large.  run: does it once.  work: how many `unit` one run does (pairs, components, samples).
    question: the same for peers.  quality: numbers of a result, ours or a peer's, that must stand beside the times
    where results may differ; peers' values are then not compared with ours.
    """

    name: str
    run: Callable[[], Any]
    work: float
    unit: str
    question: Question | None = None
    quality: Callable[[Any], dict[str, float]] | None = None


def measure(case: Case, *, repeats: int) -> dict[str, Any]:
    """Time `case` after one warm-up run, which compiles; return median, minimum and spread in seconds."""
    began = time.perf_counter()
    result = case.run()
    first = time.perf_counter() - began
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        case.run()
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds)
    return {
        "name": case.name,
        "first_seconds": first,
        "median_seconds": median,
        "min_seconds": min(seconds),
        "max_seconds": max(seconds),
        "unit": case.unit,
        "rate": case.work / median,
    } | ({"quality": case.quality(result)} if case.quality else {})


def environment(peers: Mapping[str, ModuleType] | None = None) -> dict[str, Any]:
    """Return what one must know to read the figures: processor, threads, versions."""
    import numba

    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": get_num_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "system": platform.platform(),
    } | {k: v for peer in (peers or {}).values() for k, v in peer.versions().items()}


def write_json(
    path: str | os.PathLike[str], results: list[dict[str, Any]], peers: Mapping[str, ModuleType] | None = None
) -> None:
    """Write environment and results as JSON, through a temporary name."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(target.suffix + ".tmp")
    temporary.write_text(json.dumps({"environment": environment(peers), "results": results}, indent=1) + "\n")
    temporary.replace(target)


def random_mixture(
    batch: tuple[int, ...], n: int, dim: int, *, seed: int = 0, signed: bool = True
) -> Mixture:
    """Return a float32 mixture like a layer's input: means in a box of about 6 units, covariances of order one."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((*batch, n))
    factors = 0.3 * rng.standard_normal((*batch, n, dim, dim)) + 0.7 * np.eye(dim)
    covariances = factors @ np.swapaxes(factors, -1, -2) + 0.1 * np.eye(dim)
    means = 3.0 * rng.standard_normal((*batch, n, dim))
    return Mixture(weights if signed else np.abs(weights) + 0.01, means, covariances).astype("float32")

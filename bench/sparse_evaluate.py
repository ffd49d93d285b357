"""``python -m bench.sparse_evaluate``: when does `evaluate` gain by leaving out what no point can feel?

Mixtures of isotropic components, means and points uniform in a unit cube, one mixture: every pair (dense), the plan of
`gmengine.cpu._tiles` whatever it finds (forced), and what `evaluate` does by itself (chosen). The three take turns;
medians of processor time, of all threads together, which other work on the machine changes little. `error` is the
largest difference between forced and dense values, in units of eps times the sum of absolute terms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.harness import write_json
from gmengine.cpu._values import values_planned
from gmengine.cpu.evaluate import _every_pair as values_dense
from gmengine.cpu.evaluate import forward

SIZES = (
    (2, 10_000, 65_536, (0.003, 0.01, 0.03, 0.1)),
    (2, 1280, 65_536, (0.01, 0.02, 0.05, 0.2)),
    (2, 320, 65_536, (0.02, 0.05)),
    (3, 10_000, 65_536, (0.01, 0.03, 0.1)),
    (3, 1280, 16_384, (0.01, 0.03, 0.1)),
    (2, 1280, 4096, (0.01, 0.05)),
)


def in_turns(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the median seconds of processor time of each run; one after the other, again and again."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            began = time.process_time()
            run()
            if repeat:  # the first compiles
                seconds[name].append(time.process_time() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


def measure(dim: int, n: int, points: int, sigma: float, dtype: str, repeats: int) -> dict[str, Any]:
    """Return the figures of one mixture."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((1, n)).astype(dtype)
    covariances = np.tile(sigma**2 * np.eye(dim), (1, n, 1, 1)).astype(dtype)
    means, x = (rng.uniform(0.0, 1.0, (1, size, dim)).astype(dtype) for size in (n, points))
    inputs = weights, means, covariances, x
    dense, forced = values_dense(*inputs), values_planned(*inputs, few=(1, 1))[0]
    size = np.maximum(values_dense(np.abs(weights), *inputs[1:]), np.finfo(dtype).tiny)
    runs = {
        "dense": lambda: values_dense(*inputs),
        "forced": lambda: values_planned(*inputs, few=(1, 1)),
        "chosen": lambda: forward(*inputs),
    }
    large = {"K": dim, "N": n, "P": points, "sigma": sigma, "dtype": dtype}
    error = float(np.max(np.abs(dense - forced) / size) / np.finfo(dtype).eps)
    return large | in_turns(runs, repeats) | {"error": error, "load": os.getloadavg()[0]}


def main() -> None:
    """Measure all sizes and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.sparse_evaluate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, once: does it still run?")
    parser.add_argument("--json", metavar="FILE", help="also write the figures, with machine and versions")
    arguments = parser.parse_args()
    sizes = ((2, 40, 200, (0.01,)),) if arguments.smoke else SIZES
    repeats = 1 if arguments.smoke else arguments.repeats
    rows = []
    print("| K | N | P | sigma | dtype | dense | forced | chosen | error |\n|" + " ---: |" * 9)
    for dtype in ("float32", "float64"):
        for dim, n, points, sigmas in sizes:
            for sigma in sigmas:
                row = measure(dim, n, points, sigma, dtype, repeats)
                rows.append(row)
                times = f"{1e3 * row['dense']:.2f} ms | " + " | ".join(
                    f"{row['dense'] / row[name]:.2f} x" for name in ("forced", "chosen")
                )
                print(
                    f"| {dim} | {n} | {points} | {sigma} | {dtype} | {times} | {row['error']:.1f} |",
                    flush=True,
                )
    if arguments.json:
        write_json(arguments.json, rows)


if __name__ == "__main__":
    main()

"""``python -m bench.profile [--layers SPEC] [--dim K] [--batch B] [--steps N] [--json FILE]``: inside a training step.

Prints where the time of a step goes, of the wall clock on this thread while the kernels' other threads work beside it,
and how much memory it takes beside what the tape has to hold.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from bench import memory
from bench.harness import write_json
from bench.stopwatch import FORWARD, VJP, Stopwatch, watching
from bench.workload import SPEC, training_step


def main() -> None:
    """Print the tables, and write them down if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__.split("\n")[0])
    parser.add_argument("--layers", metavar="SPEC", default=SPEC, help=f"the network (default: {SPEC})")
    parser.add_argument("--dim", type=int, default=2, help="dimensions of space (default: 2)")
    parser.add_argument("--batch", type=int, default=16, help="samples in a step (default: 16)")
    parser.add_argument("--steps", type=int, default=30, help="timed steps (default: 30)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures, with machine and versions")
    arguments = parser.parse_args()
    what = f"training step {arguments.layers} K={arguments.dim} batch {arguments.batch}"
    times = profile(arguments.layers, arguments.dim, arguments.batch, arguments.steps)
    print(f"{what}, {arguments.steps} steps\n\n{table(times)}", flush=True)
    held = memory.measured(arguments.layers, arguments.dim, arguments.batch)
    print(
        f"memory: peak {held['peak'] / 1e6:.1f} MB ({held['peak_seen_by_python'] / 1e6:.1f} MB of it NumPy's), "
        f"{held['peak'] / held['tape']:.2f} times the {held['tape'] / 1e6:.1f} MB that the tape holds, "
        f"{held['peak'] / held['appendix_a']:.2f} times the {held['appendix_a'] / 1e6:.1f} MB of appendix A"
    )
    if arguments.json:
        write_json(arguments.json, [{"name": what, **times, "bytes": held}])


def profile(spec: str, dim: int, batch: int, steps: int) -> dict[str, Any]:
    """Return the seconds of one step: whole, per sample, of all cores, and by row and column of the table."""
    _, step = training_step(spec, dim, batch)
    for _ in range(3):
        step()
    watch = Stopwatch()
    with watching(watch):
        cores, began = time.process_time(), time.perf_counter()
        for _ in range(steps):
            step()
        seconds, cores = time.perf_counter() - began, time.process_time() - cores
    rows = {row for row, _ in watch.seconds}
    parts = {row: {c: watch.seconds[row, c] / steps for c in (FORWARD, VJP)} for row in rows}
    rest = seconds / steps - sum(sum(part.values()) for part in parts.values())
    parts["rest"] = {FORWARD: rest, VJP: 0.0}
    return {
        "step_seconds": seconds / steps,
        "sample_seconds": seconds / steps / batch,
        "processor_seconds": cores / steps,
        "calls": {row: {c: watch.calls[row, c] / steps for c in (FORWARD, VJP)} for row in rows},
        "parts": dict(sorted(parts.items(), key=lambda item: -sum(item[1].values()))),
    }


def table(times: dict[str, Any]) -> str:
    """Return the profile as text, the largest part first."""
    whole = times["step_seconds"]
    lines = [f"{'':<34}{'forward':>12}{'vjp':>12}{'share':>9}{'calls':>8}"]
    for row, part in times["parts"].items():
        calls = sum(times["calls"].get(row, {}).values())
        lines.append(
            f"{row:<34}{part[FORWARD] * 1e3:>9.2f} ms{part[VJP] * 1e3:>9.2f} ms"
            f"{100 * sum(part.values()) / whole:>7.1f} %{calls:>8.0f}"
        )
    lines.append(
        f"\none step {whole * 1e3:.1f} ms, one sample {times['sample_seconds'] * 1e3:.2f} ms; "
        f"{times['processor_seconds'] / whole:.2f} cores were busy"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""``python -m bench [--op NAME] [--peers] [--smoke] [--repeats N] [--json FILE]``: time the ops and print rates."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from bench import gpu
from bench.harness import measure, write_json
from bench.peers import available
from bench.rivals import compare


def main() -> None:
    """Run the chosen benchmarks and print one line for each case."""
    names = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Time gmengine's ops and a training step."
    )
    parser.add_argument("--op", choices=names, action="append", help="only this one (may be repeated)")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes, once: does every benchmark still run?"
    )
    parser.add_argument("--repeats", type=int, default=7, help="timed runs of each case after the warm-up")
    parser.add_argument(
        "--peers", action="store_true", help="also time what else is installed, and a C++ limit if g++ is"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures, with machine and versions")
    parser.add_argument(
        "--device",
        default="cpu",
        help="cuda or cuda:<index>: the kernels of a GPU, timed with events; host: those kernels on the CPU",
    )
    arguments = parser.parse_args()
    if arguments.device != "cpu":
        repeats = 1 if arguments.smoke else arguments.repeats
        gpu.main(arguments.device, arguments.smoke, repeats, arguments.json and Path(arguments.json))
        return
    peers, missing = available() if arguments.peers else ({}, {})
    for name, reason in missing.items():
        print(f"peer {name} is left out: {reason}")
    repeats = 1 if arguments.smoke else arguments.repeats
    results = []
    for name in arguments.op or names:
        for case in importlib.import_module(f"bench.bench_{name}").cases(arguments.smoke):
            result = measure(case, repeats=repeats)
            result["peers"] = compare(case, peers, repeats=repeats)
            results.append(result)
            print(
                f"{result['name']:<58} {result['median_seconds'] * 1e3:10.2f} ms   "
                f"{result['rate']:10.3g} {result['unit']}/s   first {result['first_seconds']:.2f} s",
                flush=True,
            )
            _print_quality(result)
            for peer, theirs in result["peers"].items():
                print(
                    f"    {peer + ' ' + theirs['form']:<54} {theirs['median_seconds'] * 1e3:10.2f} ms   "
                    f"{theirs['ratio']:8.2f} times ours",
                    flush=True,
                )
                _print_quality(theirs)
    if arguments.json:
        write_json(arguments.json, results, peers)


def _print_quality(result: dict[str, Any]) -> None:
    if "quality" in result:
        print("        " + ", ".join(f"{name} {value:.4f}" for name, value in result["quality"].items()))


if __name__ == "__main__":
    main()

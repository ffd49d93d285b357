"""``python -m bench.report RESULTS.json [--only NAME ...] [--readme FILE]``: the committed figures as a Markdown table.

With --readme the table replaces what stands between the two marks in that file, so that no figure is typed by hand.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
SHOWN = ("limit", "numpy_arrays", "scikit_learn", "jax_jit", "torch_compile", "keops")


def main() -> None:
    """Print the table, or put it into the README."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, help="what `python -m bench --peers --json FILE` wrote")
    parser.add_argument("--readme", type=Path, help="replace the table in this file instead of printing it")
    parser.add_argument("--only", nargs="+", default=[""], help="cases whose names begin with one of these")
    arguments = parser.parse_args()
    text = table(json.loads(arguments.results.read_text()), tuple(arguments.only))
    if arguments.readme is None:
        print(text)
        return
    before, rest = arguments.readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    arguments.readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def table(figures: dict[str, Any], prefixes: tuple[str, ...]) -> str:
    """Return one row per case: our time and rate, and how many times as long each peer took in the same run."""
    results = [r for r in figures["results"] if r["name"].startswith(prefixes)]
    peers = [p for p in SHOWN if any(p in r.get("peers", {}) for r in results)]
    head = ["work", "median", "rate", *(p.replace("_", " ") for p in peers)]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    rows += [
        [r["name"], _time(r["median_seconds"]), _rate(r), *(_ratio(r, p) for p in peers)] for r in results
    ]
    environment = ", ".join(f"{k} {v}" for k, v in figures["environment"].items())
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\nMeasured with: {environment}."


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _rate(result: dict[str, Any]) -> str:
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if result["rate"] >= factor:
            return f"{result['rate'] / factor:.3g} {prefix} {result['unit']}/s"
    return f"{result['rate']:.3g} {result['unit']}/s"


def _ratio(result: dict[str, Any], peer: str) -> str:
    found = result.get("peers", {}).get(peer)
    if not found:
        return ""
    return f"{found['ratio']:.2f}" if found["ratio"] < 10 else f"{found['ratio']:.0f}"


if __name__ == "__main__":
    main()

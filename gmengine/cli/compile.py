"""Compile kernels ahead of their first use, for the given dimensions and dtypes."""

from __future__ import annotations

import argparse

from gmengine.training import warm_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--dim",
        type=int,
        nargs="+",
        default=[2, 3],
        choices=range(1, 11),
        metavar="K",
        help="spatial dimensions, 1 to 10 (default: 2 3)",
    )
    parser.add_argument(
        "--dtype",
        nargs="+",
        default=["float32"],
        choices=["float32", "float64"],
        help="(default: float32)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run every op once and print how long each took."""
    total = 0.0
    for dim in arguments.dim:
        for dtype in arguments.dtype:
            for name, seconds in warm_up(dim, dtype):
                total += seconds
                print(f"K={dim} {dtype:<8} {name:<20} {seconds:7.2f} s", flush=True)
    print(f"{total:.1f} s in all; what was compiled is kept on disk")
    return 0

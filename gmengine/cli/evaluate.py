"""Measure the accuracy of a trained run."""

from __future__ import annotations

import argparse
import sys

from gmengine.cli.progress import Screen
from gmengine.cli.train import add_threads, chosen_device
from gmengine.training import PARTS, evaluate, limited_threads, load_checkpoint, load_part, result_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of the run, or its checkpoint")
    parser.add_argument("--data", metavar="DATASET", help="another data set than the run's")
    parser.add_argument(
        "--split",
        choices=PARTS,
        help="part of the data set (default: test; all of a data set that the run was not trained on)",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="another device than the run's; also GMENGINE_DEVICE"
    )
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the accuracy per class and over all."""
    found = load_checkpoint(arguments.run_folder, chosen_device(arguments))
    screen = Screen()
    watch = screen.fit if sys.stdout.isatty() else None  # what is printed elsewhere is the result alone
    with limited_threads(arguments.threads):
        part, name, source = load_part(
            found.config, found.task, found.net, arguments.data, arguments.split, watch
        )
        epoch, model = result_of(found)
        measured = evaluate(found.net, *model, part)
    print(f"model of epoch {epoch} on {source}, split {name}")
    width = max(5, *(len(each) for each in found.task.class_names))
    print(f"{'class':<{width}}  accuracy  correct      n")
    for each, correct, n in zip(found.task.class_names, measured.correct, measured.counts, strict=True):
        share = f"{correct / n:8.4f}" if n else f"{'-':>8}"
        print(f"{each:<{width}}  {share}  {correct:7d}  {n:5d}")
    print(f"{name} accuracy {measured.accuracy:.4f} (n={measured.n})")
    return 0

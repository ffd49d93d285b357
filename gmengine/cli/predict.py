"""Classify the mixtures or images of a file with a trained run."""

from __future__ import annotations

import argparse
import json

import numpy as np

from gmengine.cli.train import add_threads, chosen_device
from gmengine.training import limited_threads, load_checkpoint, predict, read_mixtures, result_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of the run, or its checkpoint")
    parser.add_argument(
        "file",
        metavar="FILE",
        help=".npz store of mixtures, or .npy array of gray images (n, H, W) or (H, W)",
    )
    parser.add_argument("--json", action="store_true", help="print a list of objects instead of a table")
    parser.add_argument(
        "--device", metavar="NAME", help="another device than the run's; also GMENGINE_DEVICE"
    )
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print index, class and probability of every sample."""
    found = load_checkpoint(arguments.run_folder, chosen_device(arguments))
    with limited_threads(arguments.threads):
        mixtures = read_mixtures(arguments.file, found.net)
        _, model = result_of(found)
        probabilities = np.exp(predict(found.net, *model, mixtures).astype(np.float64))
    names = found.task.class_names
    rows = [
        {"index": i, "class": names[each.argmax()], "probability": float(each.max())}
        for i, each in enumerate(probabilities)
    ]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    print("index\tclass\tprobability")
    for row in rows:
        print(f"{row['index']}\t{row['class']}\t{row['probability']:.4f}")
    return 0

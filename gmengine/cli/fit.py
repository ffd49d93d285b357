"""Fit mixtures to a data set and keep them in a folder: a store to train on, or to load from Python."""

from __future__ import annotations

import argparse

from gmengine.cli.progress import Screen
from gmengine.cli.signals import Interrupted
from gmengine.cli.train import add_threads, pairs
from gmengine.data import RawData, build, kept_store, sampled_quality
from gmengine.errors import DataError
from gmengine.training import limited_threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("dataset", metavar="DATASET", help="name of a data set (see gmengine data list), or name:folder")
    add("--components", type=int, required=True, metavar="N", help="components of every mixture")
    add(
        "--out", metavar="DIR", help="folder of the store (default: in the cache, where gmengine train looks)"
    )
    add("--method", default="kmeans+em", metavar="M", help="see docs/fitting.md (default: %(default)s)")
    add("--steps", type=int, metavar="S", help="EM steps at most (default: the method's, 1 of kmeans+em)")
    add("--seed", type=int, default=0, metavar="S", help="of the fits (default: %(default)s)")
    add("--dtype", default="float32", choices=["float32", "float64"], help="(default: %(default)s)")
    add_options(parser)
    add_threads(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare --option, which all commands that read raw data share."""
    text = "how raw data are read, such as points=2048 (see gmengine data info); may be repeated"
    parser.add_argument("--option", action="append", metavar="OPTION=VALUE", default=[], help=text)


def run(arguments: argparse.Namespace) -> int:
    """Make the store, or go on with it, and print how good a sample of it is."""
    screen = Screen()
    how = {"method": arguments.method, "steps": arguments.steps, "init": "kmeans++", "tol": None}
    raw, n = RawData(arguments.dataset, pairs("--option", arguments.option)), arguments.components
    place = arguments.out
    try:
        with limited_threads(arguments.threads):
            if not raw.is_known:
                screen.fit(0, 0, 0.0)
            place = place or kept_store(raw, n, how, arguments.seed, arguments.dtype)
            if place is None:
                raise DataError("there is no folder for a cache: name one with --out")
            collection = raw.collection()
            how |= {"seed": arguments.seed, "dtype": arguments.dtype, "progress": screen.fit}
            store = build(collection, n, place, **how)
            found = sampled_quality(store, collection)
    except Interrupted as interruption:
        screen.end_line()
        kept = f"finished shards are in {place}; " if screen.fitting and place is not None else ""
        interruption.advice = f"; {kept}the same command goes on with the rest"
        raise
    except BaseException:
        screen.end_line()
        raise
    train, valid, test = store.sizes
    print(f"{store.name}: {train:,} training, {valid:,} validation, {test:,} test objects in {store.folder}")
    measured = found.summary()
    words = [f"mean log-likelihood {measured['log_likelihood']['mean']:.4f} nats"]
    if "image.psnr" in measured:
        words.append(f"PSNR {measured['image.psnr']['mean']:.1f} dB")
    print(f"{', '.join(words)} (of {len(found)} objects)")
    return 0

"""Train a network on a data set, or go on with an interrupted run."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gmengine.cli.progress import Screen
from gmengine.cli.signals import Interrupted
from gmengine.errors import ArgumentError
from gmengine.training import (
    CHECKPOINT,
    Run,
    RunConfig,
    Watcher,
    environment_options,
    limited_threads,
    resume,
    suited_options,
    train,
)

_DEFAULT = RunConfig()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; a flag that is not given leaves the field to the data set, or else to RunConfig."""
    add = parser.add_argument
    text = "name of a data set (see gmengine data list), name:folder, folder of a store, or .npz file"
    add("dataset", nargs="?", metavar="DATASET", help=text)
    add("--out", metavar="RUN", help="folder of the run (default: runs/<dataset>, numbered if it exists)")
    add("--resume", metavar="RUN", help="go on with the run in this folder")
    _field(parser, "layers", str, "SPEC", "channels/components per layer, the input first")
    _field(parser, "epochs", int, "N", "passes over the training split")
    _field(parser, "batch_size", int, "B", "mixtures per step")
    _field(parser, "lr", float, "RATE", "Adam's rate at the peak of the schedule")
    _field(
        parser,
        "schedule",
        str,
        None,
        "of the rate; plateau watches the validation split",
        RunConfig.SCHEDULES,
    )
    _field(parser, "weight_decay", float, "RATE", "of the kernels, relative to Adam's rate")
    _field(parser, "max_norm", float, "NORM", "longer gradients are shortened to it")
    _field(parser, "augment", float, "STRENGTH", "random linear map of every training sample, 0 for none")
    add(
        "--augmentation",
        action="append",
        metavar="OPTION=VALUE",
        help="further random variations: rotation=full axis=z scale=0.2 shift=0.1 reflect=x drop=0.1 jitter=0.1; "
        "may be repeated",
    )
    _field(parser, "average", float, "DECAY", "running average of the parameters, 0 for none")
    _field(parser, "seed", int, "S", "of the first parameters and the order of batches")
    _field(parser, "dtype", str, None, "also GMENGINE_DTYPE", RunConfig.DTYPES)
    _field(parser, "device", str, "NAME", "cpu, cuda or cuda:<index>; also GMENGINE_DEVICE")
    _field(parser, "limit_train", int, "N", "use only N training samples, for a quick look")
    add(
        "--fit",
        action="append",
        metavar="OPTION=VALUE",
        help="how inputs are fitted, such as steps=5 or method=eckart-soft; may be repeated",
    )
    add(
        "--option",
        action="append",
        metavar="OPTION=VALUE",
        help="how raw data are read, such as points=2048 (see gmengine data info); may be repeated",
    )
    add(
        "--network",
        action="append",
        metavar="OPTION=VALUE",
        help="a further option of the network, such as radius=2.0; may be repeated",
    )
    add_threads(parser)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Declare --threads, which all commands that compute share."""
    text = "also GMENGINE_NUM_THREADS, OMP_NUM_THREADS (default: all cores)"
    parser.add_argument("--threads", type=int, metavar="N", help=text)


def chosen_device(arguments: argparse.Namespace) -> str | None:
    """Return the device of the flag, else of the environment, else None: the run's own."""
    device: str | None = arguments.device or environment_options(os.environ).get("device")
    return device


def _field(
    parser: argparse.ArgumentParser,
    name: str,
    kind: type,
    metavar: str | None,
    text: str,
    choices: tuple[str, ...] | None = None,
) -> None:
    default = getattr(_DEFAULT, name)
    shown = text if default is None else f"{text} (default: {default})"
    flag = "--" + name.replace("_", "-")
    parser.add_argument(flag, type=kind, metavar=metavar, choices=choices, help=shown)


def run(arguments: argparse.Namespace) -> int:
    """Train or resume; on an interruption say how to go on."""
    work = _resumption(arguments) if arguments.resume is not None else _new_run(arguments)
    screen, folder = Screen(), arguments.resume

    def on_folder(claimed: Path) -> None:
        nonlocal folder
        folder = claimed

    try:
        with limited_threads(arguments.threads) as threads:
            watcher = Watcher(
                on_folder, screen.fit, lambda start: screen.begin(start, threads), screen.batch, screen.epoch
            )
            result = work(watcher)
    except Interrupted as interruption:
        screen.end_line()
        interruption.advice = _advice(folder, screen.fitting)
        raise
    except BaseException:
        screen.end_line()
        raise
    screen.finish(result)
    return 0


def _new_run(arguments: argparse.Namespace) -> Callable[[Watcher], Run]:
    if arguments.dataset is None:
        raise ArgumentError("name a data set, such as: gmengine train digits")
    given = {name: value for name, value in _given_fields(arguments).items() if name != "dataset"}
    suited = suited_options(arguments.dataset, given.get("fit", {}).get("read"))
    config = RunConfig(**{**suited, **environment_options(os.environ), **given})
    out = arguments.out or Path("runs", Path(config.dataset).stem)
    return lambda watcher: train(config, out=out, numbered=arguments.out is None, watcher=watcher)


def _resumption(arguments: argparse.Namespace) -> Callable[[Watcher], Run]:
    if arguments.out is not None:
        raise ArgumentError("--resume goes on in the run's own folder; leave out --out")
    changes = _given_fields(arguments)
    device = chosen_device(arguments)
    if device is not None:
        changes["device"] = device
    return lambda watcher: resume(arguments.resume, changes, watcher=watcher)


def _advice(folder: str | Path | None, fitting: bool) -> str:
    if folder is None or not Path(folder, CHECKPOINT).exists():
        if fitting:
            return " while mixtures were fitted: finished shards are kept; the same command goes on with the rest"
        return " before the run began: nothing was kept"
    again = f"gmengine train --resume {shlex.quote(str(folder))}"
    return f"; the last finished epoch is in {Path(folder, CHECKPOINT)}; go on with: {again}"


def _given_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    names = RunConfig.__dataclass_fields__
    fields = {name: value for name, value in vars(arguments).items() if name in names and value is not None}
    for name in ("network", "fit", "augmentation"):
        if name in fields:
            fields[name] = pairs(f"--{name}", fields[name])
    if arguments.option:
        fields["fit"] = {**fields.get("fit", {}), "read": pairs("--option", arguments.option)}
    return fields


def pairs(flag: str, texts: list[str]) -> dict[str, Any]:
    """Return the options that ``OPTION=VALUE`` texts set; a value is JSON, or else itself."""
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ArgumentError(f"{flag}: expected OPTION=VALUE, got {text!r}")
        try:
            options[name] = json.loads(value)
        except (ValueError, RecursionError):  # of thousands of brackets
            options[name] = value
    return options

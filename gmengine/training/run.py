"""A run from its configuration to the tested network; its folder lets it go on after any interruption."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gmengine.backend import Array, to_device
from gmengine.errors import ArgumentError, DataError
from gmengine.files import atomic_write
from gmengine.nn import Network
from gmengine.training.checkpoint import CHECKPOINT, load_checkpoint, make_network, save_checkpoint
from gmengine.training.config import RunConfig
from gmengine.training.loop import Learner, run_epoch
from gmengine.training.metrics import append_line, write_lines
from gmengine.training.progress import Progress, Tally, evaluated
from gmengine.training.splits import Splits, Task, check_source, check_task, load_splits

METRICS, CONFIG = "metrics.jsonl", "config.json"


@dataclass(frozen=True)
class Run:
    """A finished run: the network that it stands for, how it got there, and how it does on the test split.

    `test` holds accuracy, loss, n and the epoch of the model; beside them what the last epoch and the one
    that was best on validation give.
    """

    config: RunConfig
    net: Network
    params: dict[str, Array]
    state: dict[str, Array]
    history: tuple[dict[str, Any], ...]
    test: dict[str, Any]
    folder: Path | None


class Start(NamedTuple):
    """What is known before the first step."""

    config: RunConfig
    task: Task
    learner: Learner
    epoch: int  # finished so far
    folder: Path | None
    available: int | None = None  # training samples before the configuration's limit


@dataclass(frozen=True)
class Watcher:
    """Whom a run tells what happens; the library itself never prints.

    Parameters
    ----------
    on_folder : callable, optional
        Is called with the folder of a new run as soon as it is claimed; it goes again if the run does not get
        as far as its first checkpoint.
    on_fit : callable, optional
        Is called with the objects fitted so far, their total (0 while raw data are read) and how many a second
        are fitted, where the data are not yet mixtures.
    on_start : callable, optional
        Is called with a `Start` once the data are loaded and the first checkpoint is written.
    on_batch : callable, optional
        Is called with the number of the epoch and the `Tally` of its batches so far.
    on_epoch : callable, optional
        Is called with the line of metrics of every epoch, after its checkpoint is written.
    """

    on_folder: Callable[[Path], object] | None = None
    on_fit: Callable[[int, int, float], object] | None = None
    on_start: Callable[[Start], object] | None = None
    on_batch: Callable[[int, Tally], None] | None = None
    on_epoch: Callable[[dict[str, Any]], object] | None = None


def train(
    config: RunConfig,
    *,
    out: str | os.PathLike[str] | None = None,
    numbered: bool = False,
    on_epoch: Callable[[dict[str, Any]], object] | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Train a network from the start and test it.

    Parameters
    ----------
    config : RunConfig
        What to do.
    out : path-like, optional
        Folder for config.json, metrics.jsonl and checkpoint.npz; must not hold a run. Without it nothing is
        written.
    numbered : bool
        If `out` exists, take ``<out>-2``, ``<out>-3``, ... instead.
    on_epoch : callable, optional
        Is called with the line of metrics of every epoch; short for ``watcher=Watcher(on_epoch=...)``.
    watcher : Watcher, optional
        Whom to tell what else happens.

    Raises
    ------
    ArgumentError
        If `out` holds a run already, or the layers cannot be read.
    DataError
        If the data set is unknown, missing or does not fit.
    BackendError
        If the device is not usable.
    NonFiniteError
        If the training diverges; the checkpoint of the last good epoch stays.
    OSError
        If `out` cannot be written to, which is found out before any work, or the disk is full; the last
        checkpoint stays.
    """
    net = make_network(config, dim=2)  # a mistake in the layers is found before anything is touched
    check_source(config)
    to_device(np.zeros(1), config.device)
    watcher = watcher or Watcher(on_epoch=on_epoch)
    folder, made = (None, []) if out is None else _claim(Path(out), numbered)
    try:
        if folder is not None and watcher.on_folder is not None:
            watcher.on_folder(folder)
        splits = load_splits(config, net, watcher.on_fit)
        task = splits.task
        check_task(task, net)
        learner = Learner(config, make_network(config, task.dim), task.sizes[0])
        progress = learner.init()
        if folder is not None:
            save_checkpoint(folder / CHECKPOINT, config, task, progress)
            _write_words(folder, config, progress)
    except BaseException:
        _release(made)
        raise
    return _go_on(Start(config, task, learner, 0, folder, splits.available), splits, progress, watcher)


def resume(
    run: str | os.PathLike[str],
    changes: Mapping[str, Any] | None = None,
    *,
    on_epoch: Callable[[dict[str, Any]], object] | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Go on with a run where its checkpoint left it; the result is that of a run that was never interrupted.

    metrics.jsonl is rewritten from the checkpoint. A finished run is tested again.

    Parameters
    ----------
    run : path-like
        The folder that `train` wrote to.
    changes : mapping, optional
        Fields of the configuration to change, as far as `RunConfig.continued` allows.
    on_epoch, watcher : optional
        As of `train`.

    Raises
    ------
    ArgumentError
        If `changes` contradict the run.
    DataError
        If there is no checkpoint, or the data set is no longer what the run began with.
    FileFormatError
        If the checkpoint is damaged.
    """
    folder = Path(run)
    changes = dict(changes or {})
    found = load_checkpoint(folder, changes.get("device"))
    config = found.config.continued(changes)
    watcher = watcher or Watcher(on_epoch=on_epoch)
    splits = load_splits(config, found.net, watcher.on_fit)
    if splits.task != found.task:
        raise DataError(f"resume: {config.dataset} is no longer the data set that {folder} was started with")
    learner = Learner(config, found.net, found.task.sizes[0])
    for name in (CHECKPOINT, METRICS, CONFIG):
        for left_over in folder.glob(f".{name}.*.tmp"):  # of a process that was killed while writing
            left_over.unlink()
    _write_words(folder, config, found.progress)
    start = Start(config, found.task, learner, found.progress.epoch, folder, splits.available)
    return _go_on(start, splits, found.progress, watcher)


def _go_on(start: Start, splits: Splits, progress: Progress, watcher: Watcher) -> Run:
    config, learner, folder = start.config, start.learner, start.folder
    if watcher.on_start is not None:
        watcher.on_start(start)
    while progress.epoch < config.epochs:
        progress = run_epoch(learner, progress, splits.train, splits.valid, watcher.on_batch)
        # The checkpoint first: it carries the history, from which `resume` writes the lines anew.
        if folder is not None:
            save_checkpoint(folder / CHECKPOINT, config, start.task, progress)
            append_line(folder / METRICS, progress.history[-1])
        if watcher.on_epoch is not None:
            watcher.on_epoch(progress.history[-1])
    test = _test(learner, progress, splits)
    if folder is not None:
        append_line(folder / METRICS, {"test": test})
    _, model = learner.result(progress)
    return Run(config, learner.net, model.params, model.state, progress.history, test, folder)


def _test(learner: Learner, progress: Progress, splits: Splits) -> dict[str, Any]:
    last = evaluated(progress).measured(learner.net, splits.test)
    best = progress.best.model.measured(learner.net, splits.test)
    epoch, _ = learner.result(progress)
    chosen = best if learner.config.keeps_best else last
    return {
        "accuracy": chosen.accuracy,
        "loss": chosen.loss,
        "n": chosen.n,
        "epoch": epoch,
        "last_epoch": progress.epoch,
        "last_accuracy": last.accuracy,
        "best_epoch": progress.best.epoch,
        "best_accuracy": best.accuracy,
    }


def _write_words(folder: Path, config: RunConfig, progress: Progress) -> None:
    """Write config.json and metrics.jsonl, which people and plots read; the checkpoint is what counts."""
    text = json.dumps(config.to_json(), indent=2) + "\n"
    atomic_write(folder / CONFIG, lambda handle: handle.write(text.encode()))
    write_lines(folder / METRICS, progress.history)


def _claim(out: Path, numbered: bool) -> tuple[Path, list[Path]]:
    """Return a folder that can be written to and holds no run, and the folders that were made for it."""
    for i in count(1):
        folder = out if i == 1 else out.with_name(f"{out.name}-{i}")
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            missing = []
            if numbered:
                continue  # also past an empty folder: another process may have just made it
            if not folder.is_dir():
                raise
        if any((folder / name).exists() for name in (CHECKPOINT, METRICS, CONFIG)):
            raise ArgumentError(f"out: {folder} holds a run already; resume it or name another folder")
        break
    try:
        with tempfile.TemporaryFile(dir=folder):  # raises OSError where nothing can be written
            pass
    except BaseException:
        _release(missing)
        raise
    return folder, missing


def _release(folders: list[Path]) -> None:
    """Remove folders, innermost first, as far as they are empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()

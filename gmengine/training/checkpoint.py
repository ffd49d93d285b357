"""One file that a run can go on from, or be used from: written whole or not at all, read without pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gmengine.autograd import tree_map
from gmengine.backend import Array, to_device
from gmengine.errors import DataError, FileFormatError, GmengineError
from gmengine.files import read_npz, write_npz
from gmengine.nn import Network, network
from gmengine.training.config import RunConfig
from gmengine.training.loop import Learner
from gmengine.training.progress import Model, Progress
from gmengine.training.splits import Task

CHECKPOINT = "checkpoint.npz"
_KIND, _VERSION = "gmengine.checkpoint", 1


class Checkpoint(NamedTuple):
    """A checkpoint's content."""

    config: RunConfig
    task: Task
    net: Network
    learner: Learner
    progress: Progress


def make_network(config: RunConfig, dim: int) -> Network:
    """Return the network of a run on mixtures of dimension `dim`."""
    return network(config.layers, dim=dim, dtype=config.dtype, **config.network)


def save_checkpoint(path: str | os.PathLike[str], config: RunConfig, task: Task, progress: Progress) -> None:
    """Write the checkpoint atomically: whatever happens, `path` holds this one or the one before.

    Raises
    ------
    OSError
        If the folder cannot be written to or the disk is full; the file before is untouched.
    """
    numbers: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for field in ("epoch", "step", "model", "adam", "plateau", "average", "best"):
        _flatten(field, getattr(progress, field), numbers, arrays)
    header = {
        "config": config.to_json(),
        "task": task._asdict(),
        "numbers": numbers,
        "history": list(progress.history),
    }
    write_npz(path, _KIND, _VERSION, header, arrays)


def load_checkpoint(path: str | os.PathLike[str], device: str | None = None) -> Checkpoint:
    """Read a checkpoint onto `device` (default: the configured one).

    Parameters
    ----------
    path : path-like
        The file, or the folder of the run.
    device : str, optional
        Where to put the arrays, and what the returned configuration says.

    Raises
    ------
    DataError
        If there is no checkpoint at `path`.
    FileFormatError
        Names the file and what is wrong: truncated, damaged, of another kind or version, arrays missing.
    BackendError
        If the device is not usable.
    """
    found = _locate(path)
    header, arrays = read_npz(found, _KIND, _VERSION)
    try:
        fields = dict(header["config"])
        config = RunConfig.from_json(fields if device is None else {**fields, "device": device})
        task = _task(header["task"])
        net = make_network(config, task.dim)
        learner = Learner(config, net, task.sizes[0])
        template = Learner(RunConfig.from_json({**fields, "device": "cpu"}), net, learner.n_train).init()
        values = {
            field: _restore(field, getattr(template, field), header["numbers"], arrays)
            for field in ("epoch", "step", "model", "adam", "plateau", "average", "best")
        }
        history = tuple(dict(line) for line in header["history"])
    except (GmengineError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise FileFormatError(f"{found}: not a usable checkpoint: {reason}") from error
    progress = Progress(history=history, **values)
    return Checkpoint(config, task, net, learner, _on_device(progress, config.device))


def load(
    path: str | os.PathLike[str], device: str | None = None
) -> tuple[Network, dict[str, Array], dict[str, Array], RunConfig]:
    """Return the network, parameters, state and configuration of a run, to classify with.

    Of an unfinished run it is the model so far. Parameters and errors as of `load_checkpoint`.
    """
    found = load_checkpoint(path, device)
    _, model = result_of(found)
    return found.net, model.params, model.state, found.config


def result_of(found: Checkpoint) -> tuple[int, Model]:
    """Return the epoch and the model that a checkpoint stands for."""
    return found.learner.result(found.progress)


def _locate(path: str | os.PathLike[str]) -> Path:
    given = Path(path)
    file = given / CHECKPOINT if given.is_dir() else given
    if not file.exists():
        where = f"{given} holds no {CHECKPOINT}" if given.is_dir() else f"{given} does not exist"
        raise DataError(f"expected a run or a checkpoint, but {where}")
    return file


def _task(fields: Mapping[str, Any]) -> Task:
    train, valid, test = (int(n) for n in fields["sizes"])
    names = tuple(str(name) for name in fields["class_names"])
    return Task(int(fields["dim"]), names, (train, valid, test), int(fields["fingerprint"]))


def _flatten(name: str, tree: Any, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Sort the leaves of `tree` into numbers, for the header, and arrays, under ``name/child/...``."""
    if isinstance(tree, dict):
        children = tree
    elif isinstance(tree, tuple) and hasattr(tree, "_asdict"):
        children = tree._asdict()
    elif tree is None or isinstance(tree, bool | int | float):
        numbers[name] = tree
        return
    else:
        arrays[name] = to_device(tree, "cpu")
        return
    for key, child in children.items():
        _flatten(f"{name}/{key}", child, numbers, arrays)


def _restore(name: str, like: Any, numbers: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the tree that `_flatten` took apart; `like` has its structure, shapes and dtypes."""
    if isinstance(like, dict):
        return {key: _restore(f"{name}/{key}", child, numbers, arrays) for key, child in like.items()}
    if isinstance(like, tuple) and hasattr(like, "_asdict"):
        return type(like)(
            *(_restore(f"{name}/{key}", child, numbers, arrays) for key, child in like._asdict().items())
        )
    if like is None or isinstance(like, bool | int | float):
        value = numbers[name]
        if type(value) is not type(like):
            raise TypeError(f"{name} is {value!r}, expected a {type(like).__name__}")
        return value
    found = arrays[name]
    if found.shape != like.shape or found.dtype != like.dtype:
        raise TypeError(f"{name} is {found.dtype} {found.shape}, expected {like.dtype} {like.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return found


def _on_device(progress: Progress, device: str) -> Progress:
    def move(leaf: Any) -> Any:
        return to_device(leaf, device) if isinstance(leaf, np.ndarray) else leaf

    moved = {
        field: tree_map(move, getattr(progress, field)) for field in ("model", "adam", "average", "best")
    }
    return progress._replace(**moved)

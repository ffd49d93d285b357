"""A run and its folder: interrupted anywhere, it goes on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from gmengine.data import save_dataset
from gmengine.errors import ArgumentError, BackendError, DataError, NonFiniteError, ShapeError
from gmengine.files import read_npz
from gmengine.training import RunConfig, Watcher, accuracy, load_splits, loop, read_lines, resume, train
from gmengine.training import run as run_module


class Killed(BaseException):
    """Stands for a process that ends here."""


def without_times(line: dict) -> dict:
    return {name: value for name, value in line.items() if not name.endswith("seconds")}


def assert_same_run(a: Path, b: Path) -> None:
    assert sorted(p.name for p in a.iterdir()) == sorted(p.name for p in b.iterdir())
    lines = [[without_times(line) for line in read_lines(folder / "metrics.jsonl")] for folder in (a, b)]
    assert lines[0] == lines[1]
    (header_a, arrays_a), (header_b, arrays_b) = (
        read_npz(folder / "checkpoint.npz", "gmengine.checkpoint", 1) for folder in (a, b)
    )
    assert arrays_a.keys() == arrays_b.keys()
    for name, array in arrays_a.items():
        assert array.tobytes() == arrays_b[name].tobytes(), name
    for header in (header_a, header_b):
        header["history"] = [without_times(line) for line in header["history"]]
    assert header_a == header_b


def stop_in_batch(monkeypatch, epoch, batch):
    def on_batch(number, tally):
        if (number, tally.batches) == (epoch, batch):
            raise Killed

    return Watcher(on_batch=on_batch)


def stop_before_checkpoint(monkeypatch, call):
    save, calls = run_module.save_checkpoint, []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        save(*arguments)

    monkeypatch.setattr(run_module, "save_checkpoint", dying)
    return Watcher()


def stop_in_line(monkeypatch, call, written):
    calls = []

    def dying(path, line):
        calls.append(1)
        text = json.dumps(line) + "\n"
        with open(path, "a") as handle:
            handle.write(text[: int(written * len(text))] if len(calls) == call else text)
        if len(calls) == call:
            raise Killed

    monkeypatch.setattr(run_module, "append_line", dying)
    return Watcher()


MOMENTS = {
    "in the first batch": (stop_in_batch, 1, 1),
    "in the second epoch": (stop_in_batch, 2, 3),
    "in the last batch": (stop_in_batch, 3, 4),
    "before the second epoch's checkpoint": (stop_before_checkpoint, 3),
    "between checkpoint and line": (stop_in_line, 2, 0.0),
    "in the middle of a line": (stop_in_line, 2, 0.5),
    "after the last epoch's line": (stop_in_line, 3, 1.0),
    "in the middle of the test's line": (stop_in_line, 4, 0.5),
}


@pytest.fixture
def undisturbed(config, tmp_path):
    return train(config, out=tmp_path / "undisturbed")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_goes_on_bit_for_bit_after_it_stopped(config, tmp_path, monkeypatch, undisturbed, moment):
    stop, *where = MOMENTS[moment]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        train(config, out=tmp_path / "run", watcher=stop(patch, *where))
    result = resume(tmp_path / "run")
    assert_same_run(tmp_path / "run", undisturbed.folder)
    assert result.test == undisturbed.test
    assert [without_times(x) for x in result.history] == [without_times(x) for x in undisturbed.history]


@pytest.mark.parametrize("fields", [{"schedule": "plateau", "average": 0.5}, {"dtype": "float64"}])
def test_going_on_twice_also_brings_back_averages_and_schedules(config, tmp_path, monkeypatch, fields):
    config = dataclasses.replace(config, **fields)
    expected = train(config, out=tmp_path / "undisturbed")
    with pytest.raises(Killed):
        train(config, out=tmp_path / "run", watcher=stop_in_batch(monkeypatch, 2, 2))
    with pytest.raises(Killed):
        resume(tmp_path / "run", watcher=stop_in_batch(monkeypatch, 3, 1))
    resume(tmp_path / "run")
    assert_same_run(tmp_path / "run", expected.folder)


def test_a_finished_run_is_only_tested_again(undisturbed, tmp_path):
    before = (undisturbed.folder / "metrics.jsonl").read_text()
    watched = []
    result = resume(undisturbed.folder, on_epoch=watched.append)
    assert watched == []
    assert result.test == undisturbed.test
    assert (undisturbed.folder / "metrics.jsonl").read_text() == before


def test_a_constant_schedule_can_be_extended(config, tmp_path):
    config = dataclasses.replace(config, schedule="constant")
    train(dataclasses.replace(config, epochs=1), out=tmp_path / "run")
    resume(tmp_path / "run", {"epochs": 3})
    expected = train(config, out=tmp_path / "undisturbed")
    assert_same_run(tmp_path / "run", expected.folder)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["epochs"] == 3


def test_left_over_temporary_files_are_removed(undisturbed):
    left = undisturbed.folder / ".checkpoint.npz.0123456789abcdef.tmp"
    left.write_bytes(b"half")
    other = undisturbed.folder / ".notes.tmp"
    other.write_text("mine")
    resume(undisturbed.folder)
    assert not left.exists()
    assert other.exists()


def test_the_test_line_says_what_the_returned_network_does(undisturbed, config):
    test = load_splits(config, undisturbed.net).test
    found = accuracy(undisturbed.net, undisturbed.params, undisturbed.state, test)
    *lines, last = read_lines(undisturbed.folder / "metrics.jsonl")
    assert last == {"test": undisturbed.test}
    assert undisturbed.test["accuracy"] == found
    assert undisturbed.test["n"] == len(test) == 12
    assert undisturbed.test["epoch"] == 3
    assert lines == list(undisturbed.history)
    assert RunConfig.from_json(json.loads((undisturbed.folder / "config.json").read_text())) == config


def test_without_a_folder_nothing_is_written(config, tmp_path, monkeypatch, undisturbed):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    seen = []
    result = train(config, on_epoch=seen.append)
    assert result.folder is None
    assert seen == list(result.history)
    assert sorted(tmp_path.rglob("*")) == before
    for name, array in result.params.items():
        np.testing.assert_array_equal(array, undisturbed.params[name])


def test_a_folder_with_a_run_is_never_touched(undisturbed, config):
    before = {p.name: p.read_bytes() for p in undisturbed.folder.iterdir()}
    with pytest.raises(ArgumentError, match="holds a run already"):
        train(dataclasses.replace(config, seed=1), out=undisturbed.folder)
    assert {p.name: p.read_bytes() for p in undisturbed.folder.iterdir()} == before


def test_numbered_folders_step_past_what_exists(config, tmp_path):
    config = dataclasses.replace(config, epochs=1, limit_train=10)
    names = [train(config, out=tmp_path / "a" / "run", numbered=True).folder.name for _ in range(3)]
    assert names == ["run", "run-2", "run-3"]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"dataset": "nope"}, DataError, "unknown data set 'nope'; known are digits"),
        ({"dataset": "missing.npz"}, FileNotFoundError, "missing.npz"),
        ({"layers": "1/6 -> x -> 3"}, ArgumentError, "'x'"),
        ({"layers": "1/6 -> 4/3 -> 4"}, DataError, "3 classes, the network 4"),
        ({"layers": "1/7 -> 4/3 -> 3"}, ShapeError, r"mixtures of 1/6.*begin with 1/7"),
        ({"layers": "2/6 -> 4/3 -> 3"}, ShapeError, "begin with 2/6"),
        ({"limit_train": 1000}, DataError, "42 samples, not 1000"),
        ({"device": "tpu"}, BackendError, "tpu"),
        ({"network": {"radius": -1.0}}, ArgumentError, "radius"),
    ],
)
def test_a_mistake_leaves_no_folder_behind(config, tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        train(dataclasses.replace(config, **changes), out=tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()


def test_a_data_set_too_small_to_split_is_refused(config, dots, tmp_path):
    save_dataset(tmp_path / "few.npz", dots[:4])
    with pytest.raises(DataError, match="too small"):
        train(dataclasses.replace(config, dataset=str(tmp_path / "few.npz")), out=tmp_path / "run")


def test_an_empty_folder_of_the_user_is_used_and_never_removed(config, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError):
        train(dataclasses.replace(config, limit_train=1000), out=tmp_path / "mine")
    assert (tmp_path / "mine").exists()
    assert train(dataclasses.replace(config, epochs=1), out=tmp_path / "mine").folder == tmp_path / "mine"


def test_a_place_that_cannot_be_written_to_is_found_before_any_work(config, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "load_splits", lambda *a: pytest.fail("work had begun"))
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OSError, match="file"):
            train(config, out=out)


def test_divergence_keeps_the_last_good_epoch(config, tmp_path, monkeypatch, undisturbed):
    step = loop.train_step

    def diverging(learner, progress, batch):
        if progress.step == 9:
            raise NonFiniteError("the loss is nan")
        return step(learner, progress, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", diverging)
        with pytest.raises(NonFiniteError, match="epoch 3, batch 2"):
            train(config, out=tmp_path / "run")
    assert len(read_lines(tmp_path / "run" / "metrics.jsonl")) == 2
    resume(tmp_path / "run")
    assert_same_run(tmp_path / "run", undisturbed.folder)


def test_other_data_than_the_runs_are_refused(undisturbed, dots, store):
    save_dataset(store, dots[::-1])
    with pytest.raises(DataError, match="no longer the data set"):
        resume(undisturbed.folder)


def test_flags_that_contradict_the_run_are_refused(undisturbed):
    with pytest.raises(ArgumentError, match=r"lr 0\.02, not 0\.5"):
        resume(undisturbed.folder, {"lr": 0.5})

"""A checkpoint brings everything back, or says what is wrong with it."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

from gmengine.errors import DataError, FileFormatError
from gmengine.files import read_npz, write_npz
from gmengine.training import load, load_checkpoint, predict, train
from gmengine.training.checkpoint import save_checkpoint


@pytest.fixture
def run(config, tmp_path):
    return train(dataclasses.replace(config, average=0.5, schedule="plateau"), out=tmp_path / "run")


def assert_equal_trees(a, b):
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal_trees(a[key], b[key])
    elif isinstance(a, tuple):
        assert type(a) is type(b)
        for x, y in zip(a, b, strict=True):
            assert_equal_trees(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert type(a) is type(b)
        assert a == b


def test_what_is_saved_comes_back_bit_for_bit(run, tmp_path):
    found = load_checkpoint(run.folder)
    save_checkpoint(tmp_path / "copy.npz", found.config, found.task, found.progress)
    again = load_checkpoint(tmp_path / "copy.npz")
    assert_equal_trees(again.progress, found.progress)
    assert (again.config, again.task) == (found.config, found.task)
    assert (tmp_path / "copy.npz").read_bytes() == (run.folder / "checkpoint.npz").read_bytes()
    assert found.progress.epoch == 3
    assert found.progress.adam.step == found.progress.step == 12
    assert len(found.progress.history) == 3
    assert found.task.class_names == ("line", "ring", "heap")


def test_a_loaded_network_predicts_what_the_trained_one_did(run, dots):
    mixtures = dots.mixtures.astype("float32")
    expected = predict(run.net, run.params, run.state, mixtures)
    for path in (run.folder, run.folder / "checkpoint.npz"):
        net, params, state, config = load(path)
        np.testing.assert_array_equal(predict(net, params, state, mixtures), expected)
        assert config == run.config


def test_numpy_alone_can_open_it(run):
    with np.load(run.folder / "checkpoint.npz") as archive:
        stored = archive["best/model/params/layer0.weights"]
    np.testing.assert_array_equal(stored, run.params["layer0.weights"])


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_named_with_the_reason(run, keep):
    path = run.folder / "checkpoint.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(FileFormatError, match=r"checkpoint\.npz: truncated"):
        load_checkpoint(run.folder)


def test_what_is_no_checkpoint_is_refused(store, tmp_path):
    with pytest.raises(FileFormatError, match=r"dots\.npz: expected the format 'gmengine.checkpoint'"):
        load_checkpoint(store)
    with pytest.raises(DataError, match=r"holds no checkpoint\.npz"):
        load_checkpoint(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load_checkpoint(tmp_path / "nothing")


def tamper(path, change):
    header, arrays = read_npz(path, "gmengine.checkpoint", 1)
    change(header, arrays)
    write_npz(path, "gmengine.checkpoint", 1, header, arrays)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h, a: a.pop("adam/first/norm.beta"), "adam/first/norm.beta"),
        (
            lambda h, a: a.update({"model/params/norm.beta": np.zeros(4, "f4")}),
            r"model/params/norm.beta.*\(4,\)",
        ),
        (lambda h, a: a.update({"model/params/norm.beta": np.zeros(3)}), "float64"),
        (lambda h, a: a.update({"model/state/norm.mean": np.full(3, np.nan, "f4")}), "NaN"),
        (lambda h, a: h.pop("task"), "task"),
        (lambda h, a: h.update(task=3), "not a usable checkpoint"),
        (lambda h, a: h["numbers"].update(epoch="three"), "epoch is 'three'"),
        (lambda h, a: h["numbers"].pop("plateau/scale"), "plateau/scale"),
        (lambda h, a: h["config"].update(layers="1/6 -> "), "not a usable checkpoint"),
        (lambda h, a: h["config"].update(colour="red"), "colour"),
        (lambda h, a: h.update(history=5), "not a usable checkpoint"),
    ],
)
def test_a_checkpoint_that_lies_is_refused_by_file_and_reason(run, change, words):
    path = run.folder / "checkpoint.npz"
    tamper(path, change)
    with pytest.raises(FileFormatError, match=rf"checkpoint\.npz.*{words}"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_checkpoint_before(run, monkeypatch):
    path = run.folder / "checkpoint.npz"
    before, found = path.read_bytes(), load_checkpoint(path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, found.config, found.task, found.progress._replace(epoch=99))
    assert path.read_bytes() == before
    assert sorted(p.name for p in run.folder.iterdir()) == ["checkpoint.npz", "config.json", "metrics.jsonl"]


def test_the_device_can_be_chosen_when_loading(run):
    path = run.folder / "checkpoint.npz"
    tamper(path, lambda h, a: h["config"].update(device="cuda:63"))
    assert load_checkpoint(path, "cpu").config.device == "cpu"

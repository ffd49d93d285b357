"""Every mistake is one line on the error stream, exit code 2, and nothing lost."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil

import numpy as np
import pytest

from gmengine.cli.main import main
from gmengine.data import digits, save_dataset
from gmengine.training import load_checkpoint

BAD = {
    "no command": ((), "required: COMMAND"),
    "unknown command": (("fly",), "'fly'"),
    "no data set": (("train",), "name a data set"),
    "unknown data set": (("train", "letters"), "unknown data set 'letters'; known are digits"),
    "missing store": (("train", "missing.npz"), "No such file or directory: .*missing.npz"),
    "damaged store": (("train", "damaged.npz"), "damaged.npz: truncated, damaged"),
    "store of other components": (("train", "eight.npz"), "1/8 .*begin with 1/32"),
    "bad number": (("train", "digits", "--epochs", "many"), "--epochs: invalid int value: 'many'"),
    "number out of range": (("train", "digits", "--epochs", "0"), "epochs: expected a whole number"),
    "bad layers": (("train", "digits", "--layers", "1/32 -> wide -> 10"), "'wide'"),
    "bad choice": (("train", "digits", "--dtype", "float16"), "float16"),
    "bad option": (("train", "digits", "--network", "radius"), "OPTION=VALUE"),
    "unknown option": (("train", "digits", "--network", "colour=1"), "unknown option 'colour'"),
    "abbreviated flag": (("train", "digits", "--epo", "3"), "--epo"),
    "no GPU": (("train", "digits", "--device", "cuda:99"), "device 'cuda:?9?9?'"),
    "unknown device": (("train", "digits", "--device", "tpu"), "'tpu'"),
    "unwritable": (("train", "digits", "--out", "file/run"), "file/run"),
    "bad threads": (("train", "digits", "--threads", "0"), "at least 1"),
    "existing run": (("train", "digits", "--out", "run"), "run holds a run already"),
    "nothing to resume": (("train", "--resume", "empty"), "empty holds no checkpoint.npz"),
    "out and resume": (("train", "--resume", "run", "--out", "other"), "leave out --out"),
    "contradicting resume": (("train", "--resume", "run", "--lr", "0.5"), "lr 0.02, not 0.5"),
    "other data to resume": (("train", "eight.npz", "--resume", "run"), "dataset 'digits'"),
    "truncated checkpoint": (("train", "--resume", "broken"), "broken/checkpoint.npz: truncated"),
    "no run": (("evaluate", "nowhere"), "nowhere does not exist"),
    "no checkpoint": (("evaluate", "eight.npz"), "eight.npz: expected the format 'gmengine.checkpoint'"),
    "other components": (("evaluate", "run", "--data", "two.npz"), "1/2 .*begin with 1/8"),
    "other classes": (("evaluate", "run", "--data", "letters.npz"), "letters.npz has the classes a, b"),
    "unknown split": (("evaluate", "run", "--split", "half"), "half"),
    "missing file": (("predict", "run", "gone.npy"), "No such file or directory: gone.npy"),
    "no images": (("predict", "run", "vector.npy"), r"vector.npy: expected gray images"),
    "no mixtures": (("predict", "run", "run/checkpoint.npz"), "checkpoint.npz: expected the format"),
    "other files": (("predict", "run", "picture.png"), "picture.png"),
    "negative image": (("predict", "run", "negative.npy"), r"\[1, 2, 3\]"),
}


@pytest.fixture(scope="module")
def place(finished, tmp_path_factory):
    """A folder with a run, and with every file that the mistakes need."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(finished, folder / "run")
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    content = (finished / "checkpoint.npz").read_bytes()
    (folder / "broken" / "checkpoint.npz").write_bytes(content[: len(content) // 2])
    (folder / "file").write_text("in the way")
    (folder / "damaged.npz").write_bytes(b"PK not really")
    valid = digits(components=8, cache=False)[1]
    save_dataset(folder / "eight.npz", valid)
    save_dataset(folder / "two.npz", digits(components=2, cache=False)[1])
    save_dataset(folder / "letters.npz", dataclasses.replace(valid, class_names=tuple("abcdefghij")))
    np.save(folder / "vector.npy", np.zeros(5))
    images = np.ones((2, 8, 8))
    images[1, 2, 3] = -1
    np.save(folder / "negative.npy", images)
    return folder


def contents(folder):
    return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def in_process(place, cache, monkeypatch, capsys):
    """Run the command line in this process, for speed."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(cache))
    for name in ("GMENGINE_DEVICE", "GMENGINE_DTYPE", "GMENGINE_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr()

    return run


@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_is_one_line_and_exit_code_2(in_process, place, mistake):
    arguments, words = BAD[mistake]
    before = contents(place)
    code, streams = in_process(*arguments)
    assert code == 2
    assert re.fullmatch(r"gmengine: error: [^\n]+\n", streams.err), streams.err
    assert re.search(words, streams.err), streams.err
    assert contents(place) == before


@pytest.mark.parametrize("mistake", ["no command", "unknown data set", "truncated checkpoint", "bad number"])
def test_so_it_is_in_a_process_of_its_own(gmengine_command, place, mistake):
    done = gmengine_command(*BAD[mistake][0], cwd=place)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("gmengine: error: ")
    assert done.stderr.count("\n") == 1


def test_debug_shows_where_an_error_came_from(gmengine_command, place):
    done = gmengine_command("train", "--resume", "broken", "--debug", cwd=place)
    assert done.returncode not in (0, 130)
    assert "Traceback" in done.stderr
    assert "FileFormatError" in done.stderr


def test_a_thread_count_that_is_none_is_refused(in_process, monkeypatch):
    monkeypatch.setenv("GMENGINE_NUM_THREADS", "many")
    code, streams = in_process("evaluate", "run")
    assert code == 2
    assert (
        streams.err == "gmengine: error: GMENGINE_NUM_THREADS: expected a positive whole number, got 'many'\n"
    )


def test_a_training_that_diverges_says_so_and_keeps_its_checkpoint(gmengine_command, quick, tmp_path):
    flags = ("--epochs", 1, "--lr", 1e30, "--out", "run")
    done = gmengine_command("train", "digits", *quick, *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "diverged; try a smaller lr" in done.stderr
    assert gmengine_command("evaluate", "run", cwd=tmp_path).stdout.startswith("model of epoch 0")


def test_a_full_disk_keeps_the_checkpoint_before(in_process, quick, tmp_path, monkeypatch):
    out, synchronise = tmp_path / "run", os.fsync

    def filling(descriptor):
        if (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").stat().st_size:
            raise OSError(28, "No space left on device")  # from the second epoch's checkpoint on
        synchronise(descriptor)

    monkeypatch.setattr(os, "fsync", filling)
    code, streams = in_process("train", "digits", *quick, "--epochs", "9", "--out", str(out))
    assert code == 2
    assert streams.err == "gmengine: error: No space left on device\n"
    assert load_checkpoint(out).progress.epoch == 1
    assert sorted(p.name for p in out.iterdir()) == ["checkpoint.npz", "config.json", "metrics.jsonl"]

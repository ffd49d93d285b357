"""A store is made, made on after an interruption, and trained on; mistakes are one line."""

from __future__ import annotations

import os
import re
import signal
import time

import numpy as np
import pytest

from gmengine.cli.main import main
from gmengine.cli.progress import Screen
from gmengine.data import digits, open_store


@pytest.fixture
def command(tmp_path, monkeypatch, capsys, cache):
    """Run the command line in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(cache))
    for name in ("GMENGINE_DEVICE", "GMENGINE_DTYPE", "GMENGINE_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as end:
            code = end.code
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


def test_a_store_is_made_measured_and_trained_on(command, tmp_path):
    code, out, err = command("fit", "digits", "--components", 4, "--out", "store", "--seed", 2)
    assert (code, err) == (0, "")
    *_, made, measured = out.splitlines()
    assert made == "digits: 1,258 training, 180 validation, 359 test objects in store"
    assert re.fullmatch(r"mean log-likelihood -\d\.\d{4} nats, PSNR \d\d\.\d dB \(of 64 objects\)", measured)
    store = open_store(tmp_path / "store")
    assert store.manifest.fit["seed"] == 2
    for part, own in zip(store.load(), digits(4, cache=False), strict=True):
        np.testing.assert_array_equal(part.labels, own.labels)
        np.testing.assert_allclose(part.mixtures.weights.sum(-1), own.mixtures.weights.sum(-1), rtol=1e-5)
    flags = ("--epochs", 1, "--limit-train", 60, "--batch-size", 20)
    code, out, err = command("train", "store", *flags)
    assert (code, err) == (0, "")
    assert out.startswith(f"1/4 -> 8/8 -> 10 on {tmp_path / 'store'}: 60 of 1,258 training, 180 validation")
    assert (tmp_path / "runs" / "store" / "checkpoint.npz").exists()
    code, out, err = command("evaluate", "runs/store", "--data", "digits", "--split", "test")
    assert (code, err) == (0, "")
    assert out.startswith("model of epoch 1 on digits, split test")


def test_without_a_folder_the_store_is_where_training_looks(command, cache):
    flags = ("--components", 3, "--method", "kmeans")
    code, out, _ = command("fit", "digits", *flags)
    place = re.search(r"objects in (.*)", out)[1]
    assert place.startswith(str(cache / "stores"))
    before = files(open_store(place).folder)
    flags = ("--layers", "1/3 -> 2/2 -> 10", "--epochs", 1, "--limit-train", 40)
    code, out, _ = command("train", "digits", *flags, "--fit", "method=kmeans", "--out", "r")
    assert code == 0
    assert "fit" not in out.splitlines()[0]
    assert files(open_store(place).folder) == before
    assert len([p for p in (cache / "stores").iterdir() if "kmeans-n3" in p.name]) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fit_says_what_is_kept_and_goes_on(start, gmengine_command, tmp_path, number):
    flags = ("fit", "digits", "--components", "24", "--method", "random+em", "--steps", "400")
    with start(*flags, "--out", "store", cwd=tmp_path) as process:
        for _ in range(6000):
            if (tmp_path / "store" / "shard-00000.npz").exists():
                break
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == (
        "gmengine: interrupted; finished shards are in store; the same command goes on with the rest\n"
    )
    first = os.stat(tmp_path / "store" / "shard-00000.npz").st_mtime_ns
    done = gmengine_command(*flags, "--out", "store", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.stat(tmp_path / "store" / "shard-00000.npz").st_mtime_ns == first
    assert len(open_store(tmp_path / "store").load()[0]) == 1258


def test_a_training_interrupted_while_it_fits_says_so_and_keeps_no_run(start, tmp_path):
    own = {"GMENGINE_CACHE_DIR": str(tmp_path / "cache")}
    flags = ("--layers", "1/24 -> 2/2 -> 10", "--fit", "method=random+em", "--fit", "steps=400")
    with start("train", "digits", *flags, cwd=tmp_path, **own) as process:
        for _ in range(6000):
            if list(tmp_path.glob("cache/stores/*/shard-00000.npz")):
                break
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == (
        "gmengine: interrupted while mixtures were fitted: finished shards are kept; "
        "the same command goes on with the rest\n"
    )
    assert not (tmp_path / "runs").exists()
    assert len(list(tmp_path.glob("cache/stores/*/shard-00000.npz"))) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fit",), "required: DATASET, --components"),
        (("fit", "digits"), "required: --components"),
        (("fit", "letters", "--components", "4"), "unknown data set 'letters'"),
        (("fit", "mnist:nowhere", "--components", "4"), "nowhere"),
        (("fit", "digits", "--components", "0", "--out", "s"), "components to be an integer >= 1"),
        (("fit", "digits", "--components", "4", "--out", "s", "--method", "magic"), "'magic'"),
        (("fit", "digits", "--components", "4", "--out", "s", "--steps", "-1"), "steps"),
        (("fit", "digits", "--components", "4", "--out", "s", "--threads", "0"), "at least 1"),
        (("fit", "digits", "--components", "4", "--out", "s", "--option", "a=1"), "unknown option 'a'"),
        (("fit", "digits", "--components", "4", "--out", "."), "holds other files"),
        (("fit", "digits", "--components", "4", "--out", "file/s"), "file"),
        (("train", "digits", "--fit", "colour=1"), "fit: unknown option 'colour'"),
        (("train", "digits", "--option", "points=3"), "unknown option 'points'"),
        (("train", "./gone"), "unknown data set '.*gone'"),
        (("train", "."), "no store of mixtures there; raw data are named as in images:"),
    ],
)
def test_a_mistake_about_fits_is_one_line_and_leaves_nothing(command, tmp_path, arguments, words):
    (tmp_path / "file").write_text("in the way")
    code, _, err = command(*arguments)
    assert code == 2
    assert re.fullmatch(r"gmengine: error: [^\n]+\n", err), err
    assert re.search(words, err), err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_store_of_other_options_is_refused_by_the_command(command, tmp_path):
    assert command("fit", "digits", "--components", 2, "--out", "store")[0] == 0
    before = files(tmp_path / "store")
    code, _, err = command("fit", "digits", "--components", 3, "--out", "store")
    assert code == 2
    assert err == ("gmengine: error: store holds a store of components 2, not 3: name another folder\n")
    assert files(tmp_path / "store") == before


def test_a_full_disk_while_fitting_is_one_line(command, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = command("fit", "digits", "--components", 2, "--out", "store")
    assert code == 2
    assert err == "gmengine: error: No space left on device: store/shard-00000.npz\n"
    assert files(tmp_path / "store") == {}


def test_a_terminal_sees_the_fit_get_on_and_others_whole_lines(capsys, monkeypatch):
    screen = Screen()
    for told in ((0, 0, 0.0), (64, 1000, 10.0), (1000, 1000, 12.0)):
        screen.fit(*told)
    assert capsys.readouterr().out == "reading raw data\nfitted 1,000 mixtures\n"
    screen._moving = True
    screen.fit(64, 1000, 12.0)
    assert screen.fitting
    assert "fitting mixtures   6%  64 of 1,000  12/s  1:18 left" in capsys.readouterr().out
    screen.fit(1000, 1000, 12.0)
    assert not screen.fitting
    assert capsys.readouterr().out.endswith("\rfitted 1,000 mixtures\n")

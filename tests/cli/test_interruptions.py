"""Killed or asked to end at any moment, a run goes on as if nothing had happened."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

from gmengine.training import load_checkpoint, read_lines


def wait_for_lines(process, folder, count):
    """Return once metrics.jsonl has so many lines, in the midst of the epoch after."""
    path = folder / "metrics.jsonl"
    for _ in range(6000):
        if path.exists() and path.read_text().count("\n") >= count:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    raise AssertionError("the run does not get on")


def assert_same_run(a, b):
    lines = [read_lines(folder / "metrics.jsonl") for folder in (a, b)]
    kept = [[{k: v for k, v in x.items() if not k.endswith("seconds")} for x in each] for each in lines]
    assert kept[0] == kept[1]
    with np.load(a / "checkpoint.npz") as one, np.load(b / "checkpoint.npz") as other:
        assert one.files == other.files
        for name in set(one.files) - {"header"}:
            assert one[name].tobytes() == other[name].tobytes(), name


@pytest.fixture
def begin(start, quick, tmp_path):
    """Start the training that `finished` finished."""

    def begin():
        return start("train", "digits", *quick, "--epochs", 3, "--out", "run", cwd=tmp_path)

    return begin


def test_kill_9_in_an_epoch_costs_that_epoch_only(begin, gmengine_command, finished, tmp_path):
    with begin() as process:
        wait_for_lines(process, tmp_path / "run", 1)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "run").progress.epoch < 3
    done = gmengine_command("train", "--resume", "run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert_same_run(tmp_path / "run", finished)
    assert done.stdout.splitlines()[-1].startswith("test accuracy ")


@pytest.mark.parametrize(
    ("number", "code", "epochs"), [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 0)]
)
def test_a_run_that_is_asked_to_end_says_how_to_go_on(
    begin, gmengine_command, finished, tmp_path, number, code, epochs
):
    with begin() as process:
        wait_for_lines(process, tmp_path / "run", epochs)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err == (
        "gmengine: interrupted; the last finished epoch is in run/checkpoint.npz; "
        "go on with: gmengine train --resume run\n"
    )
    assert epochs <= load_checkpoint(tmp_path / "run").progress.epoch < 3
    assert gmengine_command("train", "--resume", "run", cwd=tmp_path).returncode == 0
    assert_same_run(tmp_path / "run", finished)


def test_ending_before_the_run_began_keeps_nothing(start, quick, tmp_path):
    # A cache of its own: the digits are fitted first, which takes long enough to be interrupted.
    cache = tmp_path / "cache"
    with start(
        "train", "digits", *quick, "--out", "run", cwd=tmp_path, GMENGINE_CACHE_DIR=str(cache)
    ) as process:
        while not (tmp_path / "run").exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    if not (tmp_path / "run").exists():
        assert err == "gmengine: interrupted before the run began: nothing was kept\n"
    else:
        assert err.startswith("gmengine: interrupted; the last finished epoch is in run/checkpoint.npz")
        assert load_checkpoint(tmp_path / "run").progress.epoch == 0

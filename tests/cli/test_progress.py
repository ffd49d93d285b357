"""What a terminal shows, and that nothing else gets moving lines."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gmengine.cli.progress import Screen
from gmengine.nn import network
from gmengine.training import Learner, RunConfig, Start, Tally, Task


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(monkeypatch, stream, *, finish=True):
    monkeypatch.setattr(sys, "stdout", stream)
    config = RunConfig(layers="1/8 -> 4/4 -> 10", epochs=2, batch_size=10)
    task = Task(2, tuple("0123456789"), (40, 5, 6), 0)
    screen = Screen()
    learner = Learner(config, network(config.layers), 40)
    screen.begin(Start(config, task, learner, 0, Path("run")), threads=2)
    for epoch in (1, 2):
        for batch in (1, 2):
            screen._drawn = 0.0  # as if a tenth of a second had passed
            screen.batch(epoch, Tally(batch, 10 * batch, 12.0 * batch, 5 * batch))
        screen.epoch(
            {
                "epoch": epoch,
                "train_loss": 1.2,
                "train_accuracy": 0.5,
                "valid_accuracy": 0.25,
                "train_seconds": 0.5,
            }
        )
    if finish:
        screen.finish(SimpleNamespace(test={"accuracy": 0.97214, "n": 359}))
    return stream.getvalue()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def test_a_terminal_sees_batches_go_by_and_keeps_whole_lines(monkeypatch):
    shown = show(monkeypatch, Terminal())
    first = shown.splitlines(keepends=False)
    assert "\repoch 1/2  25%  loss 1.2000  accuracy 0.5000  " in shown
    assert "samples/s" in shown
    assert " left" in shown
    assert first[-1] == "test accuracy 0.9721 (n=359)"
    for piece in shown.replace("\n", "\r").split("\r"):
        assert len(piece) < 100
    assert "\repoch 1/2  loss 1.2000  accuracy 0.5000  validation 0.2500  80 samples/s  " in shown


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", ""), ("TERM", "dumb")])
def test_a_terminal_that_wants_none_gets_plain_lines(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert "\r" not in show(monkeypatch, Terminal())


def test_a_file_gets_one_line_per_epoch(monkeypatch):
    shown = show(monkeypatch, io.StringIO())
    assert "\r" not in shown
    assert [line.split()[0] for line in shown.splitlines()][-3:] == ["epoch", "epoch", "test"]


def test_an_error_message_begins_a_line_of_its_own(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    show(monkeypatch, stream, finish=False)
    screen = Screen()
    screen._unfinished = True
    screen.end_line()
    assert stream.getvalue().endswith("\n")
    before = stream.getvalue()
    screen.end_line()
    assert stream.getvalue() == before

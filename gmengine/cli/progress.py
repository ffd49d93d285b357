"""What a training run shows: a header, a line per epoch, and on a terminal the batches as they go by."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any

from gmengine.training import Run, Start, Tally


class Screen:
    """Prints to standard output; a terminal's last line moves, anything else gets whole lines only."""

    def __init__(self) -> None:
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self._moving = sys.stdout.isatty() and not plain
        self._unfinished = False
        self._drawn = 0.0
        self._said = time.perf_counter()
        self.fitting = False

    def fit(self, done: int, total: int, rate: float) -> None:
        """Show how far a fit has got: on a moving line, else a line at its end and every half minute."""
        now = time.perf_counter()
        self.fitting = done < total
        if not total:
            text = "reading raw data"
        elif done == total:
            text = f"fitted {total:,} mixtures"
        else:
            left = _clock((total - done) / max(rate, 1e-3))
            text = f"fitting mixtures {done / total:4.0%}  {done:,} of {total:,}  {rate:.0f}/s  {left} left"
        if total and done < total and self._moving:
            if now - self._drawn >= 0.1:
                self._draw(text)
                self._drawn = now
        elif not total or done == total or now - self._said > 30:
            self._erase()
            print(text, flush=True)
            self._said = now

    def begin(self, start: Start, threads: int) -> None:
        """Print the header and remember when the work began."""
        config, (train, valid, test) = start.config, start.task.sizes
        self.fitting = False
        self._epochs, self._samples = config.epochs, start.learner.steps_per_epoch * start.learner.batch_size
        self._first, self._began = start.epoch, time.perf_counter()
        words = f"{threads} thread{'s' * (threads != 1)}"
        subset = start.available is not None and train < start.available
        training = f"{train:,} of {start.available:,}" if subset else f"{train:,}"
        sizes = f"{training} training, {valid:,} validation, {test:,} test samples"
        print(f"{config.layers} on {config.dataset}: {sizes}")
        size = f"{start.learner.net.n_parameters} parameters"
        print(f"{size}, {config.dtype}, {config.device}, {words}, run {start.folder}")
        if start.epoch:
            print(f"resumed after epoch {start.epoch}")
        sys.stdout.flush()

    def batch(self, epoch: int, tally: Tally) -> None:
        """Redraw the moving line, at most ten times a second."""
        now = time.perf_counter()
        if not self._moving or now - self._drawn < 0.1:
            return
        done = (epoch - 1 - self._first) * self._samples + tally.samples
        rate = done / (now - self._began)
        left = (self._epochs - self._first) * self._samples - done
        text = (
            f"epoch {epoch}/{self._epochs} {tally.samples / self._samples:4.0%}  loss {tally.mean_loss:.4f}  "
            f"accuracy {tally.accuracy:.4f}  {rate:.0f} samples/s  {_clock(left / rate)} left"
        )
        self._draw(text)
        self._drawn = now

    def epoch(self, line: dict[str, Any]) -> None:
        """Print the line of an epoch in place of the moving one."""
        now = time.perf_counter()
        done = line["epoch"] - self._first
        left = (now - self._began) / done * (self._epochs - line["epoch"])
        self._erase()
        print(
            f"epoch {line['epoch']}/{self._epochs}  loss {line['train_loss']:.4f}  "
            f"accuracy {line['train_accuracy']:.4f}  validation {line['valid_accuracy']:.4f}  "
            f"{self._samples / line['train_seconds']:.0f} samples/s  {_clock(left)} left",
            flush=True,
        )

    def end_line(self) -> None:
        """Leave the moving line standing and begin a new one, for an error message."""
        if self._unfinished:
            print(flush=True)
            self._unfinished = False

    def finish(self, run: Run) -> None:
        """Print the last line."""
        self._erase()
        print(f"test accuracy {run.test['accuracy']:.4f} (n={run.test['n']})", flush=True)

    def _draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:width]:<{width}}", end="", flush=True)
        self._unfinished = True

    def _erase(self) -> None:
        if self._unfinished:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{'':<{width}}\r", end="")
            self._unfinished = False


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

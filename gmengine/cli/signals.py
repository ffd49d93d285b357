"""Ctrl-C and SIGTERM as one exception, so that a command can end tidily."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The process was asked to end. Not an Exception: no library's ``except Exception`` may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number
        self.advice = ""


@contextmanager
def raising_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `Interrupted` inside the block.

    Also where the shell set SIGINT to be ignored, as it does for a script's background jobs: a signal that is
    sent to this process on purpose must end it tidily. Outside the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, _interrupt) for each in _ENDING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def ignore_signals() -> None:
    """Ignore further signals while the last words are written, until the block of `raising_signals` ends."""
    if threading.current_thread() is threading.main_thread():
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)

"""Other processes that read files: they leave Ctrl-C to the one that started them, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def readers(count: int) -> ProcessPoolExecutor:
    """Return a pool of `count` processes, which are spawned: a fork would copy the locks of kernels' threads.

    A script that has them started must guard its main part by ``if __name__ == "__main__":``; otherwise they
    die at once, and the pool raises BrokenProcessPool, of which `UNGUARDED` tells.
    """
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _obey_parent)


UNGUARDED = (
    "files are parsed by one process: others could not be started, or died. A script that has them started "
    "must guard its main part by if __name__ == '__main__'"
)


def _obey_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)

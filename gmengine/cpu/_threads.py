"""Share a kernel's tasks among threads.

Kernels run on a pool of Python threads and without the GIL. Numba's own parallel loops were measured and left: its
OpenMP layer waits at a barrier while it spins, which costs 16 ms per call as soon as another process wants a core; its
workqueue layer ends the process if two threads call it; and either optimises the same code three times over, which
doubles the time of a cold start. Kernels may be called from any number of threads, and after a fork.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from gmengine.threads import cores, get_num_threads

_pool = None
_lock = threading.Lock()


def _forget_pool():
    global _pool, _lock
    _pool, _lock = (
        None,
        threading.Lock(),
    )  # a forked child has the objects, but neither threads nor who held the lock


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _shared_pool():
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(cores(), thread_name_prefix="gmengine")
        return _pool


def share(function, tasks, args):
    """Call ``function(worker, workers, *args)`` on each of up to `tasks` workers, this thread being worker 0.

    There are as many workers as `gmengine.threads` allows. Worker w is to do the tasks w, w + workers, ...;
    which worker does a task must not matter to its result.
    """
    workers = max(1, min(tasks, get_num_threads()))
    if workers == 1:
        function(0, 1, *args)
        return
    pool = _pool or _shared_pool()
    others = [pool.submit(function, worker, workers, *args) for worker in range(1, workers)]
    try:
        function(0, workers, *args)
    finally:
        for other in others:
            other.result()

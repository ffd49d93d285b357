"""Share a kernel's tasks among threads.

Kernels run on a pool of Python threads and without the GIL. Numba's own parallel loops were measured and left: its
OpenMP layer waits at a barrier while it spins, which costs 16 ms per call as soon as another process wants a core; its
workqueue layer ends the process if two threads call it; and either optimises the same code three times over, which
doubles the time of a cold start. Kernels may be called from any number of threads, and after a fork.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from numba import config, get_num_threads

_pool = None


def _forget_pool():
    global _pool
    _pool = None  # a forked child has the object, but not its threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def share(function, tasks, args):
    """Call ``function(worker, workers, *args)`` on each of up to `tasks` workers, this thread being worker 0.

    There are as many workers as `numba.set_num_threads` allows. Worker w is to do the tasks w, w + workers, ...;
    which worker does a task must not matter to its result.
    """
    global _pool
    workers = max(1, min(tasks, get_num_threads()))
    if workers == 1:
        function(0, 1, *args)
        return
    if _pool is None:
        _pool = ThreadPoolExecutor(config.NUMBA_NUM_THREADS, thread_name_prefix="gmengine")
    others = [_pool.submit(function, worker, workers, *args) for worker in range(1, workers)]
    try:
        function(0, workers, *args)
    finally:
        for other in others:
            other.result()

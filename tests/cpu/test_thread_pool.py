"""Kernels share their tasks among threads without a trace in the result, and are compiled once."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gmengine.cpu import _threads, evaluate, relu
from gmengine.testing import strategies as gms


@pytest.fixture
def threads(monkeypatch):
    """Let a test choose the number of workers, also above the number of cores."""
    return lambda count: monkeypatch.setattr(_threads, "get_num_threads", lambda: count)


def all_results():
    """Return every output of the pair kernels on few large and on many small mixtures."""
    results = []
    for batch, n in ((1, 1500), (3, 700), (40, 33)):
        m = gms.random_mixture(1, (batch,), n, 2, dtype="float32", absent=0.1)
        values, residuals = evaluate.forward(*m.arrays, m.means)
        results += [values, *evaluate.vjp(residuals, values, (True,) * 4)]
        bias = np.zeros(batch, np.float32)
        fitted, residuals = relu.forward(*m.arrays, bias, epsilons=(0.1, 0.05, 0.05), relative=True)
        results += [fitted, *relu.vjp(residuals, fitted, (True,) * 4)]
    return results


def test_the_number_of_threads_does_not_change_a_bit(threads):
    threads(1)
    want = all_results()
    for count in (2, 3, 7):
        threads(count)
        for a, b in zip(all_results(), want, strict=True):
            np.testing.assert_array_equal(a, b)


def test_many_threads_may_call_kernels_at_once(threads):
    threads(2)
    want = all_results()
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: all_results(), range(8)):
            for a, b in zip(got, want, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("tasks", "allowed", "workers"), [(5, 3, 3), (2, 3, 2), (0, 3, 1), (5, 1, 1)])
def test_every_worker_is_called_once_and_the_caller_is_worker_0(threads, tasks, allowed, workers):
    threads(allowed)
    calls = []
    share(calls, tasks)
    assert sorted((w, of) for w, of, _ in calls) == [(w, workers) for w in range(workers)]
    assert [thread for w, _, thread in calls if w == 0] == [threading.current_thread()]


def share(calls, tasks):
    _threads.share(lambda w, of: calls.append((w, of, threading.current_thread())), tasks, ())


@pytest.mark.parametrize("culprit", [0, 1])
def test_an_error_in_any_worker_reaches_the_caller(threads, culprit):
    threads(2)

    def fail(worker, workers):
        if worker == culprit:
            raise MemoryError("scratch")

    with pytest.raises(MemoryError, match="scratch"):
        _threads.share(fail, 2, ())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(threads):
    threads(2)
    share([], 2)  # the parent has a pool
    context = multiprocessing.get_context("fork")
    child = context.Process(target=share, args=([], 2))
    child.start()
    child.join(30)
    assert child.exitcode == 0


def test_a_second_process_compiles_nothing(tmp_path):
    code = (
        "import numpy as np\n"
        "from gmengine.cpu import convolve\n"
        "w, mu, cov = np.ones((1, 1, 2)), np.zeros((1, 1, 2, 1)), np.ones((1, 1, 2, 1, 1))\n"
        "out, residuals = convolve.forward(w, mu, cov, w, mu, cov)\n"
        "convolve.vjp(residuals, *out, (True,) * 6)\n"
        "for f in (convolve._forward, convolve._vjp):\n"
        "    print(sum(f.compiled.stats.cache_hits.values()), sum(f.compiled.stats.cache_misses.values()))\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def run():
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout.split()

    assert run() == ["0", "1"] * 2
    assert run() == ["1", "0"] * 2

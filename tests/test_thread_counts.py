"""Whose word counts when kernels are shared among threads, and that the word never reaches the result."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import timeit
from concurrent.futures import ThreadPoolExecutor

import pytest

import gmengine as gm
from gmengine import threads
from gmengine.cpu import _threads
from gmengine.errors import ArgumentError
from gmengine.testing import strategies as gms

VARIABLES = ("GMENGINE_NUM_THREADS", "OMP_NUM_THREADS")

REPORT = """
import hashlib, sys
{first}
import gmengine as gm
from gmengine.cpu import _threads
from gmengine.testing import pull_back
from gmengine.testing.strategies import random_mixture
seen, share = set(), _threads.share
def spy(function, tasks, args):
    share(lambda worker, workers, *args: (seen.add(workers), function(worker, workers, *args)), tasks, args)
from gmengine.cpu import _compile
_compile.share = spy
m = random_mixture(1, (3, 40), 70, 2, dtype="float32", absent=0.1)
value, (grads,) = pull_back(lambda m: gm.reduce(gm.relu(m), 8), m)
digest = hashlib.sha256(b"".join(a.tobytes() for a in (*value.arrays, *grads.arrays))).hexdigest()
print(max(seen), digest)
"""


def report(first="", **environ):
    """Return how many workers the kernels of a new process had, and a digest of their results."""
    clean = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    code = REPORT.format(first=first)
    done = subprocess.run([sys.executable, "-c", code], env=clean | environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    workers, digest = done.stdout.split()
    return int(workers), digest


@pytest.fixture(scope="module")
def digest_of_one_thread():
    workers, digest = report(GMENGINE_NUM_THREADS="1")
    assert workers == 1
    return digest


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "2,1"}, 2),
        ({"GMENGINE_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}, 1),
        ({"GMENGINE_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}, 2),
        ({"GMENGINE_NUM_THREADS": "100000"}, os.cpu_count()),
        ({"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}, 2),
    ],
)
def test_a_library_call_obeys_the_environment_and_gives_the_same_bits(
    environ, expected, digest_of_one_thread
):
    expected = threads.available_cores() if expected is None else min(expected, threads.cores())
    assert report(**environ) == (expected, digest_of_one_thread)


@pytest.mark.parametrize(
    "first",
    [
        "import numba; numba.set_num_threads(1)",  # Numba launches its layer, and has a count of its own
        "import contextlib\nwith contextlib.suppress(ImportError): import numba.np.ufunc.omppool",  # GNU OpenMP
        "import sklearn.cluster",  # and with other people's limits on it
    ],
)
def test_other_runtimes_loaded_first_do_not_change_the_count(first, digest_of_one_thread):
    wanted = min(2, threads.cores())
    assert report(first, GMENGINE_NUM_THREADS="2", OMP_NUM_THREADS="1") == (wanted, digest_of_one_thread)


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²"])
def test_a_bad_count_is_one_clear_line_from_the_first_kernel(name, text):
    code = "import gmengine as gm\ngm.relu(gm.Mixture([1.0], [[0.0]], [[[1.0]]]))"
    clean = {k: v for k, v in os.environ.items() if k not in VARIABLES} | {"PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | {name: text}, capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"gmengine.errors.ArgumentError: {name}: expected a positive whole number, got {text!r}"


@pytest.fixture
def settings():
    """Give the word back to the environment after a test."""
    yield
    threads.set_num_threads(None)


def test_a_block_beats_the_process_and_the_process_beats_the_environment(settings, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setattr(threads, "_of_environment", lambda: 2)
    assert threads.get_num_threads() == 2
    threads.set_num_threads(3)
    assert threads.get_num_threads() == 3
    with threads.kernel_threads(4) as used:
        assert used == threads.get_num_threads() == 4
        with threads.kernel_threads(1):
            assert threads.get_num_threads() == 1
        assert threads.get_num_threads() == 4
    assert threads.get_num_threads() == 3
    threads.set_num_threads(None)
    assert threads.get_num_threads() == 2


def test_a_block_ends_with_an_error(settings):
    before = threads.get_num_threads()
    with pytest.raises(KeyError), threads.kernel_threads(1):
        raise KeyError
    assert threads.get_num_threads() == before


@pytest.mark.parametrize("count", [0, -2, 1.5, "2"])
def test_a_count_that_is_no_count_is_refused(count, settings):
    with pytest.raises(ArgumentError, match="threads"):
        threads.set_num_threads(count)
    with pytest.raises(ArgumentError, match="threads"), threads.kernel_threads(count):
        pass


def test_python_threads_have_limits_of_their_own(settings, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    m = gms.random_mixture(1, (40,), 30, 2, dtype="float32")
    want = gm.relu(m).weights.tobytes()
    together = threading.Barrier(4)

    def work(count):
        with threads.kernel_threads(count):
            together.wait(30)  # all limits hold at the same time
            return threads.get_num_threads(), {gm.relu(m).weights.tobytes() for _ in range(10)}

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, (1, 2, 3, 5)))
    assert found == [(count, {want}) for count in (1, 2, 3, 5)]


def test_a_pool_is_made_once_whoever_comes_first(monkeypatch):
    _threads._forget_pool()
    made, together = [], threading.Barrier(4)
    monkeypatch.setattr(_threads, "ThreadPoolExecutor", lambda *a, **k: made.append(a) or object())

    def ask(_):
        together.wait(30)
        return _threads._shared_pool()

    with ThreadPoolExecutor(4) as pool:
        pools = list(pool.map(ask, range(4)))
    _threads._forget_pool()
    assert len(made) == 1
    assert all(pool is pools[0] for pool in pools)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_keeps_the_count_even_while_another_thread_makes_the_pool():
    code = """
import os
from gmengine import threads
from gmengine.cpu import _threads
threads.set_num_threads(2)
_threads.share(lambda worker, workers: None, 2, ())
_threads._lock.acquire()
child = os.fork()
if child == 0:
    calls = []
    _threads.share(lambda worker, workers: calls.append(workers), 2, ())
    os._exit(0 if calls == [threads.get_num_threads()] * threads.get_num_threads() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert out.stdout.strip() == "0", out.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks on this system")
def test_the_affinity_mask_counts_and_so_does_the_quota(tmp_path):
    cores = len(os.sched_getaffinity(0))
    assert threads.available_cores(tmp_path) == cores
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert threads.available_cores(tmp_path) == cores
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert threads.available_cores(tmp_path) == 1
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from gmengine.threads import available_cores; print(available_cores())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "1"


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [("-1", "100000", None), ("150000", "100000", 1.5), ("0", "100000", None), ("50000", "", None)],
)
def test_the_older_control_groups_are_read_as_well(tmp_path, quota, period, cores):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text(period + "\n")
    assert threads._quota(tmp_path) == cores


def test_asking_costs_next_to_nothing():
    each = min(timeit.repeat(threads.get_num_threads, number=1000, repeat=20)) / 1000
    assert each < 5e-6  # 0.1 microseconds when measured; a call of a kernel is 20 and more

"""The stand-in for CuPy finds what it is there to find, and has the names that gmengine.cuda uses and no others."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import host_cupy
import numpy as np
import pytest

import gmengine

CUDA = Path(gmengine.__file__).parent / "cuda"
HERE = Path(__file__).parent
OWN_NAMES = {"CACHE", "FLAGS", "HERE", "KERNEL", "SANITIZE", "Namespace", "asnumpy"}


IMPORTED = {
    alias.asname or alias.name
    for node in ast.parse(Path(host_cupy.__file__).read_text()).body
    if isinstance(node, ast.Import | ast.ImportFrom)
    for alias in node.names
}


def names_used():
    """Return every dotted name that begins with cupy in the launchers, without `cupy`."""
    found = set()
    for path in CUDA.glob("*.py"):
        tree = ast.parse(path.read_text())
        inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and id(node) not in inner:
                parts = []
                while isinstance(node, ast.Attribute):
                    parts.append(node.attr)
                    node = node.value
                if isinstance(node, ast.Name) and node.id == "cupy":
                    found.add(".".join(reversed(parts)))
    return found


def names_provided(module, prefix=""):
    for name, value in vars(module).items():
        if name.startswith("_") or name in OWN_NAMES | IMPORTED:
            continue
        if isinstance(value, host_cupy.Namespace):
            yield from names_provided(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_cupy_name_in_use_is_provided_and_no_other():
    assert sorted(names_provided(host_cupy)) == sorted(names_used())


def test_cupy_has_every_name_in_use():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed; CI installs it without a GPU")
    for name in names_used():
        value = cupy
        for part in name.split("."):
            value = getattr(value, part)


def run(code, name, args, block=64, shared=0, grid=1):
    source = "\n".join(('#include "common.cuh"', code))
    options = ("-std=c++17", f"-I{CUDA}", "-DGM_DIM=2", "-DGM_REAL=float")
    host_cupy.RawModule(code=source, options=options).get_function(name)(
        (grid,), (block,), args, shared_mem=shared
    )


def test_a_barrier_that_some_threads_never_reach_is_an_error():
    code = 'extern "C" __global__ void stuck(int n) { if (int(threadIdx.x) < n) __syncthreads(); }'
    run(code, "stuck", (np.int32(64),))
    with pytest.raises(RuntimeError, match="stuck: some threads of a block wait"):
        run(code, "stuck", (np.int32(63),))


def test_warps_shuffle_and_vote():
    code = """
    extern "C" __global__ void warps(int* out) {
        const int t = threadIdx.x;
        int sum = t;
        for (int d = 16; d > 0; d /= 2) sum += __shfl_down_sync(~0u, sum, d);
        const unsigned odd = __ballot_sync(~0u, t % 2);
        out[t] = __shfl_sync(~0u, sum, 0) + 1000 * __popc(odd) + 100000 * __any_sync(~0u, t == 33);
    }"""
    out = host_cupy.zeros(64, np.int32)
    run(code, "warps", (out,))
    np.testing.assert_array_equal(out[:32], sum(range(32)) + 16000)
    np.testing.assert_array_equal(out[32:], sum(range(32, 64)) + 16000 + 100000)


def test_shared_memory_starts_as_nan_and_must_be_asked_for():
    code = """
    extern "C" __global__ void look(float* out) { GM_SHARED(float, tile); out[threadIdx.x] = tile[threadIdx.x]; }"""
    out = host_cupy.zeros(4, np.float32)
    run(code, "look", (out,), block=4, shared=16)
    assert np.isnan(out).all()
    with pytest.raises(ValueError, match="were not asked for"):
        run(code, "look", (out,), block=4, shared=60 * 1024)


def test_arguments_of_the_wrong_width_are_refused():
    code = 'extern "C" __global__ void widths(const float* x, int n, double y) {}'
    x = host_cupy.zeros(1, np.float32)
    run(code, "widths", (x, np.int32(1), np.float64(1)))
    for bad in [
        (host_cupy.zeros(1), np.int32(1), np.float64(1)),
        (x, np.int64(1), np.float64(1)),
        (x, np.int32(1), np.float32(1)),
    ]:
        with pytest.raises(TypeError, match=r"widths: parameter \d is"):
            run(code, "widths", bad)
    with pytest.raises(TypeError, match="3 parameters, 2 arguments"):
        run(code, "widths", (x, np.int32(1)))


def test_a_kernel_that_adds_floats_atomically_does_not_compile():
    code = 'extern "C" __global__ void drift(float* x) { atomicAdd(x, 1.0f); }'
    with pytest.raises(RuntimeError, match="static assertion"):
        run(code, "drift", (host_cupy.zeros(1, np.float32),))


RACE = """
extern "C" __global__ void turn(float* out) {
    GM_SHARED(float, tile);
    tile[threadIdx.x] = threadIdx.x;
    BARRIER
    out[threadIdx.x] = tile[(threadIdx.x + 1) % blockDim.x];
}"""
PLANTED = """
import sys; sys.path.insert(0, {here!r})
import numpy as np, test_harness, host_cupy
out = host_cupy.zeros({size}, np.float32)
test_harness.run(test_harness.RACE.replace("BARRIER", {barrier!r}), "turn", (out,), block=8, shared={shared})
"""


def sanitized(sanitizer, code):
    """Run a script under a sanitizer and return its exit code and report."""
    library = subprocess.run(
        ["g++", f"-print-file-name=lib{'t' if sanitizer == 'thread' else 'a'}san.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    environment = {
        **os.environ,
        "GMENGINE_HOST_SANITIZER": sanitizer,
        "LD_PRELOAD": library,
        "TSAN_OPTIONS": "exitcode=66",
        "ASAN_OPTIONS": "detect_leaks=0:exitcode=66",
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("barrier", "expected"), [("__syncthreads();", 0), ("", 66)])
def test_thread_sanitizer_finds_a_missing_barrier(barrier, expected):
    code = PLANTED.format(here=str(HERE), size=8, barrier=barrier, shared=32)
    found, report = sanitized("thread", code)
    assert found == expected, report
    assert ("data race" in report) == (expected != 0)


@pytest.mark.parametrize(("shared", "expected"), [(32, 0), (28, 66)])
def test_address_sanitizer_finds_an_index_past_shared_memory(shared, expected):
    code = PLANTED.format(here=str(HERE), size=8, barrier="__syncthreads();", shared=shared)
    found, report = sanitized("address", code)
    assert found == expected, report
    assert ("heap-buffer-overflow" in report) == (expected != 0)

"""A stand-in for CuPy on NumPy: its RawModule compiles kernels with g++ and runs them on the CPU.

It has the names of CuPy that gmengine.cuda uses and no others; test_harness.py holds the two lists together. Fresh
arrays hold NaN (or the largest integer), so that a kernel that leaves a hole in its output is found.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("GMENGINE_CACHE_DIR") or tempfile.gettempdir()) / "gmengine-host-kernels"
FLAGS = (
    "-std=c++20",
    "-O1",
    "-shared",
    "-fPIC",
    "-fno-gnu-unique",
    "-pthread",
    "-Wall",
    "-Wno-unknown-pragmas",
)
SANITIZE = os.environ.get("GMENGINE_HOST_SANITIZER", "")
if SANITIZE:
    FLAGS = (*FLAGS, "-g", f"-fsanitize={SANITIZE}", "-DGM_HOST_THREADS")
_SHARED_LIMIT = 64 * 1024
KERNEL = re.compile(r'extern "C" __global__(?:\s+__launch_bounds__\([^)]*\))?\s+void\s+(\w+)\s*\(')
_one_at_a_time = threading.Lock()


class _Device:
    """The device of every array. `current` lets a test see where a kernel ran."""

    current: int | None = None

    def __init__(self, id: int = 0) -> None:
        self.id = id

    def __enter__(self) -> _Device:
        self._outer, _Device.current = _Device.current, self.id
        return self

    def __exit__(self, *error: object) -> None:
        _Device.current = self._outer


class ndarray(np.ndarray):  # noqa: N801  (CuPy's name)
    """An array that counts as one on the device."""

    id_of_device = 0

    @property
    def device(self) -> _Device:  # type: ignore[override]
        return _Device(self.id_of_device)

    def get(self, *, out: np.ndarray, blocking: bool) -> np.ndarray:
        np.copyto(out, self)
        return out


def _mine(array: Any) -> ndarray:
    return np.asarray(array).view(ndarray)


def _poisoned(array: np.ndarray) -> ndarray:
    array.fill(
        np.nan if array.dtype.kind == "f" else True if array.dtype.kind == "b" else np.iinfo(array.dtype).max
    )
    return _mine(array)


def asarray(a: Any) -> ndarray:
    return _mine(a)


def asnumpy(a: Any) -> np.ndarray:
    return np.array(a, subok=False)


def ascontiguousarray(a: Any) -> ndarray:
    return _mine(np.ascontiguousarray(a))


def empty(shape: Any, dtype: Any = float) -> ndarray:
    return _poisoned(np.empty(shape, dtype))


def empty_like(a: Any, dtype: Any = None) -> ndarray:
    return _poisoned(np.empty(np.shape(a), a.dtype if dtype is None else dtype))


def zeros(shape: Any, dtype: Any = float) -> ndarray:
    return _mine(np.zeros(shape, dtype))


def zeros_like(a: Any) -> ndarray:
    return _mine(np.zeros(np.shape(a), a.dtype))


def full(shape: Any, value: Any, dtype: Any = None) -> ndarray:
    return _mine(np.full(shape, value, dtype))


def arange(stop: int, dtype: Any = None) -> ndarray:
    return _mine(np.arange(stop, dtype=dtype))


def broadcast_to(array: Any, shape: Any) -> ndarray:
    return _mine(np.broadcast_to(array, shape))


float64, int64, int32, uint8, uint32, uint64 = np.float64, np.int64, np.int32, np.uint8, np.uint32, np.uint64


class Namespace:
    """A module within CuPy."""


class _Event:
    """Everything has happened by the time that anybody asks."""

    def __init__(self, disable_timing: bool = False) -> None:
        self.recorded = False

    def record(self) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        assert self.recorded

    @property
    def done(self) -> bool:
        return self.recorded


cuda = Namespace()
cuda.Event = _Event
cuda.alloc_pinned_memory = bytearray


class RawModule:
    """The kernels of one source text, compiled for the CPU."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        self._names = KERNEL.findall(code)
        defines = [o for o in options if not o.startswith("-std=")]
        self._library = _library(code, tuple(self._names), tuple(defines))

    def get_function(self, name: str) -> _Function:
        if name not in self._names:
            raise KeyError(f"no kernel {name!r} among {self._names}")
        return _Function(name, self._library)


class _Function:
    max_dynamic_shared_size_bytes = 48 * 1024

    def __init__(self, name: str, library: ctypes.CDLL) -> None:
        self._name, self._run = name, library[f"run_{name}"]
        text = ctypes.create_string_buffer(4096)
        library[f"signature_{name}"](text)
        self._parameters = text.value.decode().split()

    def __call__(
        self, grid: tuple[int], block: tuple[int], args: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None:
        if len(args) != len(self._parameters):
            raise TypeError(f"{self._name}: {len(self._parameters)} parameters, {len(args)} arguments")
        if shared_mem > _SHARED_LIMIT:
            raise ValueError(f"{self._name}: {shared_mem} bytes of shared memory are more than sm_75 has")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise ValueError(f"{self._name}: {shared_mem} bytes of shared memory were not asked for")
        slots = [self._slot(i, a) for i, a in enumerate(args)]
        pointers = (ctypes.c_void_p * len(slots))(*(ctypes.addressof(s) for s in slots))
        with _one_at_a_time:
            stuck = self._run(grid[0], block[0], ctypes.c_size_t(shared_mem), pointers)
        if stuck:
            raise RuntimeError(
                f"{self._name}: some threads of a block wait at a barrier that others never reach"
            )

    def _slot(self, i: int, a: Any) -> Any:
        expected = self._parameters[i]
        got = ("p" if isinstance(a, ndarray) else "") + f"{a.dtype.kind}{a.dtype.itemsize}"
        if expected != got and not (expected == "p*" and got[0] == "p"):
            raise TypeError(f"{self._name}: parameter {i} is {expected}, the argument {got}")
        return (
            ctypes.c_void_p(a.ctypes.data) if isinstance(a, ndarray) else np.ctypeslib.as_ctypes(np.array(a))
        )


@cache
def _library(code: str, names: tuple[str, ...], defines: tuple[str, ...]) -> ctypes.CDLL:
    """Compile once per text, options, header and harness; the file's name says which."""
    wrappers = "".join(
        f'extern "C" int run_{n}(int g, int b, std::size_t s, void** p) {{ return host::run(&{n}, g, b, s, p); }}\n'
        f'extern "C" void signature_{n}(char* out) {{ host::signature(&{n}, out); }}\n'
        for n in names
    )
    text = f'#include "{HERE / "cuda_on_host.h"}"\n{code}\n{wrappers}'
    key = text + " ".join((*FLAGS, *defines)) + (HERE / "cuda_on_host.h").read_text()
    stem = CACHE / hashlib.sha256(key.encode()).hexdigest()[:20]
    target = stem.with_suffix(".so")
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=CACHE
        ) as folder:  # several test processes may compile the same text
            source, built = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
            source.write_text(text)
            done = subprocess.run(
                ["g++", *FLAGS, *defines, str(source), "-o", str(built)], capture_output=True, text=True
            )
            if done.returncode or "warning" in done.stderr:
                raise RuntimeError(f"g++ on {names}:\n{done.stderr}")
            built.replace(target)
    return ctypes.CDLL(str(target))

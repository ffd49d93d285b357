"""The physical limit: C++ for one dtype and one dimension, explicit vectors and OpenMP, compiled for this processor.

It does what the kernels' loops do and nothing else: no checks, no absent components, of the ReLU fit only its two sums.
A convolution is all writing: its limit is a copy of as many bytes to new memory.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gmengine import Mixture

_FLAGS = ["-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-ffinite-math-only", "-fno-signed-zeros"]
_FLAGS += ["-fno-trapping-math", "-ffp-contract=fast", "-shared", "-fPIC"]


def _library(name: str) -> ctypes.CDLL:
    compiler = shutil.which("g++")
    if compiler is None:
        raise ImportError("g++ is not installed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "limit.so")
        source = Path(__file__).with_name(f"{name}.cpp")
        done = subprocess.run([compiler, *_FLAGS, "-o", path, source], capture_output=True, text=True)
        if done.returncode:
            raise ImportError(f"g++ failed: {done.stderr.splitlines()[:1]}")
        return ctypes.CDLL(str(path))


_LIBRARY, _PAIRS = _library("limit"), _library("limit_pairs")


def versions() -> dict[str, str]:
    line = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    return {"g++": line.split()[-1]}


def _pointer(array: Any, dtype: Any = np.float32) -> ctypes.c_void_p:
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(f"the limit kernel takes contiguous {np.dtype(dtype)}, got {array.dtype}")
    return ctypes.c_void_p(array.ctypes.data)


def _can(mixture: Mixture) -> bool:
    return mixture.dim in (2, 3) and mixture.dtype == np.float32


def evaluate(mixture: Mixture, points: Any, gradients: bool) -> Callable[[], Any] | None:
    if gradients or not _can(mixture):
        return None
    count, n = mixture.weights.shape
    function = getattr(_LIBRARY, f"evaluate_{mixture.dim}")

    def run() -> Any:
        out = np.empty((count, points.shape[1]), np.float32)
        function(*map(_pointer, (*mixture.arrays, points, out)), count, n, points.shape[1])
        return out

    return run


def relu(mixture: Mixture, gradients: bool) -> Callable[[], Any] | None:
    if gradients or not _can(mixture):
        return None
    count, n = mixture.weights.shape
    function = getattr(_LIBRARY, f"two_sums_{mixture.dim}")
    w, _, covariances = mixture.arrays
    coarse = np.maximum(w, 0) + np.float32(0.1) * np.abs(w).mean(-1, keepdims=True)
    peaks = (2 * np.pi) ** (-mixture.dim / 2) / np.sqrt(np.linalg.det(covariances))
    unit = np.float32(0.05) * (np.abs(w) * peaks).mean(-1, keepdims=True)

    def run() -> (
        Any
    ):  # the two sums, which are quadratic, and the quotient; the rest of the fit was prepared above
        out = np.empty((2, count, n), np.float32)
        function(*map(_pointer, (w, coarse, mixture.means, covariances, out)), count, n)
        return coarse * (np.maximum(out[0], 0) + unit) / (out[1] + unit)

    return run


def product(a: Mixture, b: Mixture, gradients: bool) -> Callable[[], Any] | None:
    """In float64, as inner products are defined; the conversion is not timed."""
    if gradients or not _can(a):
        return None
    count, n = a.weights.shape
    function = getattr(_PAIRS, f"product_{a.dim}")
    inputs = [x.astype(np.float64) for x in (*a.arrays, *b.arrays)]

    def run() -> Any:
        out = np.empty(count)
        function(*(_pointer(x, np.float64) for x in (*inputs, out)), count, n)
        return out * (2.0 * np.pi) ** (-0.5 * a.dim)

    return run


def convolve(data: Mixture, kernel: Mixture, gradients: bool) -> Callable[[], Any]:
    """Return a yardstick: the bytes of the output (for gradients, of its cotangents) are copied to new memory."""
    (batch, _), (outputs, inputs) = data.batch, kernel.batch
    numbers = batch * outputs * inputs * data.n_components * kernel.n_components
    source = np.ones(numbers * (1 + data.dim + data.dim**2), data.dtype)

    def yardstick() -> None:
        target = np.empty_like(source)
        _PAIRS.copy(_pointer(source), _pointer(target), ctypes.c_int64(source.nbytes))

    return yardstick


def reduce_tree_hem(mixture: Mixture, n: int, gradients: bool) -> Callable[[], Any] | None:
    """Return a yardstick, not a rival: the evaluation of the same mixtures at their own means."""
    mixture = mixture.reshape((mixture.weights.size // mixture.n_components,))
    run = evaluate(mixture, mixture.means, False)
    if run is None:
        return None

    def yardstick() -> None:
        run()

    return yardstick

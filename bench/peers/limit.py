"""The physical limit: C++ for one dtype and one dimension, explicit vectors and OpenMP, compiled for this processor.

It does what the kernels' loops do and nothing else: no checks, no absent components, of the ReLU fit only its two sums.
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


def _library() -> ctypes.CDLL:
    compiler = shutil.which("g++")
    if compiler is None:
        raise ImportError("g++ is not installed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "limit.so")
        source = Path(__file__).with_suffix(".cpp")
        done = subprocess.run([compiler, *_FLAGS, "-o", path, source], capture_output=True, text=True)
        if done.returncode:
            raise ImportError(f"g++ failed: {done.stderr.splitlines()[:1]}")
        return ctypes.CDLL(str(path))


_LIBRARY = _library()


def versions() -> dict[str, str]:
    line = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    return {"g++": line.split()[-1]}


def _pointer(array: Any) -> ctypes.c_void_p:
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        raise ValueError(f"the limit kernel takes contiguous float32, got {array.dtype}")
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


def reduce(mixture: Mixture, gradients: bool) -> Callable[[], Any] | None:
    """Return a yardstick, not a rival: the evaluation of the same mixtures at their own means."""
    mixture = mixture.reshape((mixture.weights.size // mixture.n_components,))
    run = evaluate(mixture, mixture.means, False)
    if run is None:
        return None

    def yardstick() -> None:
        run()

    return yardstick

"""Which library an array belongs to, which kernel package serves it, and how arrays move between devices."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from gmengine.errors import BackendError, DTypeError

Array = Any
"""A NumPy or CuPy array (or, in the array functions, any array-API array)."""

_CUPY_HELP = "pip install 'gmengine[cuda12x]' (or cuda13x, matching `nvidia-smi`)"


def namespace(*arrays: Array) -> ModuleType:
    """Return the array-API namespace that all `arrays` share (None is ignored).

    Raises
    ------
    BackendError
        If the arrays belong to different libraries, or one is no array at all.
    """
    given = [a for a in arrays if a is not None]
    if given and all(type(a) is np.ndarray for a in given):  # the usual case, three times as quick
        return _numpy_namespace()
    for a in given:
        # np.generic: a NumPy reduction to 0-d gives a scalar, CuPy's gives an array.
        if not isinstance(a, np.ndarray | np.generic) and not array_api_compat.is_array_api_obj(a):
            raise BackendError(f"expected a NumPy or CuPy array, got {type(a).__name__}")
    try:
        return array_api_compat.array_namespace(
            *[np.asarray(a) if isinstance(a, np.generic) else a for a in given]
        )
    except TypeError:
        names = sorted({type(a).__module__.split(".")[0] for a in given})
        raise BackendError(f"expected arrays of one library, got {' and '.join(names)}") from None


@cache
def _numpy_namespace() -> ModuleType:
    # On first use, not on import: it touches every name in NumPy, and so loads NumPy's f2py, testing and more.
    return import_module("array_api_compat.numpy")


def kernels(op: str, *arrays: Array) -> ModuleType:
    """Return the module that implements `op` for these arrays: ``cpu.<op>`` or ``cuda.<op>``."""
    xp = namespace(*arrays)
    if array_api_compat.is_numpy_namespace(xp):
        return import_module(f"gmengine.cpu.{op}")
    if array_api_compat.is_cupy_namespace(xp):
        return import_module(f"gmengine.cuda.{op}")
    raise BackendError(f"{op}: no kernels for arrays of {xp.__name__}; use NumPy or CuPy arrays")


def float_dtype(op: str, **arrays: Array) -> Any:
    """Return the one floating dtype, float32 or float64, that all named `arrays` share.

    Raises
    ------
    DTypeError
        Names the op and every array's dtype. Nothing is promoted silently.
    """
    dtypes = {name: a.dtype for name, a in arrays.items() if a is not None}
    kinds = {str(d).rsplit(".", 1)[-1] for d in dtypes.values()}
    if len(kinds) != 1 or not kinds <= {"float32", "float64"}:
        listing = ", ".join(f"{name} {d}" for name, d in dtypes.items())
        raise DTypeError(f"{op}: expected one dtype, float32 or float64, got {listing}")
    return next(iter(dtypes.values()))


def to_device(array: Array, device: str) -> Array:
    """Return `array` on `device`, ``"cpu"`` or ``"cuda"`` (``"cuda:1"``); unchanged if it is there already.

    Raises
    ------
    BackendError
        If the device's name is unknown, or CuPy or a GPU is missing; the message says what to install.
    """
    if device == "cpu":
        if isinstance(array, np.ndarray):
            return array
        if array_api_compat.is_cupy_array(array):
            return sys.modules["cupy"].asnumpy(array)
        return np.from_dlpack(array)  # another library's that lies on the CPU
    name, _, index = device.partition(":")
    if name != "cuda" or not (index.isdecimal() or index == ""):
        raise BackendError(f"expected the device 'cpu', 'cuda' or 'cuda:<index>', got {device!r}")
    cupy = _usable_cupy()
    with cupy.cuda.Device(int(index or 0)):
        return cupy.asarray(array)


@cache
def cupy_packages() -> dict[str, str]:
    """Return the installed distributions of CuPy and their versions; with two, they overwrite each other's files."""
    metadata = import_module("importlib.metadata")
    found = {}
    for name in ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _usable_cupy() -> ModuleType:
    packages = cupy_packages()
    if len(packages) > 1:
        raise BackendError(
            f"device 'cuda' needs one CuPy, but {' and '.join(packages)} are installed and overwrite each other: "
            f"pip uninstall -y {' '.join(packages)} && {_CUPY_HELP}"
        )
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise BackendError(
            f"device 'cuda' needs CuPy, which cannot be imported ({error}): {_CUPY_HELP}"
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own types, which cannot be named before it is imported
        raise BackendError(f"device 'cuda' needs an NVIDIA driver and GPU: {error}") from None
    if count == 0:
        raise BackendError(
            "device 'cuda' needs an NVIDIA GPU, and none is visible (see CUDA_VISIBLE_DEVICES)"
        )
    return cupy

"""A stand-in for CuPy that is as strict as CuPy is, on the CPU: for whole programs, not for single kernels.

`host_cupy` runs the kernels but lets NumPy and "GPU" arrays mix, since its arrays are NumPy's. Here they are not: an
array refuses NumPy arrays, belongs to a device and refuses to compute while another is current; functions exist, and
take the arguments, that they have in CuPy 14.2 (tests/data/cupy-14.2-signatures.json); fresh memory holds NaN; a copy
that nobody has waited for has not arrived; and whatever makes the host wait for the GPU is noted in `waits`. To wait
for an event is not: the GPU may have been given more work since. The values are NumPy's, the kernels `host_cupy`'s.
"""

from __future__ import annotations

import inspect
import json
import operator
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import host_cupy
import numpy as np
from strict_arrays import (
    Device,
    Event,
    _in_place,
    _note,
    _operation,
    _queued,
    _raw,
    _read,
    _wrap,
    ndarray,
    waits,
)

SIGNATURES = Path(__file__).parents[1] / "data" / "cupy-14.2-signatures.json"
DEVICES = 2
VIEWS = {
    "broadcast_to",
    "diagonal",
    "expand_dims",
    "moveaxis",
    "permute_dims",
    "reshape",
    "squeeze",
    "swapaxes",
}
VIEWS |= {"transpose", "view"}
DATA_DEPENDENT = {
    "argwhere",
    "flatnonzero",
    "nonzero",
    "unique",
}  # the host must learn how long the result is
ARRAY_FIRST = {
    "a",
    "arr",
    "array",
    "condition",
    "x",
}  # a first parameter of such a name takes no Python numbers
OPERATORS = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]


def _signature(text: str) -> inspect.Signature:
    """Return the signature of, for example, ``a axis= * out=``."""
    parameters, kind = [], inspect.Parameter.POSITIONAL_OR_KEYWORD
    for word in text.split():
        if word == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
            continue
        stars = {0: kind, 1: inspect.Parameter.VAR_POSITIONAL, 2: inspect.Parameter.VAR_KEYWORD}
        default = None if word.endswith("=") else inspect.Parameter.empty
        parameters.append(inspect.Parameter(word.strip("*="), stars[word.count("*")], default=default))
        kind = inspect.Parameter.KEYWORD_ONLY if word.count("*") == 1 else kind
    return inspect.Signature(parameters)


def _function(name: str, text: str, compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return NumPy's function with CuPy's parameters, for arrays of the current device."""
    signature, first = _signature(text), text.partition(" ")[0].rstrip("=")

    def call(*args: Any, **options: Any) -> Any:
        try:
            signature.bind(*args, **options)
        except TypeError as error:
            raise TypeError(f"cupy.{name}: {error}") from None
        if compute in OWN:
            return compute(*args, **options)
        if first in ARRAY_FIRST and args and not isinstance(args[0], ndarray):
            raise TypeError(f"cupy.{name}: unsupported type {type(args[0])}")
        if name in DATA_DEPENDENT or (name == "where" and len(args) == 1):
            _note(name)
        view = name in VIEWS
        raw = {key: _raw(value, view) for key, value in options.items()}
        return _wrap(compute(*_raw(args, view), **raw), args[0]._device if view else None)

    call.__name__ = name
    return call


def array(obj: Any, dtype: Any = None, copy: bool = True, **layout: Any) -> ndarray:
    raw = _raw(obj) if isinstance(obj, ndarray) else obj
    if isinstance(raw, np.ndarray) and not copy and isinstance(obj, ndarray) and dtype in (None, obj.dtype):
        return obj
    return ndarray(np.array(raw, dtype))


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False
) -> ndarray:
    return array(a, dtype, copy=bool(copy))


def asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> np.ndarray:
    return a.get(out=out, blocking=blocking) if isinstance(a, ndarray) else np.asarray(a)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    return a if a.flags.c_contiguous and dtype is None else ndarray(np.ascontiguousarray(_raw(a), dtype))


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(host_cupy._poisoned(np.empty(shape, dtype)).view(np.ndarray))


def empty_like(
    prototype: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return empty(prototype.shape if shape is None else shape, prototype.dtype if dtype is None else dtype)


def argsort(a: Any, axis: Any = -1, kind: Any = None) -> ndarray:
    return ndarray(np.argsort(_raw(a), axis, kind="stable"))


OWN = (array, asarray, asnumpy, ascontiguousarray, empty, empty_like, argsort)


class RawModule:
    """Kernels that `host_cupy` compiles; they run on arrays of the current device."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        self._kernels = host_cupy.RawModule(code=code, options=options)

    def get_function(self, name: str) -> RawKernel:
        return RawKernel(self._kernels.get_function(name))


class RawKernel:
    """One of them; what is set on it is set on `host_cupy`'s."""

    def __init__(self, kernel: Any) -> None:
        self.__dict__["_kernel"] = kernel

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._kernel, name, value)

    def __call__(self, grid: Any, block: Any, args: tuple[Any, ...], *, shared_mem: int = 0) -> None:
        slots = tuple(_raw(a).view(host_cupy.ndarray) if isinstance(a, ndarray) else a for a in args)
        self._kernel(grid, block, slots, shared_mem=shared_mem)


def _complete_ndarray(methods: dict[str, str]) -> None:
    for name in ("shape", "dtype", "ndim", "size", "nbytes", "strides", "itemsize", "flags"):
        setattr(ndarray, name, property(operator.attrgetter(f"values.{name}")))
    for name, text in methods.items():
        setattr(ndarray, name, _function(name, f"self {text}", getattr(np.ndarray, name)))
    for name in OPERATORS:
        f = getattr(operator, f"__{name}__")
        setattr(ndarray, f"__{name}__", _operation(f))
        setattr(ndarray, f"__r{name}__", _operation(f, swapped=True))
    for name, f in {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide}.items():
        setattr(ndarray, f"__i{name}__", _in_place(f))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(ndarray, f"__{name}__", _operation(getattr(operator, name)))
    for name in ("neg", "pos", "abs", "invert"):
        f = getattr(operator, name)
        setattr(ndarray, f"__{name}__", lambda self, f=f: _wrap(f(_raw(self))))
    for f in (bool, int, float, complex, operator.index):
        setattr(ndarray, f"__{f.__name__}__", _read(f.__name__, f))
    for name in ("item", "tolist"):
        setattr(ndarray, name, _read(name, operator.methodcaller(name)))


def _cupy() -> dict[str, ModuleType]:
    """Return the modules of the stand-in by name."""
    known = json.loads(SIGNATURES.read_text())
    _complete_ndarray(known["methods"])
    names = ("cupy", "cupy.linalg", "cupy.fft", "cupy.cuda", "cupy.cuda.device", "cupy.cuda.runtime")
    modules = {name: ModuleType(name) for name in names}
    for name, module in modules.items():
        module.__path__ = []  # type: ignore[attr-defined]
        if name != "cupy":
            parent, _, child = name.rpartition(".")
            setattr(modules[parent], child, module)
    cupy, cuda = modules["cupy"], modules["cupy.cuda"]
    own = {f.__name__: f for f in OWN}
    for name, text in known["functions"].items():
        module, _, last = f"cupy.{name}".rpartition(".")
        compute = own.get(name) or operator.attrgetter(name)(np)
        setattr(modules[module], last, _function(name, text, compute))
    for name in known["values"].split():
        setattr(cupy, name, getattr(np, name))
    cupy.ndarray, cupy.RawModule, cupy.__version__ = ndarray, RawModule, "14.2.0"  # type: ignore[attr-defined]
    cuda.Device, cuda.Event, cuda.alloc_pinned_memory = Device, Event, bytearray  # type: ignore[attr-defined]
    cuda.device.Device, cuda.runtime.getDeviceCount = Device, lambda: DEVICES
    return modules


@contextmanager
def installed() -> Iterator[ModuleType]:
    """Within the block `import cupy` gives the stand-in; afterwards everything is as it was."""
    parents = {import_module("gmengine"): "cuda", import_module("array_api_compat"): "cupy"}
    attributes = {parent: vars(parent).pop(child, None) for parent, child in parents.items()}
    before = {name: sys.modules.pop(name) for name in _ours()}
    _forget()
    sys.modules.update(modules := _cupy())
    waits.clear()
    try:
        yield modules["cupy"]
    finally:
        for name in _ours():
            del sys.modules[name]
        sys.modules.update(before)
        for parent, child in parents.items():
            vars(parent).pop(child, None)
            if attributes[parent] is not None:
                setattr(parent, child, attributes[parent])
        _forget()
        _queued.clear()


def _ours() -> list[str]:
    """Return the loaded modules that are CuPy's, or hold what they have imported from it."""
    return [m for m in sys.modules if re.match(r"(cupy|gmengine\.cuda|array_api_compat\.cupy)(\.|$)", m)]


def _forget() -> None:
    """Empty the caches that know which class belongs to which library."""
    for value in vars(import_module("array_api_compat.common._helpers")).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()

"""Let the public ops run through gmengine.cuda on the CPU: each house of gmengine.cpu is replaced by its twin."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import host_cupy
import numpy as np

import gmengine.cuda

HOUSES = sorted(
    p.stem
    for p in Path(gmengine.cuda.__path__[0]).glob("[a-z]*.py")
    if (p.parents[1] / "cpu" / p.name).exists()
)


@contextmanager
def cuda_houses_on_host() -> Iterator[None]:
    """Within the block, kernels for NumPy arrays are those of gmengine.cuda, on the stand-in for CuPy."""
    before = {name: sys.modules.get(name) for name in ("cupy", *(f"gmengine.cpu.{h}" for h in HOUSES))}
    for name in [m for m in sys.modules if m.startswith("gmengine.cuda.")]:
        del sys.modules[name]
    sys.modules["cupy"] = host_cupy
    try:
        for house in HOUSES:
            sys.modules[f"gmengine.cpu.{house}"] = _disguised(import_module(f"gmengine.cuda.{house}"), house)
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
        for name in [m for m in sys.modules if m.startswith("gmengine.cuda.")]:
            del sys.modules[name]


def _disguised(module: ModuleType, house: str) -> ModuleType:
    twin = ModuleType(f"gmengine.cpu.{house}")
    for name, value in vars(module).items():
        if (
            callable(value)
            and not name.startswith("_")
            and getattr(value, "__module__", "") == module.__name__
        ):
            setattr(twin, name, _numpy_in_and_out(value))
    return twin


def _numpy_in_and_out(function: Any) -> Any:
    def call(*args: Any, **options: Any) -> Any:
        moved = {name: _map(_to_host_cupy, value) for name, value in options.items()}
        return _map(_to_numpy, function(*_map(_to_host_cupy, args), **moved))

    return call


def _to_host_cupy(x: Any) -> Any:
    return x.view(host_cupy.ndarray) if isinstance(x, np.ndarray) else x


def _to_numpy(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, host_cupy.ndarray) else x


def _map(f: Any, value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_map(f, v) for v in value))
    if isinstance(value, tuple | list):
        return type(value)(_map(f, v) for v in value)
    return f(value)

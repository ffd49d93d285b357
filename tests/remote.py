"""Arrays that behave as if they were on a GPU: NumPy's functions keep them there, and a look at a value is an error."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np


class WaitedError(AssertionError):
    """Somebody looked at a value that a GPU had still to compute."""


def _refuse(self: Any, *args: Any) -> Any:
    raise WaitedError("a value on the GPU was waited for")


class Remote(np.ndarray):
    """An array on the GPU; `home` brings it back."""

    __bool__ = __int__ = __float__ = __index__ = __iter__ = item = tolist = _refuse

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        if out is not None:
            options["out"] = home(out)
        return remote(getattr(ufunc, method)(*home(inputs), **home(options)))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return remote(function(*home(args), **home(options)))

    def __getitem__(self, key: Any) -> Any:
        return remote(np.asarray(self)[home(key)])


def remote(value: Any) -> Any:
    """Return arrays, also those in tuples and lists, on the GPU."""
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(remote(v) for v in value)
    return np.asarray(value).view(Remote) if isinstance(value, np.ndarray | np.generic) else value


def home(value: Any) -> Any:
    """Return arrays, also those in tuples, lists and dicts, as NumPy's."""
    if isinstance(value, dict):
        return {name: home(v) for name, v in value.items()}
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(home(v) for v in value)
    return value.view(np.ndarray) if isinstance(value, Remote) else value


def house(op: str) -> ModuleType:
    """Return ``gmengine.cpu.<op>`` for arrays on the GPU, whose results stay there."""
    module = ModuleType(op)
    for name, value in vars(import_module(f"gmengine.cpu.{op}")).items():
        if callable(value) and not name.startswith("_"):
            setattr(module, name, _there(value))
    return module


def _there(function: Any) -> Any:
    return lambda *args, **options: remote(function(*home(args), **home(options)))

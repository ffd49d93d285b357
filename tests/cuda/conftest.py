"""gmengine.cuda on the CPU: a stand-in for CuPy runs its launchers and kernels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import host_cupy
import pytest


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a house of gmengine.cuda on the stand-in, by its name."""
    monkeypatch.setitem(sys.modules, "cupy", host_cupy)
    for name in [m for m in sys.modules if m.startswith("gmengine.cuda")]:
        monkeypatch.delitem(sys.modules, name)
    yield lambda house: import_module(f"gmengine.cuda.{house}")
    for name in [m for m in sys.modules if m.startswith("gmengine.cuda")]:
        del sys.modules[name]

"""gmengine.cuda on the CPU: a stand-in for CuPy runs its launchers and kernels."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import host_cupy
import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without g++ on Linux no kernel can be executed here; where CI says that it runs, that is a failure."""
    if (sys.platform == "linux" and shutil.which("g++")) or os.environ.get("CI"):
        return
    reason = "executing CUDA kernels on the CPU needs Linux and g++"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a house of gmengine.cuda on the stand-in, by its name."""
    monkeypatch.setitem(sys.modules, "cupy", host_cupy)
    for name in [m for m in sys.modules if m.startswith("gmengine.cuda")]:
        monkeypatch.delitem(sys.modules, name)
    yield lambda house: import_module(f"gmengine.cuda.{house}")
    for name in [m for m in sys.modules if m.startswith("gmengine.cuda")]:
        del sys.modules[name]

"""The array libraries that the array functions run on."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest

LIBRARIES = ["numpy", "array_api_strict"]
if "cuda" in os.environ.get("GMENGINE_TEST_BACKENDS", ""):
    LIBRARIES.append("cupy")


class Library:
    """Moves NumPy arrays into an array library, and back."""

    def __init__(self, module: ModuleType) -> None:
        self.xp = module

    def asarray(self, x: Any) -> Any:
        return self.xp.asarray(np.asarray(x))

    def asnumpy(self, x: Any) -> np.ndarray:
        """Return an array of this library, and of no other, as NumPy array."""
        assert type(x) is type(self.xp.zeros(())), type(x)
        return x if isinstance(x, np.ndarray) else x.get() if hasattr(x, "get") else np.from_dlpack(x)


@pytest.fixture(scope="session", params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    """NumPy, the array-API standard at its strictest and, where CUDA is tested, CuPy."""
    return Library(import_module(request.param))

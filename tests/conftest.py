"""Hypothesis profiles and the backends that the op tests run on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from gmengine.backend import to_device
from gmengine.mixture import Mixture
from gmengine.testing import asnumpy

settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("deep", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "ci")  # what CI passes, everybody passes


class Backend:
    """Moves NumPy inputs to the device under test, and results back.

    "host" stands for the CUDA kernels run on the CPU (tests/cuda): arrays are NumPy's.
    """

    def __init__(self, device: str) -> None:
        self.device = "cpu" if device == "host" else device
        self.asarray(np.zeros(1))  # a listed device that cannot be used is an error, never a skip

    def asarray(self, x: Any) -> Any:
        """Return a NumPy array or Mixture on the device."""
        return x.to(self.device) if isinstance(x, Mixture) else to_device(np.asarray(x), self.device)

    def asnumpy(self, x: Any) -> Any:
        """Return an array or Mixture of the device as NumPy."""
        return asnumpy(x)


BACKENDS = [name.strip() for name in os.environ.get("GMENGINE_TEST_BACKENDS", "cpu").split(",")]


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name files given as bytes by their length: packed ones hold the time, and every worker must collect the same."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every backend listed in GMENGINE_TEST_BACKENDS, by default the CPU alone."""
    return Backend(request.param)


@pytest.fixture(scope="session", autouse=True)
def _cuda_kernels_on_the_cpu() -> Iterator[None]:
    """With the backend "host", which excludes others, every test's kernels are those of gmengine.cuda."""
    if "host" not in BACKENDS:
        yield
        return
    assert BACKENDS == ["host"], "the backend 'host' replaces the CPU's kernels and stands alone"
    sys.path.insert(0, str(Path(__file__).parent / "cuda"))
    with import_module("as_backend").cuda_houses_on_host():
        yield

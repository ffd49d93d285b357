"""NumPy: the exponent as a matrix product (one BLAS call per mixture), exp and a second product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers import formulas
from gmengine import Mixture


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def _each(function: Callable[..., Any], *inputs: Any) -> Any:
    """One mixture at a time, so that what is in flight is (P, N) floats."""
    return np.concatenate(
        [function(np, "gemm", *(a[m : m + 1] for a in inputs)) for m in range(len(inputs[0]))]
    )


def evaluate(mixture: Mixture, points: Any, gradients: bool) -> Callable[[], Any] | None:
    return None if gradients else lambda: _each(formulas.evaluate, *mixture.arrays, points)


def relu(mixture: Mixture, gradients: bool) -> Callable[[], Any] | None:
    return None if gradients else lambda: _each(formulas.relu, *mixture.arrays)

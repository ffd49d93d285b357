"""Run a house of gmengine.cuda, on the stand-in for CuPy, beside its twin of gmengine.cpu."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import host_cupy
import numpy as np

from gmengine.testing import assert_close

SHAPES = [(3, 5), (1, 1), (2, 63), (2, 64), (1, 65), (1, 130), (2, 0), (0, 4)]
"""(M, N) that cross the edges of tiles, warps and blocks, and empty ones."""


CONDITION = 100.0
"""What the condition numbers of the covariances of `mixtures` rarely exceed."""


def on_gpu(value: Any) -> Any:
    """Return arrays, also those in tuples, as the stand-in's."""
    if isinstance(value, tuple | list):
        return tuple(map(on_gpu, value))
    return host_cupy.asarray(value.copy()) if isinstance(value, np.ndarray) else value


def on_cpu(value: Any) -> Any:
    """Return arrays, also those in tuples, as NumPy's."""
    if isinstance(value, tuple | list):
        return tuple(map(on_cpu, value))
    return host_cupy.asnumpy(value) if isinstance(value, np.ndarray) else value


def mixtures(
    M: int, N: int, K: int, dtype: str, rng: np.random.Generator, absent: float = 0.15
) -> tuple[Any, ...]:
    """Return signed mixtures; absent components hold covariances of zeros, which are no Gaussians."""
    weights = rng.normal(size=(M, N))
    means = rng.normal(size=(M, N, K))
    factors = 0.35 * rng.normal(size=(M, N, K, K))
    covariances = factors @ np.swapaxes(factors, -1, -2) + 0.15 * np.eye(K)
    padding = rng.random((M, N)) < absent
    weights[padding], covariances[padding] = 0.0, 0.0
    return weights.astype(dtype), means.astype(dtype), covariances.astype(dtype)


def cotangent(like: Any, rng: np.random.Generator) -> Any:
    """Return random cotangents of an array or a tuple of arrays; those of integers are None."""
    if isinstance(like, tuple):
        return tuple(cotangent(x, rng) for x in like)
    return rng.normal(size=like.shape).astype(like.dtype)


def agree(
    kind: str, got: Any, want: Any, *, size: int, name: str = "output", scale: float | None = None
) -> None:
    """Assert that what the GPU's house gave is what the CPU's house gave.

    Errors are relative to the largest number of all arrays of a tuple: gradients that cancel, as those of the
    covariance of a lone component do, have no size of their own. Integers and booleans agree exactly.
    """
    got = on_cpu(got)
    if isinstance(want, tuple):
        assert len(got) == len(want)
        largest = max(
            (float(np.abs(w).max()) for w in want if isinstance(w, np.ndarray) and w.size), default=1.0
        )
        for i, (g, w) in enumerate(zip(got, want, strict=True)):
            agree(kind, g, w, size=size, name=f"{name} {i}", scale=largest if scale is None else scale)
    elif want is None:
        assert got is None
    else:
        assert got.dtype == want.dtype
        kind = kind if want.dtype.kind == "f" else "exact"
        assert_close(kind, got, want, size=size, condition=CONDITION, name=name, scale=scale)


def compare(
    house: ModuleType, inputs: tuple[Any, ...], rng: np.random.Generator, *, size: int, **options: Any
) -> None:
    """Assert that forward and vjp, for all and for each of the gradients alone, agree with the CPU's house."""
    twin = import_module(f"gmengine.cpu.{house.__name__.rpartition('.')[2]}")
    want, want_residuals = twin.forward(*inputs, **options)
    got, residuals = house.forward(*on_gpu(inputs), **options)
    agree("solve", got, want, size=size)
    g = cotangent(want, rng)
    cotangents = g if isinstance(g, tuple) else (g,)
    n = sum(isinstance(x, np.ndarray) for x in inputs)
    everything = (True,) * n
    want_grads = twin.vjp(want_residuals, *cotangents, everything)
    largest = max((float(np.abs(w).max()) for w in want_grads if w.size), default=1.0)
    first = house.vjp(residuals, *on_gpu(cotangents), everything)
    agree("gradient", first, want_grads, size=size, name="gradient")
    again = on_cpu(house.vjp(residuals, *on_gpu(cotangents), everything))
    agree("exact", again, on_cpu(first), size=size, name="second run")
    for i in range(n):
        needs = tuple(k == i for k in range(n))
        alone = house.vjp(residuals, *on_gpu(cotangents), needs)
        assert [a is None for a in alone] == [not need for need in needs]
        agree("gradient", alone[i], want_grads[i], size=size, name=f"gradient {i} alone", scale=largest)

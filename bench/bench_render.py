"""Rendering on grids, and evaluation at the same cell centres; the unit is one pair of a cell and a component."""

from __future__ import annotations

from functools import partial

import numpy as np

from bench.harness import Case
from gmengine import Mixture, evaluate, value_and_grad
from gmengine.ops.render import render


def tiling_mixture(n: int, dim: int) -> Mixture:
    """Return a float32 mixture that fills the unit cube: deviations are about half the distance of its components."""
    rng = np.random.default_rng(0)
    factors = 0.3 * rng.standard_normal((n, dim, dim)) + 0.8 * np.eye(dim)
    covariances = (0.5 * n ** (-1 / dim)) ** 2 * (factors @ np.swapaxes(factors, -1, -2) + 0.05 * np.eye(dim))
    return Mixture(rng.standard_normal(n), rng.random((n, dim)), covariances).astype("float32")


def cell_centres(shape: tuple[int, ...]) -> np.ndarray:
    """Return the cell centres of a grid over the unit cube, (cells, K)."""
    axes = [(np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(n) for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))


def cases(smoke: bool) -> list[Case]:
    """Pictures of 64 and 1280 components, volumes of 128 and 1280: the more there are, the smaller they are."""
    full = [(64, (256, 256)), (1280, (256, 256)), (128, (64, 64, 64)), (1280, (64, 64, 64))]
    found = []
    for n, shape in [(8, (16, 16)), (8, (6, 6, 6))] if smoke else full:
        dim = len(shape)
        mixture, box, points = tiling_mixture(n, dim), ([0.0] * dim, [1.0] * dim), cell_centres(shape)
        label = f"{n} on {'x'.join(map(str, shape))}"
        draw, look = partial(render, box=box, shape=shape), partial(evaluate, points=points)
        for name, op in (("render", draw), ("evaluate", look)):

            def both(m: Mixture, op=op) -> object:
                return value_and_grad(lambda a: op(a).sum())(m)

            pairs = float(n * len(points))
            found += [
                Case(f"{name} {label}", partial(op, mixture), pairs, "pairs"),
                Case(f"{name}+vjp {label}", partial(both, mixture), pairs, "pairs"),
            ]
    return found

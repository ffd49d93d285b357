"""NumPy: whole-array expressions, with the exponent of `evaluate` and the ReLU fit as a matrix product (BLAS).

Inner products take the pairs in chunks that stay in the cache. "em" and "hem" take a mixture's step in three matrix
products; "hem" is given the parents of each level, which we have to find, and needs float64 to give the same: whether a
divergence is below the limit decides who merges with whom. "tree_hem" is given the whole plan (`numpy_tree`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers import formulas, numpy_tree, pair_formulas
from gmengine import Mixture
from gmengine.ops.reduce import HemPlan, TreePlan, plan

CHUNK = 1 << 15  # pairs; a dozen arrays of so many float32 numbers are in flight


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


def _product(a: tuple[Any, ...], b: tuple[Any, ...]) -> Any:
    rows = max(1, CHUNK // b[0].shape[1])
    found = np.zeros(len(a[0]))
    for m in range(len(found)):
        other = [x[m : m + 1] for x in b]
        for first in range(0, a[0].shape[1], rows):
            own = [x[m : m + 1, first : first + rows] for x in a]
            found[m] += pair_formulas.product(np, *own, *other)[0]
    return found


def product(a: Mixture, b: Mixture, gradients: bool) -> Callable[[], Any] | None:
    return None if gradients else lambda: _product(a.arrays, b.arrays)


def l2_distance(a: Mixture, b: Mixture, gradients: bool) -> Callable[[], Any] | None:
    if gradients:
        return None
    x, y = a.arrays, b.arrays
    return lambda: np.sqrt(_product(x, x) - 2.0 * _product(x, y) + _product(y, y))


def convolve(data: Mixture, kernel: Mixture, gradients: bool) -> Callable[[], Any] | None:
    return None if gradients else lambda: pair_formulas.convolve(np, *data.arrays, *kernel.arrays)


def _flat(mixture: Mixture) -> tuple[Any, Any, Any]:
    return mixture.reshape((mixture.weights.size // mixture.n_components,)).arrays


def reduce_em(mixture: Mixture, n: int, gradients: bool) -> Callable[[], Any] | None:
    return None if gradients else lambda: pair_formulas.em(np, n, *_flat(mixture))


def reduce_hem(mixture: Mixture, n: int, gradients: bool) -> Callable[[], Any] | None:
    held = plan(mixture, n, method="hem")
    if gradients or not isinstance(held, HemPlan):
        return None
    given = [np.take_along_axis(level.order, level.parents, 1) for level in held.levels]
    points, reach = float(mixture.n_components), 2.0 * (1.0 + 64.0 * np.finfo(mixture.dtype).eps)

    def run() -> Any:
        found: Any = tuple(x.astype(np.float64) for x in _flat(mixture))
        for parents in given:
            found = pair_formulas.em_step(np, *found, parents, points, reach)
        return found

    return run


def reduce_tree_hem(mixture: Mixture, n: int, gradients: bool) -> Callable[[], Any] | None:
    held = plan(mixture, n, method="tree_hem", per_node=2)
    if gradients or not isinstance(held, TreePlan):
        return None
    flat = Mixture(*_flat(mixture))
    found = numpy_tree.schedule(held, 2)
    return lambda: numpy_tree.apply(flat, found)


def reduce_top(mixture: Mixture, n: int, gradients: bool) -> Callable[[], Any] | None:
    if gradients:
        return None

    def run() -> Any:
        arrays = _flat(mixture)
        rows, best = np.arange(len(arrays[0]))[:, None], pair_formulas.heaviest(np, arrays[0], n)
        return tuple(x[rows, best] for x in arrays)

    return run

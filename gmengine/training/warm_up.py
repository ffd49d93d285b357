"""Compile kernels ahead of their first use, into the cache on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from gmengine.autograd import Tape, Tensor, arrays
from gmengine.autograd.trees import leaves
from gmengine.mixture import Mixture
from gmengine.ops.convolve import convolve
from gmengine.ops.derivatives import density_gradient, density_hessian
from gmengine.ops.evaluate import evaluate
from gmengine.ops.product import l2_distance, product
from gmengine.ops.reduce import METHODS, reduce
from gmengine.ops.relu import relu
from gmengine.ops.render import render


def warm_up(dim: int, dtype: str) -> Iterator[tuple[str, float]]:
    """Run every op once, forward and backward, on a tiny mixture; yield its name and the seconds that it took.

    What is not yet in the cache is compiled on the way, a few seconds an op; what is there takes milliseconds.

    Parameters
    ----------
    dim : int
        K, the number of spatial dimensions.
    dtype : {"float32", "float64"}
    """
    rng = np.random.default_rng(0)
    m = Mixture.isotropic(rng.random((2, 1, 4)) + 0.1, rng.normal(size=(2, 1, 4, dim)), 1.0).astype(dtype)
    kernel, box = m.reshape((1, 2))[:, :1], (-np.ones(dim), np.ones(dim))
    ops: dict[str, Callable[[Mixture], Any]] = {
        "convolve": lambda a: convolve(a, kernel),
        "evaluate": lambda a: evaluate(a, a.means),
        "relu": relu,
        **{f"reduce ({method})": partial(reduce, n=2, method=method) for method in METHODS},
        "product": lambda a: product(a, m),
        "l2_distance": lambda a: l2_distance(a, kernel),
        "density_gradient": lambda a: density_gradient(a, a.means),
        "density_hessian": lambda a: density_hessian(a, a.means),
        "render": lambda a: render(a, box, (2,) * dim),
    }
    for name, op in ops.items():
        began = time.perf_counter()
        _forward_and_backward(op, m)
        yield name, time.perf_counter() - began


def _forward_and_backward(op: Callable[[Mixture], Any], m: Mixture) -> None:
    tape = Tape()
    source = tape.watch(m)
    total: Any = 0.0
    for leaf in leaves(op(source)):
        if isinstance(leaf, Tensor):
            total = arrays.add(arrays.sum(leaf), total)
    tape.gradient(total, source)

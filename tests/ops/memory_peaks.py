"""``python memory_peaks.py SMALL LARGE OP ...``: print the peaks of memory of ops, forward and with gradients, as JSON.

A process of its own for `test_memory_growth`, run from the project's root, where the benchmarks are.
"""

from __future__ import annotations

import json
import sys
from functools import partial

sys.path.insert(0, ".")

import gmengine as gm
from bench.memory import resident_peak
from gmengine.ops.derivatives import density_gradient, density_hessian
from gmengine.ops.moments import moments
from gmengine.ops.product import l2_distance, product
from gmengine.ops.reduce import METHODS
from gmengine.ops.render import render
from gmengine.testing import pull_back
from gmengine.testing.strategies import random_mixture

mixture = partial(random_mixture, dtype="float32")
KERNEL = mixture(3, (2, 1), 3)


def at_points(op):
    return lambda m: pull_back(op, m, m.means[::-1].copy())


def with_another(op):
    return lambda m: pull_back(op, m, mixture(2, (), m.n_components))


def alone(op):
    return lambda m: pull_back(op, m)


OPS = {
    "evaluate": at_points(gm.evaluate),
    "relu": alone(gm.relu),
    "convolve": alone(lambda m: gm.convolve(m.reshape((1, 1)), KERNEL)),
    "product": with_another(product),
    "l2_distance": with_another(l2_distance),
    "density_gradient": at_points(density_gradient),
    "density_hessian": at_points(density_hessian),
    "render": alone(lambda m: render(m, ([-6.0] * 2, [6.0] * 2), (64, 64))),
    "moments": alone(lambda m: tuple(moments(m))),
}
for method in METHODS:
    OPS[method] = alone(lambda m, method=method: gm.reduce(m, 16, method))
    OPS[f"{method} to a quarter"] = alone(lambda m, method=method: gm.reduce(m, m.n_components // 4, method))


def main(sizes, ops):
    peaks = {}
    for op in ops:
        OPS[op](mixture(1, (), 1400))  # compiles all that it takes, also for mixtures in several slices
        peaks[op] = [resident_peak(partial(OPS[op], mixture(1, (), n))) for n in sizes]
    print(json.dumps(peaks))


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:3]], sys.argv[3:])

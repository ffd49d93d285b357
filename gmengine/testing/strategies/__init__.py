"""Hypothesis strategies for mixtures and whatever operations on them take.

Every size takes a value, a strategy, or None for the default range. No strategy draws NaN, infinity or a
subnormal number, and every number is representable in float32, so that both dtypes can be fed the same.
"""

from gmengine.testing.strategies._draw import seeds
from gmengine.testing.strategies._mixtures import kernels, mixtures
from gmengine.testing.strategies._networks import Samples, networks, parameters, samples, specs
from gmengine.testing.strategies._random import (
    DEGENERATE,
    cross,
    kernel_cross,
    random_covariances,
    random_mixture,
)
from gmengine.testing.strategies._values import (
    affine_maps,
    batches,
    biases,
    conditions,
    cotangents,
    dims,
    dims_of,
    points,
    rotations,
    scalars,
    shifts,
    signs,
    sizes,
)

__all__ = [
    "DEGENERATE",
    "Samples",
    "affine_maps",
    "batches",
    "biases",
    "conditions",
    "cotangents",
    "cross",
    "dims",
    "dims_of",
    "kernel_cross",
    "kernels",
    "mixtures",
    "networks",
    "parameters",
    "points",
    "random_covariances",
    "random_mixture",
    "rotations",
    "samples",
    "scalars",
    "seeds",
    "shifts",
    "signs",
    "sizes",
    "specs",
]

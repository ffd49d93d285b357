"""What a network asks of its arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gmengine.backend import float_dtype
from gmengine.errors import ArgumentError, ShapeError
from gmengine.mixture import Mixture


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ArgumentError, naming the field, unless the fields of a `Network` are in range."""
    components, radius, first = options["components"], options["radius"], options["reduce_first"]
    n = len(options["channels"]) - 1
    radii = radius if isinstance(radius, tuple) else (radius,) * n
    rules = {
        "channels": n >= 1 and all(c >= 1 for c in options["channels"]),
        "components": len(components) == n + 1
        and None not in components[:-1]
        and all(m is None or m >= 1 for m in components),
        "dim": options["dim"] >= 1,
        "dtype": options["dtype"] in ("float32", "float64"),
        "kernel_components": options["kernel_components"] >= 1,
        "radius": len(radii) == n and all(0 < r < math.inf for r in radii),
        "epsilons": len(options["epsilons"]) == 3 and all(0 <= e < math.inf for e in options["epsilons"]),
        "per_node": options["per_node"] >= 2,
        "reduce_first": first is None or 0 < first < math.inf,
        "momentum": 0 < options["momentum"] <= 1,
    }
    for name, holds in rules.items():
        if not holds:
            raise ArgumentError(f"network of {n} layers: {name}={options[name]!r} is out of range")


def check_mixture(
    op: str, mixture: Mixture, channels: int, components: int | None, dim: int, training: bool
) -> None:
    """Raise ShapeError unless the mixture has the batch (B, channels), the components and the dimension."""
    fits = len(mixture.batch) == 2 and mixture.batch[1] == channels
    if not fits or mixture.n_components != components or mixture.dim != dim:
        raise ShapeError(
            f"{op}: expected mixtures of batch (B, {channels}) with {components} components in {dim}-D, "
            f"got {mixture.batch} with {mixture.n_components} components in {mixture.dim}-D"
        )
    if training and mixture.batch[0] == 0:
        raise ShapeError(f"{op}: a training batch needs at least one sample")


def check_arrays(
    op: str, what: str, given: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], mixture: Mixture
) -> None:
    """Raise unless `given` has exactly the names and shapes wanted, and the mixture's dtype.

    Raises
    ------
    ArgumentError
        If names are missing or unexpected; lists them.
    ShapeError
        If a shape differs; names the array.
    DTypeError
        If a dtype differs.
    """
    missing, extra = sorted(shapes.keys() - given.keys()), sorted(given.keys() - shapes.keys())
    if missing or extra:
        raise ArgumentError(f"{op}: {what} of another network: missing {missing}, unexpected {extra}")
    for name, shape in shapes.items():
        if tuple(given[name].shape) != shape:
            raise ShapeError(f"{op}: {name} has shape {tuple(given[name].shape)}, expected {shape}")
        float_dtype(op, mixture=mixture.weights, **{name: given[name]})

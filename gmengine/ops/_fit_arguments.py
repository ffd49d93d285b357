"""Arguments that the dense fits share: one bias per mixture, three epsilons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import Any

from gmengine.autograd import value_of
from gmengine.autograd.arrays import broadcast_to, reshape
from gmengine.backend import float_dtype, namespace
from gmengine.errors import ArgumentError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture


def checked_epsilons(op: str, epsilons: Sequence[float]) -> tuple[float, ...]:
    """Return the three epsilons as numbers."""
    values = tuple(float(e) for e in epsilons)
    if len(values) != 3 or not all(math.isfinite(e) and e >= 0.0 for e in values):
        raise ArgumentError(f"{op}: expected three finite epsilons >= 0, got {values}")
    return values


def flat_bias(op: str, m: Mixture, bias: Any) -> Any:
    """Return one bias per flattened mixture, shape (M,); gradients flow back."""
    weights = value_of(m.weights)
    xp = namespace(weights)
    if isinstance(bias, int | float | list | tuple):
        bias = xp.asarray(bias, dtype=weights.dtype)
    value = value_of(bias)
    namespace(weights, value)
    float_dtype(op, mixture=weights, bias=value)
    if not bool(xp.all(xp.isfinite(value))):
        raise NonFiniteError(f"{op}: the bias holds NaN or infinity")
    shape = tuple(value.shape)
    if len(shape) > len(m.batch) or any(
        s not in (1, b) for s, b in zip(reversed(shape), reversed(m.batch), strict=False)
    ):
        raise ShapeError(f"{op}: bias of shape {shape} does not broadcast to the batch {m.batch}")
    return reshape(broadcast_to(bias, m.batch), (prod(m.batch),))

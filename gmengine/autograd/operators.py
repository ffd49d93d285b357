"""Attach arithmetic, comparisons, indexing and methods to `Tensor`; importing `gmengine.autograd` does it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from gmengine.autograd import arrays
from gmengine.autograd.tensor import Tensor, value_of
from gmengine.autograd.trees import is_record
from gmengine.backend import Array


def _arithmetic(function: Callable[[Any, Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the methods for ``self op other`` and ``other op self``."""

    def straight(self: Tensor, other: Any) -> Any:
        # A Mixture knows what a number times itself is.
        return NotImplemented if is_record(other) else function(self, other)

    def reflected(self: Tensor, other: Any) -> Any:
        return function(other, self)

    return straight, reflected


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Array]:
    """Return the method that compares values: a plain boolean array, which has no gradient."""

    def compared(self: Tensor, other: Any) -> Array:
        return compare(self.value, value_of(other))

    return compared


def _sum(self: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return the sum over `axis`."""
    return arrays.sum(self, axis, keepdims)


def _mean(self: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return the arithmetic mean over `axis`."""
    return arrays.mean(self, axis, keepdims)


def _max(self: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the maximum over `axis`."""
    return arrays.max(self, axis, keepdims)


def _reshape(self: Tensor, *shape: Any) -> Tensor:
    """Return the elements in another shape, given as one tuple or as several integers."""
    return arrays.reshape(self, shape[0] if len(shape) == 1 else shape)


def _attach() -> None:
    for name, function in {
        "add": arrays.add,
        "sub": arrays.subtract,
        "mul": arrays.multiply,
        "truediv": arrays.divide,
        "matmul": arrays.matmul,
    }.items():
        straight, reflected = _arithmetic(function)
        setattr(Tensor, f"__{name}__", straight)
        setattr(Tensor, f"__r{name}__", reflected)
    for name in ("lt", "le", "eq", "ne", "ge", "gt"):
        setattr(Tensor, f"__{name}__", _comparison(getattr(operator, name)))
    for name, method in {
        "__neg__": arrays.negative,
        "__pow__": arrays.power,
        "__abs__": arrays.abs,
        "__getitem__": arrays.getitem,
        "sum": _sum,
        "mean": _mean,
        "max": _max,
        "reshape": _reshape,
    }.items():
        setattr(Tensor, name, method)


_attach()

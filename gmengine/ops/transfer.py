"""Transfer functions for `fit_transfer`: a function of numbers and its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gmengine.autograd import Primitive
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError


@dataclass(frozen=True, repr=False)
class Transfer:
    """A function phi of numbers and its derivative, applied to arrays element by element.

    A Transfer is callable on arrays and on Tensors, so ``gm.check_vjp(phi, x)`` compares the derivative with
    differences of the function.

    Parameters
    ----------
    function, derivative : callable
        From a plain array (NumPy or CuPy) to one of its shape and dtype. At a kink any slope between those of
        the two sides will do.
    name : str
        For messages.
    """

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    name: str

    def __call__(self, x: Any) -> Any:
        return transfer_p(x, transfer=self)[0]

    def __repr__(self) -> str:
        return f"Transfer({self.name})"


@Primitive
def transfer_p(x: Array, *, transfer: Transfer) -> Any:
    return (transfer.function(x),), (x, transfer)


@transfer_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    x, transfer = residuals
    return (cotangents[0] * transfer.derivative(x),)


identity = Transfer(lambda x: x, lambda x: namespace(x).ones_like(x), "identity")
"""phi(x) = x."""

relu = Transfer(
    lambda x: namespace(x).maximum(x, 0.0), lambda x: namespace(x).astype(x > 0.0, x.dtype), "relu"
)
"""phi(x) = max(x, 0), with slope 0 at 0."""

tanh = Transfer(
    lambda x: namespace(x).tanh(x), lambda x: 1.0 - namespace(x).square(namespace(x).tanh(x)), "tanh"
)
"""phi(x) = tanh(x)."""


def leaky_relu(slope: float = 0.01) -> Transfer:
    """Return phi(x) = x for x > 0, slope x elsewhere.

    Raises
    ------
    ArgumentError
        If the slope is not finite.
    """
    slope = _finite("leaky_relu", "slope", slope)
    return Transfer(
        lambda x: namespace(x).where(x > 0.0, x, slope * x),
        lambda x: namespace(x).where(x > 0.0, namespace(x).ones_like(x), slope),
        f"leaky_relu({slope:g})",
    )


def softplus(beta: float = 1.0) -> Transfer:
    """Return phi(x) = log(1 + exp(beta x)) / beta, a smooth `relu`: 1 / beta is the width of its bend.

    Raises
    ------
    ArgumentError
        If beta is not positive and finite.
    """
    beta = _positive("softplus", "beta", beta)

    def function(x: Array) -> Array:
        xp = namespace(x)
        return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-beta * xp.abs(x))) / beta  # exp does not overflow

    def derivative(x: Array) -> Array:
        xp = namespace(x)
        small = xp.exp(-beta * xp.abs(x))
        return xp.where(x >= 0.0, xp.ones_like(x), small) / (1.0 + small)

    return Transfer(function, derivative, f"softplus({beta:g})")


def elu(alpha: float = 1.0) -> Transfer:
    """Return phi(x) = x for x > 0, alpha (exp(x) - 1) elsewhere.

    Raises
    ------
    ArgumentError
        If alpha is not positive and finite.
    """
    alpha = _positive("elu", "alpha", alpha)

    def function(x: Array) -> Array:
        xp = namespace(x)
        return xp.where(x > 0.0, x, alpha * xp.expm1(xp.minimum(x, 0.0)))

    def derivative(x: Array) -> Array:
        xp = namespace(x)
        return xp.where(x > 0.0, xp.ones_like(x), alpha * xp.exp(xp.minimum(x, 0.0)))

    return Transfer(function, derivative, f"elu({alpha:g})")


def _finite(op: str, name: str, value: float) -> float:
    value = float(value)
    if not math.isfinite(value):
        raise ArgumentError(f"transfer.{op}: expected a finite {name}, got {value}")
    return value


def _positive(op: str, name: str, value: float) -> float:
    value = _finite(op, name, value)
    if value <= 0.0:
        raise ArgumentError(f"transfer.{op}: expected {name} > 0, got {value}")
    return value

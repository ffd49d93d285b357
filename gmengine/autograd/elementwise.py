"""Differentiable functions of each element. Arrays broadcast; Python numbers take the array's dtype."""

from __future__ import annotations

from typing import Any

from gmengine.autograd.primitive import Primitive
from gmengine.autograd.tensor import value_of
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError, BackendError, DTypeError

Needs = tuple[bool, ...]
Cotangents = tuple[Array, ...]


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum `grad` over the axes along which an operand of `shape` was broadcast."""
    if tuple(grad.shape) == shape:
        return grad
    extra = len(grad.shape) - len(shape)
    stretched = tuple(extra + i for i, n in enumerate(shape) if n == 1 and grad.shape[extra + i] != 1)
    xp = namespace(grad)
    return xp.reshape(xp.sum(grad, axis=(*range(extra), *stretched)), shape)


def same_dtype(op: str, *operands: Any) -> None:
    """Refuse arrays of different dtypes: nothing is promoted silently."""
    first = operands[0].dtype
    if any(x.dtype != first for x in operands):
        listing = ", ".join(str(x.dtype) for x in operands)
        raise DTypeError(f"{op}: expected arrays of one dtype, got {listing}")


def _operands(op: str, x: Any, y: Any) -> tuple[Any, Any]:
    """Return both operands, at least one of them an array, once they are known to fit."""
    # np.float64 is a Python float too: as a number it leaves a float32 array float32.
    if isinstance(y, float | int):
        y, given = float(y) if isinstance(y, float) else y, [x]
    elif isinstance(x, float | int):
        x, given = float(x) if isinstance(x, float) else x, [y]
    else:
        given = [x, y]
    if not all(hasattr(v, "dtype") for v in given):
        raise BackendError(f"{op}: expected arrays or numbers, got {type(x).__name__} and {type(y).__name__}")
    if len(given) == 2:
        a, b = value_of(x), value_of(y)
        if type(a) is not type(b):
            namespace(a, b)  # says so if the libraries differ
        same_dtype(op, a, b)
    return x, y


def _namespace(x: Any, y: Any) -> Any:
    return namespace(*[v for v in (x, y) if not isinstance(v, float | int)])


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(getattr(x, "shape", ()))


@Primitive
def add_p(x: Array, y: Array) -> Any:
    return (x + y,), (_shape(x), _shape(y))


@add_p.defvjp
def _(shapes: Any, cotangents: Cotangents, needs: Needs) -> Any:
    return [unbroadcast(cotangents[0], s) if need else None for s, need in zip(shapes, needs, strict=True)]


@Primitive
def subtract_p(x: Array, y: Array) -> Any:
    return (x - y,), (_shape(x), _shape(y))


@subtract_p.defvjp
def _(shapes: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (g,) = cotangents
    return unbroadcast(g, shapes[0]) if needs[0] else None, unbroadcast(-g, shapes[1]) if needs[1] else None


@Primitive
def multiply_p(x: Array, y: Array) -> Any:
    return (x * y,), (x, y)


@multiply_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (x, y), (g,) = residuals, cotangents
    return (
        unbroadcast(g * y, _shape(x)) if needs[0] else None,
        unbroadcast(g * x, _shape(y)) if needs[1] else None,
    )


@Primitive
def divide_p(x: Array, y: Array) -> Any:
    out = x / y
    return (out,), (_shape(x), y, out)


@divide_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    """d(x/y) = (dx - (x/y) dy) / y."""
    shape, y, out = residuals
    share = cotangents[0] / y
    return (
        unbroadcast(share, shape) if needs[0] else None,
        unbroadcast(-share * out, _shape(y)) if needs[1] else None,
    )


@Primitive
def where_p(x: Array, y: Array, *, condition: Array) -> Any:
    return (namespace(condition).where(condition, x, y),), (condition, _shape(x), _shape(y))


@Primitive
def maximum_p(x: Array, y: Array) -> Any:
    return (_namespace(x, y).maximum(x, y),), (x > y, _shape(x), _shape(y))


@Primitive
def minimum_p(x: Array, y: Array) -> Any:
    return (_namespace(x, y).minimum(x, y),), (x < y, _shape(x), _shape(y))


@where_p.defvjp
@maximum_p.defvjp
@minimum_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (first, x_shape, y_shape), (g,) = residuals, cotangents
    xp = namespace(g)
    return (
        unbroadcast(xp.where(first, g, 0.0), x_shape) if needs[0] else None,
        unbroadcast(xp.where(first, 0.0, g), y_shape) if needs[1] else None,
    )


@Primitive
def negative_p(x: Array) -> Any:
    return (-x,), None


@negative_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    return (-cotangents[0],)


@Primitive
def power_p(x: Array, *, exponent: float) -> Any:
    return (x**exponent,), (x, exponent)


@power_p.defvjp
def _(residuals: Any, cotangents: Cotangents, needs: Needs) -> Any:
    (x, exponent), (g,) = residuals, cotangents
    # x**0 is constant also at x = 0, where 0 * x**-1 would be NaN.
    return (g * (exponent * x ** (exponent - 1)) if exponent else 0.0 * g,)


@Primitive
def abs_p(x: Array) -> Any:
    return (namespace(x).abs(x),), x


@abs_p.defvjp
def _(x: Any, cotangents: Cotangents, needs: Needs) -> Any:
    # without sign(): array-api-compat's waits for the GPU, to look for NaN
    (g,), xp = cotangents, namespace(x)
    return (xp.where(x > 0.0, g, xp.where(x < 0.0, -g, x * g)),)


@Primitive
def exp_p(x: Array) -> Any:
    out = namespace(x).exp(x)
    return (out,), out


@exp_p.defvjp
def _(out: Any, cotangents: Cotangents, needs: Needs) -> Any:
    return (cotangents[0] * out,)


@Primitive
def log_p(x: Array) -> Any:
    return (namespace(x).log(x),), x


@log_p.defvjp
def _(x: Any, cotangents: Cotangents, needs: Needs) -> Any:
    return (cotangents[0] / x,)


@Primitive
def sqrt_p(x: Array) -> Any:
    out = namespace(x).sqrt(x)
    return (out,), out


@sqrt_p.defvjp
def _(out: Any, cotangents: Cotangents, needs: Needs) -> Any:
    return (cotangents[0] * 0.5 / out,)


@Primitive
def square_p(x: Array) -> Any:
    return (x * x,), x


@square_p.defvjp
def _(x: Any, cotangents: Cotangents, needs: Needs) -> Any:
    return (cotangents[0] * (2.0 * x),)


@Primitive
def softplus_p(x: Array) -> Any:
    xp = namespace(x)
    return (xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x))),), x


@softplus_p.defvjp
def _(x: Any, cotangents: Cotangents, needs: Needs) -> Any:
    """The derivative is the logistic function, computed from exp(-|x|) so that nothing overflows."""
    xp = namespace(x)
    small = xp.exp(-xp.abs(x))
    return (cotangents[0] * xp.where(x >= 0.0, 1.0, small) / (1.0 + small),)


def add(x: Array, y: Array) -> Array:
    """Return x + y."""
    return add_p(*_operands("add", x, y))[0]


def subtract(x: Array, y: Array) -> Array:
    """Return x - y."""
    return subtract_p(*_operands("subtract", x, y))[0]


def multiply(x: Array, y: Array) -> Array:
    """Return x y."""
    return multiply_p(*_operands("multiply", x, y))[0]


def divide(x: Array, y: Array) -> Array:
    """Return x / y."""
    return divide_p(*_operands("divide", x, y))[0]


def maximum(x: Array, y: Array) -> Array:
    """Return the larger of x and y; of equal ones y gets the gradient: maximum(x, 0.0) has slope 0 at 0."""
    return maximum_p(*_operands("maximum", x, y))[0]


def minimum(x: Array, y: Array) -> Array:
    """Return the smaller of x and y; of equal ones y gets the gradient."""
    return minimum_p(*_operands("minimum", x, y))[0]


def where(condition: Array, x: Array, y: Array) -> Array:
    """Return x where `condition` (a boolean array, never differentiated) holds, else y."""
    return where_p(*_operands("where", x, y), condition=value_of(condition))[0]


def negative(x: Array) -> Array:
    """Return -x."""
    return negative_p(x)[0]


def power(x: Array, exponent: float) -> Array:
    """Return x to the power of `exponent`, a Python number.

    Raises
    ------
    ArgumentError
        If the exponent is an array: write exp(y log(x)) for x > 0.
    """
    if not isinstance(exponent, float | int):
        raise ArgumentError(f"power: expected a number as exponent, got {type(exponent).__name__}")
    return power_p(x, exponent=float(exponent) if isinstance(exponent, float) else exponent)[0]


def abs(x: Array) -> Array:
    """Return the absolute value; its gradient at 0 is 0."""
    return abs_p(x)[0]


def exp(x: Array) -> Array:
    """Return e to the power of x."""
    return exp_p(x)[0]


def log(x: Array) -> Array:
    """Return the natural logarithm."""
    return log_p(x)[0]


def sqrt(x: Array) -> Array:
    """Return the square root; its gradient at 0 is infinite."""
    return sqrt_p(x)[0]


def square(x: Array) -> Array:
    """Return x^2."""
    return square_p(x)[0]


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)), without overflow."""
    return softplus_p(x)[0]

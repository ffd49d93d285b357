"""Functions from functions: gradients of scalar functions of arrays, Mixtures, and dicts of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from gmengine.autograd.tape import Tape
from gmengine.autograd.tensor import Tensor
from gmengine.autograd.trees import tree_map
from gmengine.errors import ShapeError, TapeError


def value_and_grad(fn: Callable[..., Any], aux: bool = False) -> Callable[..., tuple[Any, Any]]:
    """Return the function ``(x, *rest) -> (fn(x, *rest), gradient with respect to x)``.

    Parameters
    ----------
    fn : callable
        Returns a scalar; its first argument is an array, a Mixture, or a dict, list or tuple of them. The
        other arguments are passed on as they are.
    aux : bool
        `fn` returns ``(scalar, aux)``, and the result is ``((scalar, aux), gradient)``; in `aux`, a structure
        of anything, arrays stand for Tensors.

    Raises
    ------
    TapeError
        If x does not reach the value (see `Tape.gradient`), or holds Tensors: there are no gradients of
        gradients.
    ShapeError
        If the value is no scalar.
    """

    @wraps(fn)
    def wrapped(x: Any, *rest: Any, **options: Any) -> tuple[Any, Any]:
        tape = Tape()
        watched = tape.watch(x)
        result = fn(watched, *rest, **options)
        value, extra = result if aux else (result, None)
        if not isinstance(value, Tensor):
            raise TapeError(
                f"value_and_grad: the value, a {type(value).__name__}, does not depend on the argument"
            )
        if value.ndim:
            raise ShapeError(f"value_and_grad: expected a scalar value, got shape {value.shape}")
        grads = tape.gradient(value, watched, release=True)  # the tape is nobody else's
        return (_off_tape(value, tape), _off_tape(extra, tape)) if aux else value.value, grads

    return wrapped


def grad(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function ``(x, *rest) -> gradient of fn(x, *rest)`` in x; see `value_and_grad`."""
    both = value_and_grad(fn)

    @wraps(fn)
    def wrapped(x: Any, *rest: Any, **options: Any) -> Any:
        return both(x, *rest, **options)[1]

    return wrapped


def _off_tape(tree: Any, tape: Tape) -> Any:
    """Return `tree` with arrays for the Tensors of `tape`; others would lose their history unseen."""

    def array_of(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if leaf.tape is not tape:
            raise TapeError(
                "value_and_grad: aux holds a Tensor of another tape; gradients of gradients are not supported"
            )
        return leaf.value

    return tree_map(array_of, tree)

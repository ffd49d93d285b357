"""Declare a differentiable function: a forward that returns its residuals, and a hand-written vjp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gmengine.autograd.tape import Entry, Tape
from gmengine.autograd.tensor import Tensor, as_array
from gmengine.backend import Array
from gmengine.errors import TapeError

Forward = Callable[..., tuple[tuple[Array, ...], Any]]
Vjp = Callable[[Any, tuple[Array, ...], tuple[bool, ...]], Sequence[Array | None]]


class Primitive:
    """A differentiable function of arrays.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays, **static) -> (outputs, residuals)``; `outputs` is a tuple of arrays, `residuals`
        whatever the vjp needs, never anything of size N^2.

    Notes
    -----
    Declare the rule with `defvjp`: ``vjp(residuals, cotangents, needs)`` returns one gradient, or None
    where ``needs`` is False, per array input. It must not write to its cotangents, which may be
    views of any strides, read-only, and for covariances not symmetric. A call always returns a
    tuple: of arrays if no input is a Tensor, else of Tensors.
    """

    def __init__(self, forward: Forward) -> None:
        self.name: str = forward.__name__
        self.__doc__ = forward.__doc__
        self.forward = forward
        self._vjp: Vjp | None = None

    def defvjp(self, rule: Vjp) -> Vjp:
        """Declare `rule` as the vjp; use as a decorator."""
        self._vjp = rule
        return rule

    def vjp(
        self, residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]
    ) -> Sequence[Array | None]:
        """Return the gradients that the rule gives."""
        if self._vjp is None:
            raise TapeError(f"{self.name} has no vjp; declare one with @{self.name}.defvjp")
        grads = self._vjp(residuals, cotangents, needs)
        if len(grads) != len(needs):
            raise TapeError(f"{self.name}: its vjp returned {len(grads)} gradients for {len(needs)} inputs")
        return [as_array(g) for g in grads]

    def __call__(self, *inputs: Any, **static: Any) -> tuple[Any, ...]:
        tape: Tape | None = None
        values = []
        for x in inputs:
            if isinstance(x, Tensor):
                if tape is None:
                    tape = x.tape
                elif x.tape is not tape:
                    raise TapeError(
                        f"{self.name}: inputs were recorded on two different tapes "
                        "(gradients of gradients are not supported)"
                    )
                values.append(x.value)
            else:
                values.append(x)
        outputs, residuals = self.forward(*values, **static)
        if tape is None:
            return tuple([as_array(o) for o in outputs])
        tensors = tuple([tape.tensor(o) for o in outputs])
        tape.record(
            Entry(
                self,
                residuals,
                tuple([x.slot if isinstance(x, Tensor) else None for x in inputs]),
                tuple([t.slot for t in tensors]),
            )
        )
        return tensors

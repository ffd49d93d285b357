"""An array whose history is being recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gmengine.backend import Array

if TYPE_CHECKING:
    from gmengine.autograd.tape import Tape


class Tensor:
    """An array whose history is being recorded: ``(value, tape, slot)``.

    Arithmetic, comparisons, indexing and the usual methods are attached by `gmengine.autograd.operators`.
    """

    __array_ufunc__ = None  # ndarray + Tensor must come to Tensor.__radd__, not loop over elements
    __slots__ = ("slot", "tape", "value")

    def __init__(self, value: Array, tape: Tape, slot: int) -> None:
        self.value, self.tape, self.slot = value, tape, slot

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def ndim(self) -> int:
        return len(self.value.shape)

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        # NumPy would otherwise build an object array of Tensors, element by element.
        raise TypeError(
            "a Tensor is no NumPy array: use gmengine's functions, or value_of(tensor) to leave the tape"
        )

    def __repr__(self) -> str:
        return f"Tensor({self.value!r})"


def as_array(x: Any) -> Any:
    """Return a NumPy scalar as a 0-d array, anything else as it is.

    NumPy's reductions to 0-d and its arithmetic of 0-d arrays give scalars, other libraries' give arrays.
    """
    return np.asarray(x) if isinstance(x, np.generic) else x


def value_of(x: Any) -> Any:
    """Return the array of a Tensor; anything else comes back as it is."""
    return x.value if isinstance(x, Tensor) else x

"""One example of an audit: what is drawn, remembered by name so that it can be reported."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gmengine.mixture import Mixture
from gmengine.testing import strategies as gms
from gmengine.testing.auditing._algebra import Algebra

FEW = st.integers(1, 3)
SOME = st.integers(2, 4)
MANY = st.integers(2, 8)
TO_FIVE = st.integers(1, 5)

# To make a strategy costs more than to draw from it.
_mixtures = lru_cache(maxsize=1024)(lambda options: gms.mixtures(**dict(options)))
_points = lru_cache(maxsize=1024)(lambda options: gms.points(**dict(options)))
_shifts = lru_cache(maxsize=1024)(gms.shifts)
_choices = lru_cache(maxsize=1024)(st.sampled_from)
_integers = lru_cache(maxsize=1024)(st.integers)
_scalars = lru_cache(maxsize=1024)(gms.scalars)


class Case:
    """Draws the inputs of a law for an algebra; `drawn` holds them by name.

    Parameters
    ----------
    data : the value of `hypothesis.strategies.data()`
    algebra : Algebra
        Tells which mixtures its functions take.
    dims : sequence of int
        Spatial dimensions to draw from.
    """

    def __init__(self, data: st.DataObject, algebra: Algebra, dims: Sequence[int]) -> None:
        self.f: Any = algebra
        """The algebra: the functions that a check needs are there."""
        self.dims, self.drawn = tuple(dims), dict[str, Any]()
        self.condition = algebra.max_condition
        self._data = data

    def draw(self, name: str, strategy: st.SearchStrategy[Any]) -> Any:
        """Draw a value and remember it."""
        value = self._data.draw(strategy)
        self.drawn[name] = _copy(value)  # a function may write to what it is given
        return value

    def dim(self, most: int = 99) -> int:
        """Draw K, not more than `most` unless nothing smaller was asked for."""
        allowed = [k for k in self.dims if k <= most] or [min(self.dims)]
        return int(self._data.draw(_choices(tuple(allowed))))

    def dtype(self) -> str:
        """Draw one of the algebra's dtypes."""
        return str(self.draw("dtype", _choices(tuple(self.f.dtypes))))

    def mixture(self, name: str = "m", dim: int | None = None, **options: Any) -> Mixture:
        """Draw a mixture such as the algebra takes, a batch of them unless the options say otherwise."""
        defaults = {
            "dim": self.dim() if dim is None else dim,
            "batch": _choices(tuple(self.f.batches)),
            "signed": self.f.signed,
            "max_condition": self.f.max_condition,
            "absent": 0.15 if self.f.absent else 0.0,
        }
        options = {**defaults, **options}
        if not self.f.absent:
            options["absent"] = 0.0
        return self.draw(name, _mixtures(tuple(options.items())))

    def single(self, name: str = "m", dim: int | None = None, **options: Any) -> Mixture:
        """Draw a mixture without batch axes."""
        return self.mixture(name, dim, **{"batch": (), **options})

    def points(self, m: Mixture, name: str = "points", **options: Any) -> Any:
        """Draw one to five points for a mixture, in its dtype."""
        defaults = {"dim": m.dim, "n_points": TO_FIVE, "dtype": str(m.dtype)}
        return self.draw(name, _points(tuple({**defaults, **options}.items())))

    def shift(self, m: Mixture, name: str = "shift") -> Any:
        """Draw a translation."""
        return self.draw(name, _shifts(dim=m.dim, dtype=str(m.dtype)))

    def order(self, m: Mixture) -> Any:
        """Draw a permutation of the components."""
        return self.draw("order", st.permutations(range(m.n_components)))

    def number(self, name: str, low: float, high: float) -> float:
        """Draw a number that float32 can hold."""
        return float(np.float32(self.draw(name, _scalars(low, high))))

    def choice(self, name: str, *values: Any) -> Any:
        """Draw one of the given values."""
        return self.draw(name, _choices(values))

    def integer(self, name: str, low: int, high: int) -> int:
        """Draw an integer."""
        return int(self.draw(name, _integers(low, high)))

    def fewer(self, m: Mixture) -> int:
        """Draw how many components to reduce to; at least 2, one for each sign, unless signs are alike."""
        low = 2 if self.f.signed else 1
        return int(self.draw("n", _integers(low, max(low, m.n_components - 1))))

    def described(self) -> str:
        """Return one line ``name = value`` for everything drawn, in a form that can be typed in."""
        return "\n".join(f"{name} = {_typed(value)}" for name, value in self.drawn.items())


def _copy(value: Any) -> Any:
    if isinstance(value, Mixture):
        return Mixture(*(a.copy() for a in value.arrays))
    return value.copy() if isinstance(value, np.ndarray) else value


def _typed(value: Any) -> str:
    if isinstance(value, Mixture):
        cast = "" if value.dtype == np.float64 else f".astype({str(value.dtype)!r})"
        fields = ", ".join(str(a.tolist()) for a in value.arrays)
        return f"Mixture({fields}){cast}"
    if isinstance(value, np.ndarray):
        cast = "" if value.dtype == np.float64 else f", dtype={str(value.dtype)!r}"
        return f"np.array({value.tolist()}{cast})"
    return repr(value)

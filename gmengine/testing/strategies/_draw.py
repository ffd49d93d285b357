"""How numbers are drawn: many at little cost, and so that a failing example ends with few and simple ones.

Bulk numbers come from a drawn seed, at one of four levels of detail for each kind of number: all equal, zeros
and ones, small integers and halves, and full precision. Hypothesis shrinks sizes, seed and levels; whatever
can be plain while the failure persists becomes plain. By chance nearly every example has full precision: a
level is the sum of two numbers up to 100, which is small once in a thousand times.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gmengine.mixture import Mixture

Draw = Callable[[st.SearchStrategy[Any]], Any]

seeds = st.integers(0, 2**32 - 1)
"""Seeds for `np.random.default_rng`."""

FULL = 3
"""The level of detail at which numbers are in general position."""

_HALVES = st.integers(0, 100)


def value(draw: Draw, given: Any, default: st.SearchStrategy[Any]) -> Any:
    """Return a size that was given as a value, as a strategy, or as None for the default strategy."""
    if given is None:
        return draw(default)
    return draw(given) if isinstance(given, st.SearchStrategy) else given


def sources(draw: Draw, kinds: int, generic: bool) -> list[tuple[np.random.Generator, int]]:
    """Draw for each kind of number its generator and its level of detail, 0 to `FULL`."""
    seed = draw(seeds)
    levels = [FULL if generic else min(draw(_HALVES) + draw(_HALVES), FULL) for _ in range(kinds)]
    return [(np.random.default_rng((seed, kind)), level) for kind, level in enumerate(levels)]


_drawn = threading.local()
_NONE = st.none()


@st.composite
def _field(draw: Draw, name: str) -> Any:
    draw(_NONE)  # a composite strategy has to draw
    return getattr(_drawn.mixture, name)


_REBUILT = st.builds(Mixture, **{name: _field(name) for name in ("weights", "means", "covariances")})


def printed_in_full(draw: Draw, m: Mixture) -> Mixture:
    """Return an equal mixture that Hypothesis will print with all its numbers if an example fails.

    Hypothesis prints what `builds` made by its arguments. The strategy is made once, because to make one
    costs more than everything else here.
    """
    _drawn.mixture = m
    return draw(_REBUILT)

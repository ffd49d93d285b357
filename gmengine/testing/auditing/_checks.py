"""The table of laws that an audit knows: each with the functions that it needs, and how its inputs are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gmengine.testing.auditing._algebra import Algebra
from gmengine.testing.auditing._case import Case


@dataclass(frozen=True)
class Check:
    """A law as an audit runs it."""

    law: str
    """The name of the law in `gmengine.testing.laws`."""
    needs: tuple[str, ...]
    """The functions that it is about; empty for laws about all that were given."""
    applies: Callable[[Algebra], bool]
    """Whether it can hold for what the algebra's functions take."""
    run: Callable[[Case], None]
    """Draws inputs and calls the law."""

    def is_for(self, algebra: Algebra) -> bool:
        """Return whether the algebra has what the law needs."""
        return all(getattr(algebra, name) is not None for name in self.needs) and self.applies(algebra)


CHECKS: list[Check] = []
"""All checks, in the order in which they run."""


def check(
    law: Callable[..., Any], *needs: str, applies: Callable[[Algebra], bool] = lambda _: True
) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Register a function that draws the inputs of `law` and calls it."""

    def register(run: Callable[[Case], None]) -> Callable[[Case], None]:
        CHECKS.append(Check(law.__name__, needs, applies, run))
        return run

    return register


def knows_absent(algebra: Algebra) -> bool:
    return algebra.absent


def knows_single_precision(algebra: Algebra) -> bool:
    return "float32" in algebra.dtypes


def knows_batches(algebra: Algebra) -> bool:
    return any(algebra.batches)

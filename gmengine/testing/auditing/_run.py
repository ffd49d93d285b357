"""Run every law that applies to an algebra, and report the smallest counterexample to each that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

from gmengine.errors import ArgumentError
from gmengine.testing.auditing import _contracts as _contracts
from gmengine.testing.auditing import _mixtures as _mixtures
from gmengine.testing.auditing import _values as _values
from gmengine.testing.auditing._algebra import Algebra
from gmengine.testing.auditing._case import Case
from gmengine.testing.auditing._checks import CHECKS, Check

MAX_EXAMPLES = 20
"""Examples for each law, if nothing else is asked for."""


@dataclass(frozen=True)
class Verdict:
    """What an audit found about one law."""

    law: str
    """Name of the law in `gmengine.testing.laws`."""
    functions: tuple[str, ...]
    """The functions of the algebra that it is about; empty for laws about all of them."""
    examples: int
    """How many examples were run; up to and including the first that failed."""
    error: str = ""
    """What was wrong in the smallest example that fails; empty if none did."""
    example: str = ""
    """That example, as ``name = value`` lines that can be typed in."""

    @property
    def holds(self) -> bool:
        """Whether no counterexample was found."""
        return not self.error

    def __str__(self) -> str:
        about = f" ({', '.join(self.functions)})" if self.functions else ""
        if self.holds:
            return f"{self.law}{about}: {self.examples} examples"
        found = f"{self.law}{about}: violated, found with example {self.examples}"
        return f"{found}\n{indent(self.error, '    ')}\n{indent(self.example, '    ')}"


@dataclass(frozen=True)
class Report:
    """The verdicts of an audit, in the order in which the laws ran."""

    verdicts: tuple[Verdict, ...]

    @property
    def violated(self) -> tuple[Verdict, ...]:
        """The verdicts on laws that do not hold."""
        return tuple(v for v in self.verdicts if not v.holds)

    def __str__(self) -> str:
        head = f"{len(self.verdicts)} laws, {len(self.violated)} violated"
        return "\n".join([head, *(str(v) for v in self.verdicts)])


class AuditError(AssertionError):
    """Raised by `audit`: some laws are violated. `report` holds all verdicts."""

    def __init__(self, report: Report) -> None:
        self.report = report
        head = f"audit: {len(report.violated)} of {len(report.verdicts)} laws are violated"
        super().__init__("\n\n".join([head, *(str(v) for v in report.violated)]))


def audit(
    algebra: Algebra,
    *,
    dims: Sequence[int] = (1, 2, 3),
    max_examples: int | None = None,
    laws: Sequence[str] | None = None,
    seed: int = 0,
) -> Report:
    """Run all laws that apply to the given functions on drawn mixtures; return what held.

    Parameters
    ----------
    algebra : Algebra
        The functions, and what they can be given. A law runs if all functions that it needs are there.
    dims : sequence of int
        Spatial dimensions to try.
    max_examples : int, optional
        For each law; 20 by default, which takes some seconds in all.
    laws : sequence of str, optional
        Names of laws, to run only these.
    seed : int
        Draws the examples: the same seed, the same audit.

    Returns
    -------
    Report

    Raises
    ------
    AuditError
        If a law is violated, or a function raised an exception: lists every such law with its smallest
        counterexample.
    ArgumentError
        If a name in `laws` is unknown, or nothing is left to run.
    """
    known = {check.law for check in CHECKS}
    unknown = sorted(set(laws or ()) - known)
    if unknown:
        raise ArgumentError(f"audit: unknown laws {unknown}; known are {sorted(known)}")
    chosen = [c for c in CHECKS if c.is_for(algebra) and (laws is None or c.law in laws)]
    if not chosen:
        raise ArgumentError(f"audit: no law to run for {sorted(algebra.functions)}")
    if not dims or min(dims) < 1:
        raise ArgumentError(f"audit: expected spatial dimensions >= 1, got {tuple(dims)}")
    examples = MAX_EXAMPLES if max_examples is None else max_examples
    report = Report(tuple(_verdict(check, algebra, dims, examples, seed) for check in chosen))
    if report.violated:
        raise AuditError(report)
    return report


def _verdict(check: Check, algebra: Algebra, dims: Sequence[int], max_examples: int, seed: int) -> Verdict:
    count, failure = 0, None

    @hypothesis.seed(seed)
    @settings(
        max_examples=max_examples,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
    )
    @given(st.data())
    def examine(data: st.DataObject) -> None:
        nonlocal count, failure
        count += failure is None
        case = Case(data, algebra, dims)
        try:
            check.run(case)
        except HypothesisException:  # how Hypothesis steers
            raise
        except Exception as error:
            failure = case, error  # the last one is the smallest
            raise

    try:
        examine()
    except Exception:
        if failure is None:
            raise
        case, error = failure
        text = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        return Verdict(check.law, check.needs, count, text or "AssertionError", case.described())
    return Verdict(check.law, check.needs, count)

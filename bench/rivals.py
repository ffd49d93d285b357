"""Time a case and its peers in turns, and check that they compute the same."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from bench.harness import Case, Question
from gmengine.autograd import leaves

SETTLE = 0.05  # seconds until the other side's worker threads have stopped to spin at their barrier
AGREEMENT = 2e-3  # of float32 sums by other formulas, relative to the largest value


def compare(case: Case, peers: Mapping[str, ModuleType], *, repeats: int) -> dict[str, dict[str, Any]]:
    """Return, for every peer that can answer the case's question, its time and how many times ours it is.

    Ours and theirs take turns, so that both see the same machine; a peer with several forms shows its best.
    """
    found: dict[str, dict[str, Any]] = {}
    if case.question is None:
        return found
    for name, peer in peers.items():
        for form, run in _answers(peer, case.question):
            result = _duel(case, run, repeats) | {"form": form}
            if name not in found or result["ratio"] < found[name]["ratio"]:
                found[name] = result
    return found


def _answers(peer: ModuleType, question: Question) -> list[tuple[str, Callable[[], Any]]]:
    op = getattr(peer, question.op, None)
    if op is None:
        return []
    forms = getattr(peer, "FORMS", ("",))
    runs = [
        (form, op(*question.inputs, question.gradients, **({"form": form} if form else {}))) for form in forms
    ]
    return [(form, run) for form, run in runs if run is not None]


def _duel(case: Case, run: Callable[[], Any], repeats: int) -> dict[str, Any]:
    values = run()
    if case.quality is None:
        _agree(case, values)
    ours, theirs = [], []
    for _ in range(repeats):
        for function, seconds in ((case.run, ours), (run, theirs)):
            time.sleep(SETTLE)
            began = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - began)
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "median_seconds": other,
        "our_median_seconds": mine,
        "ratio": other / mine,
        "rate": case.work / other,
    } | ({"quality": case.quality(values)} if case.quality else {})


def _agree(case: Case, values: Any) -> None:
    """Raise if a peer's values are not ours; None stands for a yardstick without values."""
    if values is None:
        return
    result = case.run()
    if case.question is not None and case.question.gradients:
        result = result[1]  # of (value, gradients); a peer returns the first of them
    theirs = values if isinstance(values, tuple) else (values,)
    for value, ours in zip(theirs, leaves(result), strict=False):
        want = np.asarray(ours)
        error = np.max(np.abs(value.reshape(want.shape) - want)) / np.max(np.abs(want))
        if not error < AGREEMENT:
            raise ArithmeticError(f"{case.name}: a peer's values differ by {error:.2g} of the largest")

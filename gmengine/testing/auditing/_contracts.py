"""Checks that every given function has to pass, whatever it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gmengine.testing import laws
from gmengine.testing.auditing._case import SOME, Case
from gmengine.testing.auditing._checks import check

Call = tuple[str, Callable[..., Any], tuple[Any, ...]]


def _calls(c: Case, which: str = "", dtype: str = "float64") -> Iterator[Call]:
    """Yield name, function and inputs of a call of every given function; `which` marks what is drawn."""
    dim = c.dims[-1]
    a, b = (
        c.single(name + which, dim, n_components=SOME, dtype=dtype, absent=0.0, generic=True) for name in "ab"
    )
    points = c.points(a, "points" + which, generic=True)
    shift = c.shift(a, "shift" + which)
    of_mixture: dict[str, tuple[Any, ...]] = {
        "evaluate": (points,),
        "evaluate_vjp": (points, np.ones(len(points), dtype)),
        "density_gradient": (points,),
        "density_hessian": (points,),
        "integrate": (),
        "convolve": (b,),
        "translate": (shift,),
        "scale": (2.0,),
        "relu": (-0.125,),
        "reduce": (2,),
        "product": (b,),
        "l2_distance": (b,),
    }
    for name, fn in c.f.functions.items():
        if name in of_mixture:
            yield name, fn, (a, *of_mixture[name])


def _each(c: Case, law: Callable[..., None], **options: Any) -> None:
    for name, fn, inputs in _calls(c, **options):
        _named(name, law, fn, *inputs)


def _named(name: str, law: Callable[..., None], *args: Any) -> None:
    try:
        law(*args)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error


@check(laws.inputs_stay_unchanged)
def _(c: Case) -> None:
    _each(c, laws.inputs_stay_unchanged)


@check(laws.results_stay_unchanged)
def _(c: Case) -> None:
    first, second = list(_calls(c)), list(_calls(c, " of the second call"))
    for (name, fn, inputs), (_, _, others) in zip(first, second, strict=True):
        _named(name, laws.results_stay_unchanged, fn, inputs, others)


@check(laws.calls_repeat_to_the_bit)
def _(c: Case) -> None:
    _each(c, laws.calls_repeat_to_the_bit)


@check(laws.dtype_is_kept)
def _(c: Case) -> None:
    _each(c, laws.dtype_is_kept, dtype=c.dtype())


@check(laws.layout_does_not_matter)
def _(c: Case) -> None:
    _each(c, laws.layout_does_not_matter)

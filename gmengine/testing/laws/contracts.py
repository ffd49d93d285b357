"""Laws that every function should obey, whatever it computes; inputs are arrays, Mixtures and plain numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from gmengine.autograd.trees import tree_map, walk
from gmengine.mixture import Mixture
from gmengine.testing.assertions import asnumpy, assert_close, assert_mixtures_close
from gmengine.testing.laws._common import copied

Fn = Callable[..., Any]


def inputs_stay_unchanged(fn: Fn, *inputs: Any) -> None:
    """A call writes to none of its inputs."""
    before = copied(inputs)
    fn(*inputs)
    _same_bits(copied(inputs), before, "input")


def results_stay_unchanged(fn: Fn, inputs: tuple[Any, ...], others: tuple[Any, ...]) -> None:
    """A result belongs to the caller: a later call, with other inputs, does not write to it."""
    result = fn(*inputs)
    before = copied(result)
    fn(*others)
    _same_bits(copied(result), before, "result")


def calls_repeat_to_the_bit(fn: Fn, *inputs: Any) -> None:
    """The same inputs give the same bits."""
    first = copied(fn(*inputs))
    _same_bits(copied(fn(*inputs)), first, "result")


def layout_does_not_matter(fn: Fn, *inputs: Any) -> None:
    """Arrays in Fortran order, or that are views with other strides, give what contiguous ones give.

    Up to rounding, generously: other strides may mean another order of summation. Inputs are float64.
    """

    def strided(x: Any) -> Any:
        x = asnumpy(x)
        twice = np.repeat(x, 2, axis=-1) if x.ndim else x
        return np.asfortranarray(twice)[..., ::2] if x.ndim else x

    implementations_agree(lambda *args: fn(*tree_map(strided, args)), fn, *inputs, kind="golden")


def dtype_is_kept(fn: Fn, *inputs: Any) -> None:
    """Every number of the result has the dtype of the first input's."""
    want = asnumpy(next(leaf for _, leaf in walk(inputs))).dtype
    for path, leaf in walk(fn(*inputs)):
        got = asnumpy(leaf).dtype
        assert got == want or got.kind != "f", f"result{path} of {want} inputs is {got}"


def single_precision_agrees(
    fn: Fn,
    *inputs: Any,
    kind: str = "solve",
    size: int = 1,
    condition: float = 10.0,
    scale: Any = None,
    any_order: bool = False,
) -> None:
    """Of float32 inputs a function makes what it makes of the same numbers in float64.

    Parameters
    ----------
    fn, *inputs
        Float64 arrays and Mixtures that are representable in float32, and plain numbers.
    kind, size, condition, scale, any_order
        Of `assert_close`, or of `assert_mixtures_close` if the result is a Mixture.
    """

    def single(x: Any) -> Any:
        return x.astype(np.float32) if getattr(x, "dtype", None) == np.float64 else x

    _compare(
        fn(*tree_map(single, inputs)),
        fn(*inputs),
        {"kind": kind, "size": size, "condition": condition, "scale": scale, "any_order": any_order},
    )


def implementations_agree(
    fn: Fn,
    other: Fn,
    *inputs: Any,
    kind: str = "solve",
    size: int = 1,
    condition: float = 10.0,
    scale: Any = None,
    any_order: bool = False,
) -> None:
    """Two implementations of one function, or one on two devices, give the same up to rounding.

    Parameters
    ----------
    fn, other : callables
        To compare devices: ``lambda m: fn(m.to("cuda"))``. Results may live anywhere.
    *inputs
        Of both.
    kind, size, condition, scale, any_order
        Of `assert_close`, or of `assert_mixtures_close` if the result is a Mixture.
    """
    options = {"kind": kind, "size": size, "condition": condition, "scale": scale, "any_order": any_order}
    _compare(fn(*inputs), other(*inputs), options)


def round_trips(
    value: Any,
    path: str | os.PathLike[str],
    *,
    save: Callable[[Any, Any], Any] = Mixture.save,
    load: Callable[[Any], Any] = Mixture.load,
) -> None:
    """What was saved comes back: the same structure, dtypes and bits."""
    before = copied(value)
    save(value, path)
    again = load(path)
    assert type(again) is type(value), f"saved a {type(value).__name__}, loaded a {type(again).__name__}"
    _same_bits(copied(again), before, "loaded value")


def _compare(got: Any, want: Any, options: dict[str, Any]) -> None:
    kind, size, condition = options["kind"], options["size"], options["condition"]
    if isinstance(want, Mixture):
        any_order = options["any_order"]
        assert_mixtures_close(kind, got, want, any_order=any_order, size=size, condition=condition)
        return
    a, b = list(walk(got)), list(walk(want))
    assert [path for path, _ in a] == [path for path, _ in b], "the results have different structures"
    for (path, x), (_, y) in zip(a, b, strict=True):
        scale = options["scale"]
        assert_close(kind, x, y, size=size, condition=condition, scale=scale, name=f"result{path}")


def _same_bits(got: Any, want: Any, what: str) -> None:
    a, b = list(walk(got)), list(walk(want))
    assert [path for path, _ in a] == [path for path, _ in b], f"the {what} has another structure than before"
    for (path, x), (_, y) in zip(a, b, strict=True):
        assert x.dtype == y.dtype, f"{what}{path} is {x.dtype} and was {y.dtype}"
        assert x.shape == y.shape, f"{what}{path} has the shape {x.shape} and had {y.shape}"
        same = np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        assert same, f"{what}{path} has changed"

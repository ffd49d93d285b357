"""A tape that is walked back for the last time frees what it held on the way."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from gmengine.autograd import Primitive, Tape, arrays, value_and_grad
from gmengine.errors import TapeError
from gmengine.testing import assert_close

alive: list[list[bool]] = []
kept: list[weakref.ref] = []


@Primitive
def heavy_p(x):
    residual = np.full(1000, x)
    kept.append(weakref.ref(residual))
    return (2.0 * x,), residual


@heavy_p.defvjp
def _(residuals, cotangents, needs):
    alive.append([r() is not None for r in kept])
    return (2.0 * cotangents[0],)


@pytest.fixture(autouse=True)
def nothing_kept():
    alive.clear()
    kept.clear()


def eightfold(x):
    for _ in range(3):
        (x,) = heavy_p(x)
    return x


def test_value_and_grad_frees_every_call_once_its_gradient_is_known():
    value, grad = value_and_grad(eightfold)(np.asarray(1.5))
    assert (float(value), float(grad)) == (12.0, 8.0)
    assert alive == [[True, True, True], [True, True, False], [True, False, False]]
    assert [r() for r in kept] == [None] * 3


def test_a_tape_that_is_not_released_keeps_everything_and_answers_again():
    tape = Tape()
    x = tape.watch(np.asarray(1.5))
    y = eightfold(x)
    assert [float(tape.gradient(y, x)) for _ in range(2)] == [8.0, 8.0]
    assert alive == [[True] * 3] * 6


def test_a_released_tape_says_so_instead_of_losing_gradients():
    tape = Tape()
    x = tape.watch(np.asarray(1.5))
    y = eightfold(x)
    assert float(tape.gradient(y, x, release=True)) == 8.0
    for release in (False, True):
        with pytest.raises(TapeError, match="released"):
            tape.gradient(y, x, release=release)


def test_cotangents_that_are_summed_on_the_way_are_not_changed_in_place():
    """x reaches the target by three ways, of which two share one array."""

    def fn(x):
        y = arrays.multiply(x, 3.0)
        return arrays.sum(arrays.add(arrays.add(y, y), arrays.multiply(y, x)))

    x = np.linspace(-1.0, 1.0, 5)
    tape = Tape()
    watched = tape.watch(x)
    want = tape.gradient(fn(watched), watched)
    assert_close("exact", value_and_grad(fn)(x)[1], want)
    assert_close("elementwise", want, 6.0 + 6.0 * x)

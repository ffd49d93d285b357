"""Arithmetic and methods of Tensors, with arrays and numbers on either side."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gmengine.autograd import Tape, Tensor, arrays, check_vjp, value_of
from gmengine.testing import assert_close

X = np.array([[1.0, -2.0], [0.5, 4.0]])
Y = np.array([[0.3, 2.0], [-1.5, 1.0]])
BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul]


@pytest.mark.parametrize("op", BINARY)
def test_tensors_and_ndarrays_meet_in_both_orders(op):
    tape = Tape()
    x = tape.watch(X)
    for got in (op(x, Y), op(X, tape.watch(Y)), op(x, tape.watch(Y))):
        assert isinstance(got, Tensor)
        assert_close("exact", got.value, op(X, Y))
    check_vjp(op, X, Y)
    check_vjp(lambda a: op(Y, a), X)
    check_vjp(lambda a: op(a, Y), X)


@pytest.mark.parametrize("op", BINARY[:4])
@pytest.mark.parametrize("number", [2, -0.5, np.float64(1.5), np.float32(1.5)])
def test_tensors_and_numbers_meet_in_both_orders(op, number):
    x = X.astype(np.float32)
    for got, want in (
        (op(Tape().watch(x), number), op(x, float(number))),
        (op(number, Tape().watch(x)), op(float(number), x)),
    ):
        assert got.dtype == np.float32
        assert_close("exact", got.value, want)


@pytest.mark.parametrize("op", BINARY)
def test_tensors_work_on_every_library(library, op):
    tape = Tape()
    x, y = library.asarray(X), library.asarray(Y)
    got = op(tape.watch(x), y)
    assert_close("exact", library.asnumpy(got.value), library.asnumpy(op(x, y)))


def test_methods_are_those_of_arrays():
    x = Tape().watch(X)
    for got, want in (
        (-x, -X),
        (x**2, X**2),
        (abs(x), abs(X)),
        (x.sum(), X.sum()),
        (x.sum(axis=0), X.sum(axis=0)),
        (x.mean(axis=1, keepdims=True), X.mean(axis=1, keepdims=True)),
        (x.max(axis=-1), X.max(axis=-1)),
        (x.reshape(4), X.reshape(4)),
        (x.reshape(1, -1), X.reshape(1, -1)),
        (x.reshape((4, 1)), X.reshape(4, 1)),
        (x[1], X[1]),
        (x[..., 0], X[..., 0]),
    ):
        assert isinstance(got, Tensor)
        assert_close("exact", got.value, np.asarray(want))


@pytest.mark.parametrize("op", [operator.lt, operator.le, operator.eq, operator.ne, operator.ge, operator.gt])
def test_comparisons_give_plain_boolean_arrays(op):
    x = Tape().watch(X)
    for got, want in ((op(x, Y), op(X, Y)), (op(X, Tape().watch(Y)), op(X, Y)), (op(x, 0.5), op(X, 0.5))):
        assert type(got) is np.ndarray
        assert got.dtype == bool
        assert_close("exact", got, want)


def test_a_tensor_is_true_as_its_array_is():
    tape = Tape()
    assert tape.watch(np.array(2.0))
    assert not tape.watch(np.array(0.0))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(tape.watch(X))


def test_tensors_can_be_told_apart_in_dicts_and_sets():
    tape = Tape()
    x, y = tape.watch(X), tape.watch(X)
    assert {x: 1, y: 2}[y] == 2


def test_numpy_cannot_take_a_tensor_off_its_tape_unseen():
    x = Tape().watch(X)
    with pytest.raises(TypeError, match="value_of"):
        np.asarray(x)
    with pytest.raises(TypeError):
        np.exp(x)
    assert_close("exact", np.exp(value_of(x)), np.exp(X))


@dataclass
class Scaled:
    """Knows, as a Mixture does, how to be multiplied; has a dtype and a shape of its own."""

    x: Any
    dtype = np.float64
    shape = ()

    def __rmul__(self, factor: Any) -> Scaled:
        return Scaled(arrays.multiply(factor, self.x))


def test_a_value_type_on_the_right_decides_itself():
    half = Tape().watch(np.array(0.5))
    got = half * Scaled(X)
    assert_close("exact", got.x.value, 0.5 * X)
    with pytest.raises(TypeError, match="unsupported operand"):
        half + Scaled(X)

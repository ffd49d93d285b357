"""grad and value_and_grad: structures, aux, and no gradients of gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gmengine.autograd import Tape, Tensor, arrays, grad, value_and_grad
from gmengine.errors import DTypeError, ShapeError, TapeError
from gmengine.testing import assert_close

X = np.array([1.0, -2.0, 3.0])


@dataclass(frozen=True)
class Pair:
    a: Any
    b: Any


def test_value_and_gradient_of_a_scalar_function():
    value, slope = value_and_grad(lambda x: (x * x).sum())(X)
    assert type(value) is type(slope) is np.ndarray
    assert_close("exact", value, np.array(14.0))
    assert_close("exact", slope, 2 * X)
    assert_close("exact", grad(lambda x: (x * x).sum())(X), 2 * X)


def test_every_library_gets_its_own_arrays_back(library):
    value, slope = value_and_grad(lambda x: arrays.exp(x).sum())(library.asarray(X))
    assert_close("sum", library.asnumpy(value), np.exp(X).sum(), size=3)
    assert_close("elementwise", library.asnumpy(slope), np.exp(X))


def test_the_gradient_has_the_structure_of_the_first_argument():
    def loss(params, scale, *, offset):
        return (params["p"].a * scale + params["list"][0] * params["p"].b).sum() + offset

    value, slopes = value_and_grad(loss)({"p": Pair(X, X + 1), "list": [X]}, 2.0, offset=1.0)
    assert_close("exact", value, np.array((X * 2 + X * (X + 1)).sum() + 1))
    assert isinstance(slopes["p"], Pair)
    assert_close("exact", slopes["p"].a, np.full(3, 2.0))
    assert_close("exact", slopes["p"].b, X)
    assert_close("exact", slopes["list"][0], X + 1)


def test_arrays_of_one_value_that_were_not_used_get_zeros():
    slope = grad(lambda p: p.b.sum())(Pair(X, X))
    assert_close("exact", slope.a, np.zeros(3))
    with pytest.raises(TapeError, match=r"source\['p'\] \(a Pair\) never reached"):
        grad(lambda d: d["x"].sum())({"p": Pair(X, X), "x": X})


def test_aux_comes_back_as_arrays():
    def loss(x, state):
        return x.sum(), {"state": state + 1, "mean": x.mean(), "pair": Pair(x, "name"), "none": None}

    (value, aux), slope = value_and_grad(loss, aux=True)(X, 4)
    assert_close("exact", value, np.array(2.0))
    assert_close("exact", slope, np.ones(3))
    assert aux["state"] == 5
    assert type(aux["mean"]) is np.ndarray
    assert aux["pair"].a is X
    assert aux["pair"].b == "name"
    assert aux["none"] is None


def test_wrappers_keep_the_name_of_their_function():
    def loss(x):
        return x.sum()

    assert grad(loss).__name__ == value_and_grad(loss).__name__ == "loss"


def test_a_value_that_is_no_scalar_is_refused():
    with pytest.raises(ShapeError, match=r"scalar value, got shape \(3,\)"):
        grad(lambda x: x * 2.0)(X)


def test_a_value_that_does_not_depend_on_the_argument_is_refused():
    with pytest.raises(TapeError, match="a float, does not depend on the argument"):
        grad(lambda x: 3.0)(X)
    with pytest.raises(TapeError, match="a ndarray, does not depend"):
        grad(lambda x: X.sum(keepdims=True))(X)


def test_integers_have_no_gradient():
    with pytest.raises(DTypeError, match="int64"):
        grad(lambda x: x.sum())(np.arange(3))


def inner_on_a_tensor(x: Tensor) -> Any:
    return grad(lambda y: (y * y).sum())(x).sum()


def inner_closes_over_a_tensor(x: Tensor) -> Any:
    return grad(lambda y: (y * x).sum())(X).sum()


def inner_returns_an_outer_tensor(x: Tensor) -> Any:
    return grad(lambda y: x.sum())(X).sum()


def inner_hides_an_outer_tensor_in_aux(x: Tensor) -> Any:
    return value_and_grad(lambda y: (y.sum(), x), aux=True)(X)[0][1].sum()


@pytest.mark.parametrize(
    "nested",
    [
        inner_on_a_tensor,
        inner_closes_over_a_tensor,
        inner_returns_an_outer_tensor,
        inner_hides_an_outer_tensor_in_aux,
    ],
)
def test_gradients_of_gradients_are_refused_not_zero(nested):
    with pytest.raises(TapeError):
        grad(nested)(X)


def test_a_tensor_cannot_be_watched_again():
    tape = Tape()
    with pytest.raises(TapeError, match=r"source\[1\] is a Tensor; gradients of gradients"):
        Tape().watch([X, tape.watch(X)])

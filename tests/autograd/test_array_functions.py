"""Every array function, on every array library: values, gradients, dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import array_api_strict
import numpy as np
import pytest
import scipy.special

from gmengine.autograd import Tape, Tensor, arrays, check_vjp, value_of
from gmengine.errors import ArgumentError, BackendError, DTypeError, ShapeError
from gmengine.testing import assert_close


class Case(NamedTuple):
    ours: Callable[..., Any]
    reference: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    positive: bool = False
    kind: str = "elementwise"


def concat(*parts):
    return arrays.concat(list(parts), axis=1)


def stack(*parts):
    return arrays.stack(list(parts), axis=-2)


AB = ((3, 4), (3, 4))
A = ((3, 4),)
CASES = {
    "add": Case(arrays.add, np.add, AB),
    "add, broadcast": Case(arrays.add, np.add, ((3, 1), (2, 1, 4))),
    "add, 0-d": Case(arrays.add, np.add, ((3, 4), ())),
    "subtract": Case(arrays.subtract, np.subtract, AB),
    "subtract, broadcast": Case(arrays.subtract, np.subtract, ((4,), (3, 4))),
    "multiply": Case(arrays.multiply, np.multiply, AB),
    "multiply, broadcast": Case(arrays.multiply, np.multiply, ((1, 4), (3, 1))),
    "multiply, 0-d both": Case(arrays.multiply, np.multiply, ((), ())),
    "divide": Case(arrays.divide, np.divide, AB, positive=True),
    "divide, broadcast": Case(arrays.divide, np.divide, ((3, 1), (4,)), positive=True),
    "add number": Case(lambda x: arrays.add(x, 0.3), lambda x: x + 0.3, A),
    "number minus": Case(lambda x: arrays.subtract(2, x), lambda x: 2 - x, A),
    "times number": Case(lambda x: arrays.multiply(-0.3, x), lambda x: -0.3 * x, A),
    "number over": Case(lambda x: arrays.divide(2.0, x), lambda x: 2.0 / x, A, positive=True),
    "negative": Case(arrays.negative, np.negative, A),
    "power 3": Case(lambda x: arrays.power(x, 3), lambda x: x**3, A),
    "power 0": Case(lambda x: arrays.power(x, 0), lambda x: x**0, A),
    "power -1.5": Case(lambda x: arrays.power(x, -1.5), lambda x: x**-1.5, A, positive=True),
    "abs": Case(arrays.abs, np.abs, A),
    "exp": Case(arrays.exp, np.exp, A),
    "log": Case(arrays.log, np.log, A, positive=True),
    "sqrt": Case(arrays.sqrt, np.sqrt, A, positive=True),
    "square": Case(arrays.square, np.square, A),
    "softplus": Case(arrays.softplus, lambda x: np.logaddexp(x, 0.0), A),
    "maximum": Case(arrays.maximum, np.maximum, AB),
    "maximum, broadcast": Case(arrays.maximum, np.maximum, ((3, 1), (4,))),
    "maximum, number": Case(lambda x: arrays.maximum(x, 0.0), lambda x: np.maximum(x, 0.0), A),
    "maximum, number first": Case(lambda x: arrays.maximum(0, x), lambda x: np.maximum(0, x), A),
    "minimum": Case(arrays.minimum, np.minimum, AB),
    "minimum, broadcast": Case(arrays.minimum, np.minimum, ((4,), (3, 1))),
    "where": Case(lambda x, y: arrays.where(value_of(x) > value_of(y), x, y), np.maximum, AB),
    "where, broadcast": Case(
        lambda x, y: arrays.where(x > 0.0, x, y), lambda x, y: np.where(x > 0, x, y), ((3, 1), (4,))
    ),
    "where, number": Case(
        lambda x: arrays.where(x > 0.0, 1.0, x), lambda x: np.where(x > 0, 1, x).astype(x.dtype), A
    ),
    "matmul": Case(arrays.matmul, np.matmul, ((3, 4), (4, 2)), kind="sum"),
    "matmul, batches broadcast": Case(arrays.matmul, np.matmul, ((5, 1, 3, 4), (2, 4, 2)), kind="sum"),
    "matmul, row": Case(arrays.matmul, np.matmul, ((4,), (5, 4, 2)), kind="sum"),
    "matmul, column": Case(arrays.matmul, np.matmul, ((5, 3, 4), (4,)), kind="sum"),
    "matmul, inner": Case(arrays.matmul, np.matmul, ((4,), (4,)), kind="sum"),
    "sum": Case(arrays.sum, np.sum, A, kind="sum"),
    "sum, one axis": Case(lambda x: arrays.sum(x, axis=-1), lambda x: x.sum(-1), A, kind="sum"),
    "sum, axes kept": Case(
        lambda x: arrays.sum(x, (0, 2), True),
        lambda x: x.sum((0, 2), keepdims=True),
        ((2, 3, 4),),
        kind="sum",
    ),
    "mean": Case(arrays.mean, np.mean, A, kind="sum"),
    "mean, axes": Case(
        lambda x: arrays.mean(x, (0, -1)), lambda x: x.mean((0, -1)), ((2, 3, 4),), kind="sum"
    ),
    "mean, kept": Case(lambda x: arrays.mean(x, 0, True), lambda x: x.mean(0, keepdims=True), A, kind="sum"),
    "max": Case(arrays.max, np.max, A),
    "max, one axis": Case(lambda x: arrays.max(x, axis=-2), lambda x: x.max(-2), ((2, 3, 4),)),
    "max, kept": Case(lambda x: arrays.max(x, 1, True), lambda x: x.max(1, keepdims=True), A),
    "logsumexp": Case(arrays.logsumexp, scipy.special.logsumexp, A, kind="sum"),
    "logsumexp, axes": Case(
        lambda x: arrays.logsumexp(x, (0, 2)),
        lambda x: scipy.special.logsumexp(x, (0, 2)),
        ((2, 3, 4),),
        kind="sum",
    ),
    "logsumexp, kept": Case(
        lambda x: arrays.logsumexp(x, -1, True),
        lambda x: scipy.special.logsumexp(x, -1, keepdims=True),
        A,
        kind="sum",
    ),
    "log_softmax": Case(arrays.log_softmax, lambda x: scipy.special.log_softmax(x, -1), A, kind="sum"),
    "log_softmax, axis": Case(
        lambda x: arrays.log_softmax(x, 0), lambda x: scipy.special.log_softmax(x, 0), A, kind="sum"
    ),
    "reshape": Case(lambda x: arrays.reshape(x, (2, -1)), lambda x: x.reshape(2, -1), A),
    "reshape to 1-d": Case(lambda x: arrays.reshape(x, -1), np.ravel, A),
    "permute_dims": Case(
        lambda x: arrays.permute_dims(x, (2, 0, -2)), lambda x: x.transpose(2, 0, 1), ((2, 3, 4),)
    ),
    "matrix_transpose": Case(arrays.matrix_transpose, lambda x: x.swapaxes(-1, -2), ((2, 3, 4),)),
    "broadcast_to": Case(
        lambda x: arrays.broadcast_to(x, (5, 3, 4)), lambda x: np.broadcast_to(x, (5, 3, 4)), ((3, 1),)
    ),
    "broadcast_to, new axes": Case(lambda x: arrays.broadcast_to(x, (1, 3, 4)), lambda x: x[None], A),
    "expand_dims": Case(lambda x: arrays.expand_dims(x, -2), lambda x: x[:, None], A),
    "expand_dims, first": Case(arrays.expand_dims, lambda x: x[None], A),
    "concat": Case(concat, lambda *p: np.concatenate(p, axis=1), ((3, 2), (3, 0), (3, 4))),
    "concat, last axis": Case(
        lambda *p: arrays.concat(p), lambda *p: np.concatenate(p, axis=-1), ((2, 3, 1), (2, 3, 2))
    ),
    "stack": Case(stack, lambda *p: np.stack(p, axis=-2), AB),
    "stack, first": Case(lambda *p: arrays.stack(p), lambda *p: np.stack(p), AB),
}


def draw(case: Case, dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    low = 0.3 if case.positive else -2.0
    return [rng.uniform(low, 2.0, shape).astype(dtype) for shape in case.shapes]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_numpy_in_the_same_dtype(library, name, dtype):
    case = CASES[name]
    given = draw(case, dtype)
    want = np.asarray(case.reference(*[x.astype(np.float64) for x in given]))
    plain = library.asnumpy(case.ours(*[library.asarray(x) for x in given]))
    assert plain.dtype == np.dtype(dtype)
    assert_close(case.kind, plain, want, size=24, scale=2.0 + np.abs(want))
    recorded = case.ours(
        *[Tape().watch(library.asarray(x)) for x in given[:1]], *map(library.asarray, given[1:])
    )
    assert isinstance(recorded, Tensor)
    assert_close("exact", library.asnumpy(recorded.value), plain)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_differences(library, name):
    case = CASES[name]
    check_vjp(case.ours, *[library.asarray(x) for x in draw(case)], n_directions=2)


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_float32_are_float32(library, name):
    case = CASES[name]
    tape = Tape()
    sources = [tape.watch(library.asarray(x)) for x in draw(case, "float32")]
    target = arrays.sum(case.ours(*sources))
    for source, grad in zip(sources, tape.gradient(target, sources), strict=True):
        got = library.asnumpy(grad)
        assert got.dtype == np.float32
        assert got.shape == source.shape


def test_every_public_array_function_is_in_a_table():
    elsewhere = {"take", "getitem", "inv", "det", "cholesky", "trace"}
    assert {name.split(",")[0].split(" ")[0] for name in CASES} >= set(arrays.__all__) - elsewhere


@pytest.mark.parametrize(
    "binary", [arrays.add, arrays.subtract, arrays.multiply, arrays.divide, arrays.maximum, arrays.minimum]
)
def test_dtypes_are_never_promoted(library, binary):
    x, y = library.asarray(np.ones(3, np.float32)), library.asarray(np.ones(3))
    with pytest.raises(DTypeError, match=r"float32, .*float64"):
        binary(x, y)
    with pytest.raises(DTypeError, match=r"float64, .*float32"):
        binary(Tape().watch(y), x)


def test_a_float64_scalar_of_numpy_leaves_a_float32_array_float32():
    x = np.ones(3, np.float32)
    assert arrays.multiply(x, np.sqrt(2.0)).dtype == np.float32
    assert (np.float64(2.0) / Tape().watch(x)).dtype == np.float32


def test_arrays_of_two_libraries_do_not_mix():
    with pytest.raises(BackendError, match="array_api_strict and numpy"):
        arrays.add(np.ones(2), array_api_strict.ones(2))


@pytest.mark.parametrize("other", ["a", None, [1.0, 2.0], object()])
def test_what_is_no_array_is_refused_by_name(other):
    with pytest.raises(BackendError, match=type(other).__name__):
        arrays.add(np.ones(2), other)


def test_two_numbers_are_no_arrays():
    with pytest.raises(BackendError, match="got float and float"):
        arrays.maximum(1.0, 2.0)


def test_of_equal_arguments_the_second_gets_the_gradient(library):
    x = library.asarray(np.array([1.0, 0.0, -1.0]))
    for function, want in ((arrays.maximum, [1.0, 0.0, 0.0]), (arrays.minimum, [0.0, 0.0, 1.0])):
        tape = Tape()
        t = tape.watch(x)
        assert library.asnumpy(tape.gradient(function(t, 0.0).sum(), t)).tolist() == want


def test_of_equal_maxima_the_first_takes_all_the_gradient(library):
    x = library.asarray(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]))
    tape = Tape()
    t = tape.watch(x)
    by_row = tape.gradient(arrays.max(t, axis=1), t, library.asarray(np.array([5.0, 7.0])))
    assert library.asnumpy(by_row).tolist() == [[0.0, 5.0, 0.0], [7.0, 0.0, 0.0]]
    assert library.asnumpy(tape.gradient(arrays.max(t), t)).tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]


def test_what_where_hides_has_no_gradient_not_even_nan(library):
    tape = Tape()
    t = tape.watch(library.asarray(np.array([-1.0, 4.0])))
    positive = t > 0.0
    roots = arrays.where(positive, arrays.sqrt(arrays.where(positive, t, 1.0)), 0.0)
    assert library.asnumpy(tape.gradient(roots.sum(), t)).tolist() == [0.0, 0.25]


def test_power_zero_is_flat_at_zero_too(library):
    tape = Tape()
    t = tape.watch(library.asarray(np.array([0.0, 2.0])))
    assert library.asnumpy(tape.gradient((t**0).sum(), t)).tolist() == [0.0, 0.0]


def test_an_array_is_no_exponent():
    with pytest.raises(ArgumentError, match="exponent"):
        arrays.power(np.ones(2), np.ones(2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponentials_neither_overflow_nor_lose_what_is_small(library, dtype):
    x = library.asarray(np.array([-1e4, -80.0, 0.0, 80.0, 1e4], dtype=dtype))
    soft = library.asnumpy(arrays.softplus(x))
    assert_close("elementwise", soft, np.logaddexp(np.array([-1e4, -80.0, 0.0, 80.0, 1e4]), 0.0))
    assert library.asnumpy(arrays.logsumexp(x)) == np.array(1e4, dtype)
    tape = Tape()
    t = tape.watch(x)
    slope = library.asnumpy(tape.gradient(arrays.softplus(t).sum(), t))
    assert_close("elementwise", slope, scipy.special.expit(np.array([-1e4, -80.0, 0.0, 80.0, 1e4])))


def test_logarithms_of_zero_probabilities_stay_in_their_place(library):
    x = library.asarray(np.array([[-np.inf, -np.inf], [-np.inf, 1.0]]))
    tape = Tape()
    t = tape.watch(x)
    out = arrays.logsumexp(t, axis=1)
    assert library.asnumpy(out.value).tolist() == [-np.inf, 1.0]
    ones = library.asarray(np.ones(2))
    assert library.asnumpy(tape.gradient(out, t, ones)).tolist() == [[0.0, 0.0], [0.0, 1.0]]
    assert library.asnumpy(arrays.log_softmax(x[1:, :])).tolist() == [[-np.inf, 0.0]]


def test_nan_is_not_hidden_by_a_maximum(library):
    x = library.asarray(np.array([np.nan, 1.0]))
    y = library.asarray(np.array([1.0, np.nan]))
    for got in (arrays.maximum(x, y), arrays.minimum(x, y), arrays.logsumexp(arrays.stack([x, y]), axis=0)):
        assert np.isnan(library.asnumpy(got)).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: arrays.sum(x, axis=2),
        lambda x: arrays.max(x, axis=-3),
        lambda x: arrays.permute_dims(x, (0, 0)),
        lambda x: arrays.matrix_transpose(x[0]),
        lambda x: arrays.expand_dims(x, 4),
        lambda x: arrays.concat([x, x], axis=2),
        lambda x: arrays.matmul(x, arrays.sum(x)),
        lambda x: arrays.inv(x),
    ],
)
def test_impossible_axes_are_shape_errors(wrong):
    with pytest.raises(ShapeError):
        wrong(np.ones((2, 3)))


@pytest.mark.parametrize(
    "wrong",
    [lambda: arrays.concat([]), lambda: arrays.stack([]), lambda: arrays.max(np.ones((2, 2)), (0, 1))],
)
def test_impossible_arguments_are_argument_errors(wrong):
    with pytest.raises(ArgumentError):
        wrong()


def test_inputs_are_left_alone_and_gradients_can_be_written_to_by_kernels(library):
    x = np.arange(6.0).reshape(2, 3)
    given = library.asarray(x.copy())
    tape = Tape()
    t = tape.watch(given)
    grad = library.asnumpy(tape.gradient((t.sum() + t.mean(axis=0).sum() + arrays.max(t)), t))
    assert_close("exact", library.asnumpy(given), x)
    assert grad.flags.c_contiguous

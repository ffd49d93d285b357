"""The tape: what it sums, what it keeps, and how it refuses misuse."""

from __future__ import annotations

import gc
import weakref
from typing import NamedTuple

import numpy as np
import pytest

from gmengine.autograd import Primitive, Tape, Tensor, arrays, check_vjp, value_of
from gmengine.errors import DTypeError, ShapeError, TapeError
from gmengine.testing import assert_close

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


@Primitive
def divide_with_remainder_p(x, y):
    """Two outputs of two inputs: the rounded quotient is no function to differentiate, the rest is."""
    quotient = np.floor(x / y)
    return (quotient, x - quotient * y), (quotient,)


@divide_with_remainder_p.defvjp
def _(residuals, cotangents, needs):
    (quotient,), (_, g) = residuals, cotangents
    return g if needs[0] else None, -g * quotient if needs[1] else None


@Primitive
def sine_and_cosine_p(x):
    s, c = np.sin(x), np.cos(x)
    return (s, c), (s, c)


@sine_and_cosine_p.defvjp
def _(residuals, cotangents, needs):
    (s, c), (gs, gc) = residuals, cotangents
    return (gs * c - gc * s,)


def test_all_outputs_of_a_primitive_send_gradients_back():
    check_vjp(sine_and_cosine_p, X)
    check_vjp(divide_with_remainder_p, X, np.full_like(X, 0.7))


def test_outputs_that_did_not_reach_the_target_count_as_zero():
    for output in (0, 1):
        check_vjp(lambda x, o=output: arrays.square(sine_and_cosine_p(x)[o]), X)


def test_a_plain_call_gives_a_tuple_of_arrays_and_records_nothing():
    outputs = sine_and_cosine_p(X)
    assert [type(o) for o in outputs] == [np.ndarray, np.ndarray]


def test_numpys_scalars_become_arrays():
    out = arrays.sum(X)
    assert isinstance(out, np.ndarray)
    tape = Tape()
    x = tape.watch(np.float64(3.0))
    squared = arrays.square(x)
    assert isinstance(squared.value, np.ndarray)
    assert isinstance(tape.gradient(x * squared + x, x), np.ndarray)


def test_a_diamond_sums_both_of_its_sides():
    tape = Tape()
    x = tape.watch(X)
    left, right = arrays.exp(x), arrays.square(x)
    grad = tape.gradient((left * right + left).sum(), x)
    assert_close("elementwise", grad, np.exp(X) * (X**2 + 2 * X + 1))


def test_one_tensor_may_be_all_inputs_of_a_call():
    tape = Tape()
    x = tape.watch(X)
    assert_close("exact", tape.gradient((x * x).sum(), x), 2 * X)
    stacked = arrays.stack([x, x, x])
    assert_close("exact", tape.gradient(stacked.sum(), x), np.full_like(X, 3.0))


def test_a_source_may_be_an_intermediate_and_the_target_itself():
    tape = Tape()
    x = tape.watch(X)
    middle = arrays.square(x)
    target = (middle * 3.0).sum()
    by_x, by_middle, by_target = tape.gradient(target, (x, middle, target))
    assert_close("exact", by_x, 6 * X)
    assert_close("exact", by_middle, np.full_like(X, 3.0))
    assert_close("exact", by_target, np.ones(()))


def test_the_same_source_may_be_asked_for_twice():
    tape = Tape()
    x = tape.watch(X)
    first, second = tape.gradient(x.sum(), [x, x])
    assert_close("exact", first, second)


def test_a_tape_answers_again_and_for_other_targets():
    tape = Tape()
    x = tape.watch(X)
    s, c = sine_and_cosine_p(x)
    first = tape.gradient(s.sum(), x)
    assert_close("exact", tape.gradient(c.sum(), x), -np.sin(X))
    later = (s * c).sum()
    assert_close("exact", tape.gradient(s.sum(), x), first)
    assert_close("elementwise", tape.gradient(later, x), np.cos(X) ** 2 - np.sin(X) ** 2)


def test_what_was_recorded_after_the_target_does_not_matter():
    tape = Tape()
    x = tape.watch(X)
    target = x.sum()
    arrays.exp(x * target)
    assert_close("exact", tape.gradient(target, x), np.ones_like(X))


def test_cotangents_weigh_the_outputs():
    tape = Tape()
    x = tape.watch(X)
    g = np.arange(6.0).reshape(2, 3)
    assert_close("exact", tape.gradient(arrays.square(x), x, g), 2 * X * g)


def test_a_target_may_be_a_structure_with_a_cotangent_for_each_part():
    tape = Tape()
    x = tape.watch(X)
    s, c = sine_and_cosine_p(x)
    g, h = np.full_like(X, 2.0), np.arange(6.0).reshape(2, 3)
    grad = tape.gradient({"s": s, "rest": [c, s]}, x, {"s": g, "rest": [h, g]})
    assert_close("elementwise", grad, 4 * np.cos(X) - h * np.sin(X), scale=10.0)


def test_structures_come_back_as_they_went_in():
    class Pair(NamedTuple):
        a: object
        b: object

    source = {"pair": Pair(X, 2 * X), "list": [X], "nothing": None}
    tape = Tape()
    watched = tape.watch(source)
    pair = watched["pair"]
    assert isinstance(pair, Pair)
    grads = tape.gradient((pair.a * pair.b + watched["list"][0]).sum(), watched)
    assert list(grads) == ["pair", "list", "nothing"]
    assert grads["nothing"] is None
    assert_close("exact", grads["pair"].a, 2 * X)
    assert_close("exact", grads["pair"].b, X)
    assert_close("exact", grads["list"][0], np.ones_like(X))


def test_needs_tell_a_rule_which_inputs_are_constants():
    seen = []

    @Primitive
    def second_p(x, y, z):
        return (y * 1.0,), None

    @second_p.defvjp
    def _(residuals, cotangents, needs):
        seen.append(needs)
        return None, cotangents[0], None

    tape = Tape()
    y = tape.watch(X)
    tape.gradient(second_p(X, y, y)[0].sum(), y)
    assert seen == [(False, True, True)]


def test_a_forgotten_watch_is_an_error_not_a_zero():
    tape = Tape()
    x, unused = tape.watch([X, X])
    with pytest.raises(TapeError, match=r"source\['b'\]\[0\] of shape \(2, 3\) never reached the target"):
        tape.gradient(x.sum(), {"a": x, "b": [unused]})
    with pytest.raises(TapeError, match="source #1 is a ndarray, not a Tensor; forgot to watch it"):
        tape.gradient(x.sum(), [x, X])
    with pytest.raises(TapeError, match="target is a ndarray, not a Tensor"):
        tape.gradient(value_of(x).sum(keepdims=True), x)


def test_an_output_that_the_target_does_not_use_is_no_source():
    tape = Tape()
    s, c = sine_and_cosine_p(tape.watch(X))
    with pytest.raises(TapeError, match="never reached"):
        tape.gradient(s.sum(), c)


def test_tensors_of_two_tapes_do_not_mix():
    one, two = Tape(), Tape()
    x, y = one.watch(X), two.watch(X)
    with pytest.raises(TapeError, match="add_p: inputs were recorded on two different tapes"):
        x + y
    with pytest.raises(TapeError, match="target was recorded on another tape"):
        one.gradient(y.sum(), x)
    with pytest.raises(TapeError, match="source #0 was recorded on another tape"):
        one.gradient(x.sum(), y)


def test_cotangents_must_fit_their_targets():
    tape = Tape()
    x = tape.watch(X)
    with pytest.raises(ShapeError, match=r"target of shape \(2, 3\) needs a cotangent"):
        tape.gradient(x * 2.0, x)
    with pytest.raises(ShapeError, match=r"shape \(2, 3\), its cotangent \(3,\)"):
        tape.gradient(x * 2.0, x, np.ones(3))
    with pytest.raises(DTypeError, match="is float64, its cotangent float32"):
        tape.gradient(x * 2.0, x, np.ones((2, 3), np.float32))
    with pytest.raises(ShapeError, match="2 targets need as many cotangents, got 1"):
        tape.gradient([x, x], x, [X])


@pytest.mark.parametrize(
    "source", [np.arange(3), np.ones(2, np.float16), np.ones(2, complex), np.array([True])]
)
def test_only_real_numbers_of_two_sizes_are_watched(source):
    with pytest.raises(DTypeError, match=r"source\[0\] must be float32 or float64"):
        Tape().watch([source])


@pytest.mark.parametrize("source", [1.0, "x", {"a": 3}])
def test_only_arrays_are_watched(source):
    with pytest.raises(TypeError, match="expected a NumPy or CuPy array"):
        Tape().watch(source)


def test_a_primitive_without_a_rule_says_so():
    @Primitive
    def ruleless_p(x):
        return (x,), None

    tape = Tape()
    x = tape.watch(X)
    with pytest.raises(TapeError, match="ruleless_p has no vjp"):
        tape.gradient(ruleless_p(x)[0], x, X)


def test_a_rule_with_too_few_gradients_says_so():
    @Primitive
    def stingy_p(x, y):
        return (x + y,), None

    stingy_p.defvjp(lambda residuals, cotangents, needs: cotangents)
    tape = Tape()
    x = tape.watch(X)
    with pytest.raises(TapeError, match="stingy_p: its vjp returned 1 gradients for 2 inputs"):
        tape.gradient(stingy_p(x, X)[0], x, X)


@pytest.mark.parametrize("wrong", [np.ones((2, 3), np.float32), np.ones(3), np.ones((1, 2, 3))])
def test_a_gradient_of_another_form_is_refused_before_it_is_added_up(wrong):
    @Primitive
    def careless_p(x):
        return (x * 1.0,), None

    careless_p.defvjp(lambda residuals, cotangents, needs: (wrong,))
    tape = Tape()
    x = tape.watch(X)
    with pytest.raises(
        TapeError, match=r"careless_p: input 0 is float64 of shape \(2, 3\), but its vjp returned"
    ):
        tape.gradient((careless_p(x * 2.0)[0] + x).sum(), x)


def test_recording_leaves_no_cycles_for_the_collector():
    gc.collect()
    gc.disable()
    try:
        tape = Tape()
        x = tape.watch(X)
        y = arrays.exp(x).sum()
        tape.gradient(y, x)
        gone = weakref.ref(y.value)
        del y, x, tape
        assert gone() is None
    finally:
        gc.enable()


def test_a_tensor_shows_what_it_holds():
    x = Tape().watch(X)
    assert (x.shape, x.ndim, len(x), x.dtype) == ((2, 3), 2, 2, np.float64)
    assert repr(x).startswith("Tensor(array(")
    assert isinstance(x, Tensor)
    assert value_of(x) is X
    assert value_of(X) is X

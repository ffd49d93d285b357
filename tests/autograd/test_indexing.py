"""take and getitem: NumPy's values, gradients that add up where an element is taken twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gmengine.autograd import Tape, arrays, check_vjp
from gmengine.errors import ArgumentError, ShapeError
from gmengine.testing import assert_close

X = np.random.default_rng(3).standard_normal((4, 3, 5))
ROWS = np.array([0, -1, 2, 2, 2, -2])
COLUMNS = np.array([1, 0, -1, 2, 2, 1])
MASK = np.array([True, False, True, True])

KEYS = {
    "integer": 2,
    "negative integer": -1,
    "NumPy integer": np.int64(1),
    "all integers": (1, 2, 3),
    "slice": slice(1, 3),
    "steps": (slice(None, None, -2), slice(0, 2)),
    "empty": slice(2, 2),
    "Ellipsis": (..., 1),
    "Ellipsis inside": (0, ..., slice(1, None)),
    "None first": (None, 1),
    "None behind Ellipsis": (..., None, slice(2)),
    "None everywhere": (None, slice(None), None, 1, ..., None),
    "array": ROWS,
    "list": [1, 1, 0],
    "array of indices": ROWS.reshape(2, 3),
    "array on an inner axis": (slice(None), COLUMNS),
    "array behind Ellipsis": (..., COLUMNS),
    "pairs": (ROWS, COLUMNS),
    "pairs that broadcast": (ROWS[:, None], np.array([0, 2])),
    "pairs behind a slice": (slice(1, 3), COLUMNS, ROWS),
    "pairs beside an integer": (ROWS, 1),
    "mask": MASK,
    "mask of two axes": X[..., 0] > 0,
    "empty mask": np.zeros(4, bool),
}


def moved(library, key):
    """Return a key with its arrays in the library."""
    if isinstance(key, tuple):
        return tuple(moved(library, k) for k in key)
    return library.asarray(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("name", KEYS)
def test_indexing_means_what_it_means_in_numpy(library, name):
    key = KEYS[name]
    got = library.asnumpy(arrays.getitem(library.asarray(X), moved(library, key)))
    assert_close("exact", got, np.asarray(X[key]))


@pytest.mark.parametrize("name", KEYS)
def test_gradients_of_indexing_add_up(library, name):
    key = moved(library, KEYS[name])
    check_vjp(lambda x: arrays.getitem(x, key), library.asarray(X))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_is_numpys_and_its_gradient_adds_up(library, axis):
    indices = np.array([2, 0, -1, 2, 2])
    got = arrays.take(library.asarray(X), library.asarray(indices), axis)
    assert_close("exact", library.asnumpy(got), np.take(X, indices, axis))
    check_vjp(lambda x: arrays.take(x, library.asarray(indices), axis), library.asarray(X))


@given(
    indices=hnp.arrays(np.int64, st.integers(0, 40), elements=st.integers(0, 6)),
    axis=st.integers(0, 1),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_the_gradient_of_take_is_the_sum_of_each_index(library, indices, axis, dtype):
    shape = (7, 2) if axis == 0 else (2, 7)
    g = np.random.default_rng(5).standard_normal(np.take(np.ones(shape), indices, axis).shape).astype(dtype)
    tape = Tape()
    x = tape.watch(library.asarray(np.ones(shape, dtype)))
    grad = tape.gradient(arrays.take(x, library.asarray(indices), axis), x, library.asarray(g))
    want = np.zeros(shape)
    np.add.at(want, (indices,) if axis == 0 else (slice(None), indices), g.astype(np.float64))
    assert library.asnumpy(grad).dtype == np.dtype(dtype)
    assert_close("sum", library.asnumpy(grad), want, size=max(indices.size, 1), scale=np.float64(8.0))


def test_a_long_run_of_one_index_is_summed_without_drift():
    n = 2**16 + 1
    tape = Tape()
    x = tape.watch(np.ones(2, np.float32))
    grad = tape.gradient(arrays.take(x, np.zeros(n, np.int64), 0), x, np.full(n, 0.1, np.float32))
    assert_close("elementwise", grad, np.array([n * float(np.float32(0.1)), 0.0]))


def test_the_gradient_of_take_does_not_depend_on_its_run():
    rng = np.random.default_rng(0)
    x, indices = rng.standard_normal((9, 3)).astype(np.float32), rng.integers(0, 9, 500)
    g = rng.standard_normal((500, 3)).astype(np.float32)
    grads = []
    for _ in range(2):
        tape = Tape()
        t = tape.watch(x)
        grads.append(tape.gradient(t[indices], t, g))
    assert_close("exact", grads[0], grads[1])


def test_rows_of_a_tensor_can_be_looped_over():
    tape = Tape()
    x = tape.watch(X)
    total = sum(row.sum() * (i + 1.0) for i, row in enumerate(x))
    assert_close("exact", tape.gradient(total, x), np.ones_like(X) * np.arange(1.0, 5.0)[:, None, None])


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (np.array([0, 4]), ArgumentError),
        (np.array([-5]), ArgumentError),
        ((ROWS, np.array([0, 1, 2, 3, 0, 1])), ArgumentError),
        (np.array([0.5]), ArgumentError),
        ("a", ArgumentError),
        (True, ArgumentError),
        ((..., ...), ArgumentError),
        ((ROWS, slice(None), COLUMNS), ArgumentError),
        ((None, ROWS), ArgumentError),
        ((0, 0, 0, 0), ShapeError),
        (np.ones(3, bool), ShapeError),
        (7, IndexError),
    ],
)
def test_keys_without_a_meaning_are_refused(library, key, error):
    with pytest.raises(error):
        arrays.getitem(library.asarray(X), moved(library, key))


def test_take_refuses_what_it_cannot_take(library):
    x = library.asarray(X)
    with pytest.raises(ArgumentError, match="index 4 is out of range for an axis of length 4"):
        arrays.take(x, library.asarray(np.array([0, 4])), 0)
    with pytest.raises(ShapeError, match="axis 3"):
        arrays.take(x, library.asarray(np.array([0])), 3)
    with pytest.raises(ShapeError, match=r"\(P,\)"):
        arrays.take(x, library.asarray(np.array([[0]])), 0)

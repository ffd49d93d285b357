"""Laws about how a function treats its inputs and results, whatever it computes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gmengine.mixture import Mixture
from gmengine.ops.convolve import convolve
from gmengine.ops.evaluate import evaluate
from gmengine.ops.reduce import reduce
from gmengine.testing import laws
from gmengine.testing import strategies as gms

M = gms.random_mixture(1, (2,), 5, 2)
X = gms.random_mixture(2, (2,), 4, 2).means


def test_writing_to_an_input_is_found():
    def scaled_in_place(m, x):
        m.means[...] *= 2.0
        return evaluate(m, x)

    laws.inputs_stay_unchanged(evaluate, M, X)
    with pytest.raises(AssertionError, match=r"input\[0\]\.means has changed"):
        laws.inputs_stay_unchanged(scaled_in_place, M.astype("float64"), X)


def test_a_result_that_is_written_to_again_is_found():
    buffer = np.zeros((2, 4))

    def into_a_buffer(m, x):
        buffer[...] = evaluate(m, x)
        return buffer

    laws.results_stay_unchanged(evaluate, (M, X), (M, X + 1))
    with pytest.raises(AssertionError, match="result has changed"):
        laws.results_stay_unchanged(into_a_buffer, (M, X), (M, X + 1))


def test_a_function_of_hidden_state_is_found():
    rng = np.random.default_rng(3)
    laws.calls_repeat_to_the_bit(evaluate, M, X)
    with pytest.raises(AssertionError, match="result has changed"):
        laws.calls_repeat_to_the_bit(lambda m, x: evaluate(m, x) + rng.normal() * 1e-15, M, X)


def test_a_function_that_reads_raw_memory_is_found():
    def by_memory(m, x):
        return evaluate(Mixture(m.weights, np.ravel(m.means, "K").reshape(m.means.shape), m.covariances), x)

    laws.layout_does_not_matter(evaluate, M, X)
    with pytest.raises(AssertionError):
        laws.layout_does_not_matter(by_memory, M, X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_change_of_dtype_is_found(dtype):
    m, x = M.astype(dtype), X.astype(dtype)
    other = {"float32": "float64", "float64": "float32"}[dtype]
    laws.dtype_is_kept(evaluate, m, x)
    laws.dtype_is_kept(lambda m: m.weights > 0, m)
    with pytest.raises(AssertionError, match=f"result of {dtype} inputs is {other}"):
        laws.dtype_is_kept(lambda m, x: evaluate(m, x).astype(other), m, x)


def test_single_precision_is_compared_with_double():
    options = {"size": 5, "scale": laws.spread(M)}
    laws.single_precision_agrees(evaluate, M, X, **options)
    laws.single_precision_agrees(lambda m: convolve(m, m[None]), M, kind="elementwise")
    with pytest.raises(AssertionError):
        laws.single_precision_agrees(
            lambda m, x: evaluate(m, x) * (1 + 1e3 * np.finfo(x.dtype).eps), M, X, **options
        )


def test_two_implementations_are_compared():
    laws.implementations_agree(evaluate, lambda m, x: evaluate(m, x) * (1 + 1e-16), M, X, size=5)
    reverse = [4, 3, 2, 1, 0]
    laws.implementations_agree(
        lambda m: reduce(m, 3), lambda m: reduce(laws.permuted(m, reverse), 3), M, size=5, any_order=True
    )
    with pytest.raises(AssertionError):
        laws.implementations_agree(evaluate, lambda m, x: evaluate(m, x) * 1.001, M, X, size=5)
    with pytest.raises(AssertionError, match="different structures"):
        laws.implementations_agree(evaluate, lambda m, x: (evaluate(m, x),), M, X)


def test_what_is_saved_comes_back(tmp_path):
    laws.round_trips(M, tmp_path / "m.npz")
    laws.round_trips(M.astype("float32"), tmp_path / "m.npz")
    arrays = dict(zip(("w", "mu", "c"), M.arrays, strict=True))
    laws.round_trips(
        arrays,
        tmp_path / "arrays.npz",
        save=lambda value, path: np.savez(path, **value),
        load=lambda path: dict(np.load(path)),
    )


def test_a_file_that_loses_digits_is_found(tmp_path):
    def save(value, path):
        path.write_text(json.dumps([[round(x, 6) for x in value.ravel().tolist()], value.shape]))

    def load(path):
        numbers, shape = json.loads(path.read_text())
        return np.array(numbers).reshape(shape)

    with pytest.raises(AssertionError, match="loaded value has changed"):
        laws.round_trips(M.means, tmp_path / "means.json", save=save, load=load)
    with pytest.raises(AssertionError, match="saved a ndarray, loaded a list"):
        laws.round_trips(M.means, tmp_path / "means.json", save=save, load=lambda path: [1.0])

"""clip_by_global_norm: one norm over all gradients."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.errors import ArgumentError, NonFiniteError
from gmengine.optim import clip_by_global_norm
from gmengine.testing import assert_close


def test_long_gradients_are_shortened_together_and_keep_their_direction():
    grads = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    clipped, norm = clip_by_global_norm(grads, 0.5)
    assert norm == 5.0
    assert_close("elementwise", clipped["a"], np.array([0.3, 0.0]))
    assert_close("elementwise", clipped["b"], np.array([[0.4]]))
    assert grads["a"][0] == 3.0


def test_short_gradients_stay_as_they_are():
    grads = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]]), "none": np.zeros((0, 2))}
    clipped, norm = clip_by_global_norm(grads, 5.0)
    assert norm == 5.0
    assert all(clipped[name] is grads[name] for name in grads)
    assert clip_by_global_norm({"a": np.zeros(3)}, 1.0)[1] == 0.0
    assert clip_by_global_norm({}, 1.0) == ({}, 0.0)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_neither_overflow_nor_vanish(size):
    grads = {"a": np.full(4, size, np.float32)}
    clipped, norm = clip_by_global_norm(grads, size)
    assert norm == pytest.approx(2 * size, rel=1e-6)
    assert clipped["a"].dtype == np.float32
    assert_close("elementwise", clipped["a"], np.full(4, size / 2, np.float32))


def test_what_cannot_be_clipped_is_named():
    with pytest.raises(ArgumentError, match="max_norm"):
        clip_by_global_norm({"a": np.ones(2)}, 0.0)
    with pytest.raises(NonFiniteError, match="'b'"):
        clip_by_global_norm({"a": np.ones(2), "b": np.array([np.inf])}, 1.0)

"""The negative log-likelihood."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.autograd import check_vjp
from gmengine.autograd.arrays import log_softmax
from gmengine.errors import ArgumentError, ShapeError
from gmengine.nn import negative_log_likelihood
from gmengine.testing import assert_close

LOGITS = np.random.default_rng(0).standard_normal((4, 3))
LABELS = np.array([2, 0, 0, 1])


def test_the_loss_is_the_mean_surprise_at_the_true_class():
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    want = -np.mean([np.log(p[i, label]) for i, label in enumerate(LABELS)])
    got = negative_log_likelihood(log_softmax(LOGITS, axis=-1), LABELS)
    assert_close("sum", got, np.asarray(want), size=4)
    assert negative_log_likelihood(np.log(np.full((2, 5), 0.2)), np.array([0, 4])) == pytest.approx(np.log(5))


def test_a_class_of_probability_zero_that_is_not_asked_for_does_no_harm():
    certain = np.array([[0.0, -np.inf, -np.inf]])
    assert negative_log_likelihood(certain, np.array([0])) == 0.0
    assert negative_log_likelihood(certain, np.array([1])) == np.inf


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_kept_for_every_kind_of_integer(dtype):
    for kind in (np.int64, np.uint8):
        assert negative_log_likelihood(LOGITS.astype(dtype), LABELS.astype(kind)).dtype == np.dtype(dtype)


def test_the_gradient_is_that_of_finite_differences():
    check_vjp(lambda x: negative_log_likelihood(log_softmax(x, axis=-1), LABELS), LOGITS)


def test_labels_that_do_not_fit_are_named():
    for bad in (3, -1):
        with pytest.raises(ArgumentError, match=f"label 1 is {bad}, expected 0 to 2"):
            negative_log_likelihood(LOGITS, np.array([0, bad, 1, 1]))
    with pytest.raises(ArgumentError, match="float64"):
        negative_log_likelihood(LOGITS, LABELS.astype(np.float64))
    for logits, labels in ((LOGITS, LABELS[:3]), (LOGITS[0], LABELS), (LOGITS[:0], LABELS[:0])):
        with pytest.raises(ShapeError, match=r"expected log-probabilities \(B, classes\)"):
            negative_log_likelihood(logits, labels)

"""Losses of class probabilities."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gmengine.autograd import arrays, value_of
from gmengine.backend import Array, namespace
from gmengine.deferred import check
from gmengine.errors import ArgumentError, ShapeError


def negative_log_likelihood(log_probabilities: Any, labels: Array) -> Any:
    """Return the mean over the batch of minus the log-probability of the true class, a scalar.

    Parameters
    ----------
    log_probabilities : array or Tensor, shape (B, classes)
        For example from `arrays.log_softmax`.
    labels : integer array, shape (B,)
        In 0 .. classes - 1; moved to the device of `log_probabilities`.

    Raises
    ------
    ShapeError
        If the shapes do not fit or the batch is empty.
    ArgumentError
        If a label is no integer or not a class; names its index.
    """
    shape = tuple(log_probabilities.shape)
    if len(shape) != 2 or tuple(labels.shape) != shape[:1] or shape[0] == 0:
        raise ShapeError(
            "negative_log_likelihood: expected log-probabilities (B, classes) and labels (B,), B > 0, "
            f"got {shape} and {tuple(labels.shape)}"
        )
    value = value_of(log_probabilities)
    xp = namespace(value)
    given, labels = labels, xp.asarray(labels)  # looked at where they are: on the host nobody waits for a GPU
    if not xp.isdtype(labels.dtype, "integral"):
        raise ArgumentError(f"negative_log_likelihood: expected integer labels, got {labels.dtype}")
    check(given, partial(_refuse_others, shape[1]))
    chosen = labels[:, None] == xp.arange(shape[1], dtype=labels.dtype)[None, :]
    # where, not a product: 0 * -inf would be NaN
    return arrays.divide(arrays.sum(arrays.where(chosen, log_probabilities, 0.0)), -float(shape[0]))


def _refuse_others(classes: int, labels: np.ndarray) -> None:
    good = (labels >= 0) & (labels < classes)
    if not good.all():
        i = int(good.argmin())
        raise ArgumentError(f"negative_log_likelihood: label {i} is {labels[i]}, expected 0 to {classes - 1}")

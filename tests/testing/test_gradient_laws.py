"""Laws of gradients pass for right ones and fail for wrong ones."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gmengine.mixture import Mixture
from gmengine.ops.convolve import convolve
from gmengine.ops.evaluate import evaluate
from gmengine.testing import laws, pull_back
from gmengine.testing import strategies as gms

M = gms.random_mixture(1, (2,), 5, 2, absent=0.2)
ONE, TWO = (gms.random_mixture(seed, (), 3, 2) for seed in (2, 3))
X = np.random.default_rng(9).uniform(-2, 2, (4, 2))


def scaled(gradient, field):
    """Return `gradient` with one field off by 1 in 1000."""
    fields = {name: getattr(gradient, name) for name in ("weights", "means", "covariances")}
    return Mixture(**{**fields, field: fields[field] * 1.001})


def vjp_of_evaluate(m, points, cotangent):
    return pull_back(lambda m: evaluate(m, points), m, cotangent=cotangent)[1][0]


def test_a_right_gradient_passes_and_a_wrong_one_fails():
    law = partial(laws.gradient_is_that_of_differences, evaluate)
    law(vjp_of_evaluate, M, X)
    for field in ("weights", "means", "covariances"):
        with pytest.raises(AssertionError, match=field):
            law(lambda *args, field=field: scaled(vjp_of_evaluate(*args), field), M, X)


def test_gradients_for_several_inputs_are_checked_each():
    def fn(a, b):
        return convolve(a[None], b[None, None])[0]

    def vjp(a, b, cotangent):
        return pull_back(fn, a, b, cotangent=cotangent)[1]

    laws.gradient_is_that_of_differences(fn, vjp, ONE, TWO, wrt=2)
    with pytest.raises(AssertionError, match=r"input\[1\]"):
        laws.gradient_is_that_of_differences(fn, lambda a, b, c: (vjp(a, b, c)[0], b), ONE, TWO, wrt=2)


def test_gradients_of_covariances_have_to_be_symmetric_and_those_of_absent_components_zero():
    gradient = vjp_of_evaluate(M, X, np.ones((2, 4)))
    laws.covariance_gradients_are_symmetric(gradient, kind="exact")
    laws.absent_gradients_are_zero(M, gradient)
    upper = Mixture(gradient.weights, gradient.means, np.triu(gradient.covariances))
    with pytest.raises(AssertionError):
        laws.covariance_gradients_are_symmetric(upper)
    with pytest.raises(AssertionError):
        laws.absent_gradients_are_zero(
            M, Mixture(gradient.weights + 1e-9, gradient.means, gradient.covariances)
        )


def test_gradients_in_single_precision_are_compared():
    laws.gradients_agree_in_single_precision(lambda m: evaluate(m, X.astype(m.dtype)), M, size=5)
    with pytest.raises(AssertionError):
        laws.gradients_agree_in_single_precision(
            lambda m: evaluate(m, X.astype(m.dtype)) * (1.0 if m.dtype == np.float64 else 1.001), M, size=5
        )

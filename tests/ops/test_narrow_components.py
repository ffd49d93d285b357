"""Components whose density float32 cannot hold are errors, never NaN."""

from __future__ import annotations

import numpy as np
import pytest

import gmengine as gm
from gmengine.errors import NonFiniteError, NotPositiveDefinite
from gmengine.testing import assert_close


def narrow(variance, dim):
    means = np.zeros((2, dim), np.float32)
    covariances = np.stack([np.eye(dim), variance * np.eye(dim)]).astype(np.float32)
    return gm.Mixture(np.ones(2, np.float32), means, covariances)


@pytest.mark.parametrize(("variance", "dim"), [(1e-14, 6), (1e-27, 3), (1e-39, 1)])
@pytest.mark.parametrize(
    "op",
    [
        lambda m, x: gm.evaluate(m, x),
        lambda m, x: gm.relu(m),
        lambda m, x: gm.density_gradient(m, x),
        lambda m, x: gm.density_hessian(m, x),
    ],
    ids=["evaluate", "relu", "density_gradient", "density_hessian"],
)
def test_a_component_too_narrow_for_its_dtype_is_named(op, variance, dim):
    far = np.ones((1, dim), np.float32)
    with pytest.raises(NonFiniteError, match=r"component \[0, 1\] is too narrow"):
        op(narrow(variance, dim), far)
    assert np.all(np.isfinite(gm.evaluate(narrow(variance, dim).astype("float64"), far.astype("float64"))))


def test_a_covariance_singular_to_within_rounding_has_no_product():
    m = gm.Mixture([1.0], [[0.0, 0.0]], [[[7.0, 8.774964387392123], [8.774964387392123, 11.0]]])
    m.check()
    for op in (gm.product, gm.l2_distance):
        with pytest.raises(NotPositiveDefinite, match=r"component \[0, 0\]"):
            op(m, m[None] * 2.0)


def test_a_product_beyond_the_range_of_float64_is_an_error():
    m = gm.Mixture.isotropic([1.0, -1.0], [[0.0] * 6, [1.0] * 6], 1e-26)
    with pytest.raises(NonFiniteError, match="beyond float64"):
        gm.product(m, m)


def test_long_lines_are_summed_in_float64():
    cells = 1_000_000
    line = gm.Mixture.isotropic(np.ones(1, np.float32), np.zeros((1, 1), np.float32), np.float32(1.0))
    slope = gm.value_and_grad(lambda m: gm.render(m, ([-1.0], [1.0]), (cells,)).sum())(line)[1]
    x = (np.arange(cells) + 0.5) * 2.0 / cells - 1.0
    want = np.exp(-0.5 * x * x).sum() / np.sqrt(2.0 * np.pi)
    assert_close("elementwise", slope.weights, np.array([want]))

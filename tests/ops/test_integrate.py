"""integrate: the sum of the weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.ops.integrate import integrate
from gmengine.testing import assert_close, laws, oracles
from gmengine.testing import strategies as gms


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_integral_is_the_sum_of_the_weights(backend, dtype, data):
    m = data.draw(gms.mixtures(dtype=dtype, absent=0.2, degenerate=True))
    got = backend.asnumpy(integrate(backend.asarray(m)))
    assert got.dtype == np.dtype(dtype)
    magnitude = oracles.integrate(np.abs(m.weights))
    assert_close("sum", got, oracles.integrate(m.weights), size=m.n_components, scale=magnitude)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3), (0,), (2, 0)])
def test_every_batch_shape_is_kept(backend, batch):
    got = backend.asnumpy(integrate(backend.asarray(gms.random_mixture(1, batch, 4, 2))))
    assert got.shape == batch


def test_absent_components_are_never_read(backend):
    m = backend.asarray(gms.random_mixture(2, (2,), 4, 3))
    assert_close("exact", integrate(laws.padded(m, 2, np.nan)), integrate(m))


def test_the_gradient_is_that_of_finite_differences():
    m = gms.random_mixture(3, (2, 2), 4, 2)
    check_vjp(lambda weights: integrate(type(m)(weights, m.means, m.covariances)), m.weights)

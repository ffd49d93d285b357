"""normalise: space scaled so that the mean trace of the covariances is the dimension."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError
from gmengine.ops.affine import scale
from gmengine.ops.integrate import integrate
from gmengine.ops.normalise import domain_scale, mean_trace, normalise
from gmengine.testing import assert_close, assert_mixtures_close, laws, oracles
from gmengine.testing import strategies as gms


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_scale_is_that_of_the_loops(backend, dtype, data):
    m = data.draw(gms.mixtures(dtype=dtype, absent=0.3, degenerate=True))
    got = backend.asnumpy(domain_scale(backend.asarray(m)))
    assert got.dtype == np.dtype(dtype)
    want = np.zeros(m.batch)
    for b in np.ndindex(*m.batch):
        want[b] = oracles.domain_scale(m.weights[b], m.covariances[b])
    assert_close("sum", got, want, size=m.n_components)


@given(st.data())
def test_the_mean_trace_becomes_the_dimension_and_integrals_stay(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(absent=0.3)))
    done = normalise(m)
    trace = backend.asnumpy(mean_trace(done))
    assert_close("sum", trace, np.full(trace.shape, float(m.dim)), size=m.n_components)
    assert_close("exact", integrate(done), integrate(m))
    assert_mixtures_close("sum", normalise(done), done, size=m.n_components)


@given(st.data())
def test_the_unit_of_length_does_not_matter(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(absent=0.2)))
    factor = data.draw(gms.scalars(0.01, 100.0))
    assert_mixtures_close("sum", normalise(scale(m, factor)), normalise(m), size=m.n_components)


def test_pooling_counts_every_present_component_once(backend):
    m = gms.random_mixture(1, (3, 2), 5, 2, absent=0.3)
    for axis, take in ((0, lambda i: m[:, i]), (-2, lambda i: m[:, i])):
        got = backend.asnumpy(mean_trace(backend.asarray(m), axis=axis))
        for i in range(2):
            pool = take(i)
            present = pool.weights != 0
            traces = np.trace(pool.covariances, axis1=-2, axis2=-1)[present]
            assert_close("sum", got[i], np.mean(traces), size=15)
    everything = backend.asnumpy(mean_trace(backend.asarray(m), axis=(0, 1)))
    assert everything.shape == ()


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e6])
def test_absent_components_do_not_count(backend, garbage):
    m = backend.asarray(gms.random_mixture(2, (2,), 4, 2))
    assert_close("elementwise", domain_scale(laws.padded(m, 3, garbage)), domain_scale(m))


@pytest.mark.parametrize("batch", [(), (2, 3), (0,)])
def test_mixtures_of_absent_components_keep_their_scale(backend, batch):
    m = gms.random_mixture(3, batch, 4, 2, degenerate="all_absent")
    assert_close("exact", domain_scale(backend.asarray(m)), np.ones(batch))


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_gradients_are_those_of_finite_differences(dim):
    m = gms.random_mixture(4, (2, 2), 4, dim, absent=0.3)
    check_vjp(domain_scale, m)
    check_vjp(normalise, m)
    check_vjp(lambda m: mean_trace(m, axis=0), m)


def test_a_mixture_without_extent_is_refused():
    m = gms.random_mixture(5, (2,), 3, 2)
    m.covariances[1] *= -1.0
    with pytest.raises(ArgumentError):
        normalise(m)


@pytest.mark.parametrize("axis", [2, -3, (0, 0), (0, -2)])
def test_axes_that_do_not_exist_are_refused(axis):
    with pytest.raises(ArgumentError, match="mean_trace"):
        mean_trace(gms.random_mixture(6, (2, 2), 3, 2), axis=axis)

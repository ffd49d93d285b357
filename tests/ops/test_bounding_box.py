"""bounding_box: where mixtures live."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite
from gmengine.ops.affine import translate
from gmengine.ops.bounding_box import bounding_box
from gmengine.testing import assert_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_extreme_of_the_components(backend, dtype, data):
    m = data.draw(gms.mixtures(batch=(), dtype=dtype, absent=0.2))
    live, n_sigma = oracles.present(m.weights), data.draw(gms.scalars(0.0, 5.0))
    assume(live)
    low, high = (backend.asnumpy(x) for x in bounding_box(backend.asarray(m), n_sigma))
    reach = [n_sigma * np.sqrt(np.diag(m.covariances[i].astype(float))) for i in live]
    assert_close(
        "elementwise",
        low,
        np.min([m.means[i] - r for i, r in zip(live, reach, strict=True)], axis=0),
        scale=20.0,
    )
    assert_close(
        "elementwise",
        high,
        np.max([m.means[i] + r for i, r in zip(live, reach, strict=True)], axis=0),
        scale=20.0,
    )


def test_every_mixture_of_a_batch_has_its_own(backend):
    m = gms.random_mixture(1, (2, 3), 4, 2)
    low, high = (backend.asnumpy(x) for x in bounding_box(backend.asarray(m)))
    assert low.shape == high.shape == (2, 3, 2)
    for b in np.ndindex(2, 3):
        for got, want in zip((low[b], high[b]), bounding_box(m[b]), strict=True):
            assert_close("exact", got, want)
    assert bounding_box(gms.random_mixture(2, (0,), 4, 2))[0].shape == (0, 2)


def test_no_deviations_give_the_box_of_the_means():
    m = gms.random_mixture(3, (), 5, 3)
    low, high = bounding_box(m, 0)
    assert_close("exact", low, m.means.min(0))
    assert_close("exact", high, m.means.max(0))


def test_beyond_six_deviations_nothing_is_left():
    m = gms.random_mixture(4, (), 5, 1, signed=False)
    (low,), (high,) = bounding_box(m, 6.0)
    x = np.linspace(low, high, 2001)
    inside = oracles.evaluate(*m.arrays, x[:, None]).sum() * (x[1] - x[0])
    assert_close("quadrature", inside, m.weights.sum(), scale=10.0)


def test_it_moves_with_the_mixture():
    m, t = gms.random_mixture(5, (2,), 5, 2), np.array([3.0, -1.0])
    for got, want in zip(bounding_box(translate(m, t)), bounding_box(m), strict=True):
        assert_close("sum", got, want + t)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_gradients_are_those_of_finite_differences(dim):
    check_vjp(bounding_box, gms.random_mixture(6, (2,), 4, dim, absent=0.3))


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30, np.nan])
def test_absent_components_are_never_read_and_have_gradient_zero(garbage):
    m = gms.random_mixture(7, (2,), 4, 2)
    got, (grads,) = pull_back(bounding_box, laws.padded(m, 3, garbage))
    for g, w in zip(got, bounding_box(m), strict=True):
        assert_close("exact", g, w)
    for name in ("means", "covariances"):
        g = getattr(grads, name)
        assert_close("exact", g[:, 4:], np.zeros_like(g[:, 4:]))


def test_what_has_no_box_is_named():
    m = gms.random_mixture(8, (2, 2), 3, 2)
    m.weights[1, 0] = 0.0
    with pytest.raises(ArgumentError, match=r"bounding_box: mixture \[1, 0\] has no present component"):
        bounding_box(m)
    for n_sigma in (-1.0, np.nan, np.inf):
        with pytest.raises(ArgumentError, match="n_sigma"):
            bounding_box(m[0], n_sigma)
    m = gms.random_mixture(9, (2,), 3, 2)
    m.covariances[1, 2] *= -1
    with pytest.raises(NotPositiveDefinite, match=r"bounding_box.*\[1, 2\]"):
        bounding_box(m)
    m.means[0, 0] = np.inf
    with pytest.raises(NonFiniteError, match=r"bounding_box.*\[0, 0\]"):
        bounding_box(m)


@pytest.mark.parametrize(("batch", "n"), [((0,), 0), ((0,), 3), ((2, 0), 0)])
def test_an_empty_batch_has_no_boxes(batch, n):
    m = gms.random_mixture(10, batch, n, 2, dtype="float32")
    got, (grads,) = pull_back(bounding_box, m)
    assert [(x.shape, x.dtype) for x in got] == [((*batch, 2), np.float32)] * 2
    assert grads.means.shape == m.means.shape
    with pytest.raises(ArgumentError, match="no present component"):
        bounding_box(gms.random_mixture(10, (1,), 0, 2))

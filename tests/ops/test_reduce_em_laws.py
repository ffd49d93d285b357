"""reduce, "em" and "hem": what holds for both, whatever they decide."""

from __future__ import annotations

from functools import partial
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.mixture import Mixture
from gmengine.ops.convolve import convolve
from gmengine.ops.reduce import reduce
from gmengine.testing import assert_close, assert_mixtures_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

both_methods = pytest.mark.parametrize("method", ["em", "hem"])
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@st.composite
def reductions(draw, **options):
    """Draw a mixture of 2 to 24 components and a smaller number of them that is possible."""
    batches = st.sampled_from([(), (2,)])
    kwargs = {"n_components": st.integers(2, 24), "batch": batches, "degenerate": True} | options
    m = draw(gms.mixtures(**kwargs))
    both = np.any((m.weights > 0).any(-1) & (m.weights < 0).any(-1))
    low = 2 if both else 1
    return m, draw(st.integers(low, max(low, m.n_components)))


# --- moments ------------------------------------------------------------------------------------------------


@given(st.data())
@both_dtypes
@both_methods
def test_the_moments_of_either_sign_are_conserved(backend, method, dtype, data):
    m, n = data.draw(reductions(dtype=dtype, absent=0.2))
    got = backend.asnumpy(reduce(backend.asarray(m), n, method))
    assert got.dtype == np.dtype(dtype)
    laws.moments_are_conserved(m, got)


@both_methods
def test_the_moments_of_many_components_are_conserved(backend, method):
    m = gms.random_mixture(1, (2,), 700, 2)
    for n in (2, 33, 300):
        laws.moments_are_conserved(m, reduce(backend.asarray(m), n, method))


@given(st.data())
@both_methods
def test_one_component_has_the_moments_of_all(backend, method, data):
    m, _ = data.draw(reductions(signed=False, batch=()))
    got = backend.asnumpy(reduce(backend.asarray(m), 1, method))
    if np.any(m.weights):
        w, first, second = oracles.moments(*m.arrays)
        mean = first / w
        assert_close("moments", got.means[0], mean, size=24, scale=4.0)
        assert_close("moments", got.covariances[0], second / w - np.outer(mean, mean), size=24, scale=16.0)


@given(st.data())
@both_methods
def test_weights_of_any_size_give_no_nan_and_definite_covariances(backend, method, data):
    m, n = data.draw(reductions(absent=0.1))
    powers = np.random.default_rng(data.draw(gms.seeds)).uniform(-12, 6, m.weights.shape)
    m = Mixture(m.weights * 10.0**powers, m.means, m.covariances)
    got, (grads,) = pull_back(partial(reduce, n=n, method=method), m)
    got.check()
    laws.moments_are_conserved(m, got)
    assert all(np.all(np.isfinite(g)) for g in grads.arrays)


@both_dtypes
@both_methods
def test_weights_over_the_whole_range_of_single_precision_stay_finite(method, dtype):
    limits = np.finfo(np.float32)
    m = gms.random_mixture(8, (), 24, 2, dtype=dtype)
    powers = np.random.default_rng(9).uniform(np.log10(limits.tiny) + 1, np.log10(limits.max) - 3, 24)
    m = Mixture((np.sign(m.weights) * 10.0**powers).astype(dtype), m.means, m.covariances)
    for n in (2, 5, 11):
        got, (grads,) = pull_back(partial(reduce, n=n, method=method), m)
        unit = abs(m.weights).max()
        laws.moments_are_conserved(
            *(Mixture(x.weights / unit, x.means, x.covariances) for x in (m, got.check()))
        )
        assert all(np.all(np.isfinite(g)) for g in (grads.means, grads.covariances))


@both_methods
def test_what_lies_far_apart_keeps_its_spread(method):
    """Moments are centred: 1e7 standard deviations between clusters leave the digits of their covariances alone."""
    m = gms.random_mixture(10, (), 30, 2, signed=False)
    m.weights[:3] += 1.0  # in every cluster one of the three heaviest
    far = Mixture(m.weights, m.means + 1e7 * (np.arange(30) % 3)[:, None], m.covariances)
    got = reduce(far, 3, method).check()
    laws.moments_are_conserved(far, got)
    for s, k in enumerate(np.argsort(-m.weights[:3]) if method == "em" else range(3)):
        alone = reduce(Mixture(*(a[k::3] for a in m.arrays)), 1, method)
        assert_close("sum", got.weights[s], alone.weights[0], size=30)
        # What rounding does to a mean, times the extent: the square of a mean would be 1e7 times as much.
        assert_close("sum", got.covariances[s], alone.covariances[0], size=30, scale=1e7 * 4.0)


# --- number -------------------------------------------------------------------------------------------------


@given(st.data())
@both_methods
def test_exactly_as_many_are_present_as_were_asked_for(backend, method, data):
    m, n = data.draw(reductions(absent=0.2))
    got = backend.asnumpy(reduce(backend.asarray(m), n, method))
    assert got.batch == m.batch
    assert got.n_components == min(n, m.n_components)
    before = np.count_nonzero(m.weights, axis=-1)
    assert_close("exact", np.count_nonzero(got.weights, axis=-1), np.minimum(before, n))


@both_methods
@pytest.mark.parametrize("n", [5, 6, 100])
def test_a_mixture_that_is_small_enough_is_returned(method, n):
    m = gms.random_mixture(3, (2,), 5, 2, absent=0.3)
    assert reduce(m, n, method) is m


@both_methods
@both_dtypes
def test_few_present_components_keep_their_bits_and_order(method, dtype):
    m = gms.random_mixture(6, (3,), 20, 3, dtype=dtype)
    m.weights[0, ::3], m.weights[2, 2:11] = 0.0, 0.0
    got, (grads,) = pull_back(lambda m: reduce(m, 17, method), m, rng=1)
    cotangents = np.random.default_rng(1).standard_normal(got.weights.shape).astype(dtype)
    for b in (0, 2):
        keep = m.weights[b] != 0
        blank = 17 - keep.sum()
        for a, x in zip(got.arrays, m.arrays, strict=True):
            assert_close("exact", a[b, : keep.sum()], x[b][keep])
        assert_close("exact", got.weights[b, keep.sum() :], np.zeros(blank))
        assert_close("exact", got.covariances[b, keep.sum() :], np.broadcast_to(np.eye(3), (blank, 3, 3)))
        assert_close("exact", grads.weights[b][keep], cotangents[b, : keep.sum()])
    laws.has_exactly(got[1], 17)


@both_methods
@pytest.mark.parametrize("batch", [(0,), (2, 0), (2, 3)])
def test_every_batch_shape_is_kept(backend, method, batch):
    m = backend.asarray(gms.random_mixture(4, batch, 9, 2))
    got, (grads,) = pull_back(lambda m: reduce(m, 4, method), m)
    assert (got.batch, got.n_components, got.dim) == (batch, 4, 2)
    assert grads.batch == batch


@both_methods
@pytest.mark.parametrize("case", ["all_absent", "coincident", "collinear", "duplicates", "cross"])
def test_degenerate_mixtures_reduce_to_every_number(backend, method, case):
    m = gms.random_mixture(5, (2,), 9, 2, degenerate=case)
    for n in range(2, 9):
        got = reduce(backend.asarray(m), n, method)
        laws.moments_are_conserved(m, got)
        laws.has_exactly(got, 0 if case == "all_absent" else n)


@both_methods
def test_a_single_component_stays_what_it_is(method):
    m = laws.padded(gms.random_mixture(5, (2,), 1, 2), 3)
    assert_mixtures_close("exact", reduce(m, 2, method), Mixture(*(a[:, :2] for a in m.arrays)))


@both_methods
def test_copies_of_one_component_merge_into_one_of_their_weight(backend, method):
    m = gms.random_mixture(6, (2,), 1, 2)
    got = reduce(backend.asarray(m + m + m), 1, method)
    assert_mixtures_close("elementwise", got, m * 3.0)


# --- symmetry -----------------------------------------------------------------------------------------------


@given(st.data())
@both_methods
def test_translation_scale_and_weight_pass_through(backend, method, data):
    m, n = data.draw(reductions(degenerate=False, absent=0.2))
    m = backend.asarray(m)
    shift = backend.asarray(data.draw(gms.points(dim=m.dim, n_points=1))[0])

    def smaller(m):
        return reduce(m, n, method)

    laws.map_follows_translation(smaller, m, shift)
    laws.map_follows_scale(smaller, m, data.draw(gms.scalars(0.01, 100.0)))
    laws.map_is_homogeneous(smaller, m, data.draw(gms.scalars(1e-3, 1e3)))
    laws.map_ignores_absent(smaller, m, data.draw(st.sampled_from([0.0, -1.0, 1e6])))
    assert_mixtures_close("solve", smaller(-m), -smaller(m), any_order=True, size=24)


@both_methods
@both_dtypes
def test_ties_of_data_convolved_with_a_cross_are_not_broken_by_rounding(backend, method, dtype):
    """Two grids of means on top of each other: equal masses, equal divergences, quantiles at borders everywhere."""
    axis = np.arange(4) * 0.7
    means = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(1, 16, 2)
    eye = np.broadcast_to(0.3 * np.eye(2), (1, 16, 2, 2)).copy()
    image = Mixture(np.ones((1, 16)), means, eye).astype(dtype)
    kernel_means, kernel_eye = gms.cross(2)[None, None], np.broadcast_to(np.eye(2), (1, 1, 5, 2, 2)).copy()
    kernel = Mixture(np.ones((1, 1, 5)), kernel_means, kernel_eye).astype(dtype)
    m = convolve(backend.asarray(image), backend.asarray(kernel))
    for n in (8, 13, 31):

        def smaller(m, n=n):
            return reduce(m, n, method)

        laws.map_follows_translation(smaller, m, [0.1, 1 / 3], condition=100)
        laws.map_follows_scale(smaller, m, 1 / 3, condition=100)
        laws.map_is_homogeneous(smaller, m, 0.1, condition=100)


@given(st.data())
@both_methods
def test_the_order_does_not_matter_where_no_two_components_tie(backend, method, data):
    N = data.draw(
        st.integers(3, 24)
    )  # in one dimension two of them would often lie in one of the curve's 1024 cells
    m = gms.random_mixture(data.draw(gms.seeds), (2,), N, data.draw(st.sampled_from([2, 3])), absent=0.1)
    n, order = data.draw(st.integers(2, N - 1)), data.draw(st.permutations(range(N)))
    assert len({*np.abs(m.weights[m.weights != 0])}) == np.count_nonzero(m.weights)
    laws.map_ignores_order(lambda m: reduce(m, n, method), backend.asarray(m), order)


@pytest.mark.parametrize("n", [2, 3])
def test_hem_ignores_the_order_of_equally_heavy_components(backend, n):
    m = Mixture(np.full(5, 0.2), gms.cross(2), np.broadcast_to(0.7 * np.eye(2), (5, 2, 2)).copy())
    for order in list(permutations(range(5)))[::7]:
        laws.map_ignores_order(lambda m: reduce(m, n, "hem"), backend.asarray(m), list(order))

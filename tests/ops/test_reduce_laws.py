"""reduce: what holds for every reduction, whatever the method decides."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.convolve import convolve
from gmengine.ops.reduce import apply, plan, reduce
from gmengine.testing import assert_close, assert_mixtures_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

AWKWARD = np.array([0.1, 1 / 3, np.pi])


@st.composite
def reductions(draw, **options):
    """Draw a mixture of 2 to 24 components, a smaller number of them that is possible, and T."""
    kwargs = {
        "n_components": st.integers(2, 24),
        "batch": st.sampled_from([(), (2,)]),
        "degenerate": True,
    } | options
    m = draw(gms.mixtures(**kwargs))
    both = np.any((m.weights > 0).any(-1) & (m.weights < 0).any(-1))
    low = 2 if both else 1
    return m, draw(st.integers(low, max(low, m.n_components))), draw(st.sampled_from([1, 2, 3, 4, 8]))


# --- moments ------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_merging_conserves_the_moments_of_either_sign(backend, dtype, data):
    m, n, per_node = data.draw(reductions(dtype=dtype, absent=0.2))
    got = backend.asnumpy(reduce(backend.asarray(m), n, per_node=per_node))
    assert got.dtype == np.dtype(dtype)
    laws.moments_are_conserved(m, got)


def test_merging_many_components_conserves_moments(backend):
    m = gms.random_mixture(1, (2,), 700, 2)
    for per_node in (2, 4, 16):
        laws.moments_are_conserved(m, reduce(backend.asarray(m), 33, per_node=per_node))


@given(st.data())
def test_one_component_is_the_moment_match(backend, data):
    m, _, per_node = data.draw(reductions(signed=False, batch=()))
    got = backend.asnumpy(reduce(backend.asarray(m), 1, per_node=per_node))
    if np.any(m.weights):
        w, first, second = oracles.moments(*m.arrays)
        mean = first / w
        assert_close("moments", got.means[0], mean, size=24, scale=4.0)
        assert_close("moments", got.covariances[0], second / w - np.outer(mean, mean), size=24, scale=16.0)


@given(st.data())
def test_covariances_stay_positive_definite_for_weights_of_any_size(backend, data):
    m, n, per_node = data.draw(reductions(absent=0.1))
    powers = np.random.default_rng(data.draw(gms.seeds)).uniform(-12, 6, m.weights.shape)
    m = Mixture(m.weights * 10.0**powers, m.means, m.covariances)
    got = backend.asnumpy(reduce(backend.asarray(m), n, per_node=per_node))
    got.check()
    laws.moments_are_conserved(m, got)


# --- number -------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("method", ["tree_hem", "top"])
def test_exactly_as_many_are_present_as_were_asked_for(backend, method, data):
    m, n, per_node = data.draw(reductions(absent=0.2))
    got = backend.asnumpy(reduce(backend.asarray(m), n, method, per_node))
    assert got.batch == m.batch
    assert got.n_components == min(n, m.n_components)
    before = np.count_nonzero(m.weights, axis=-1)
    assert_close("exact", np.count_nonzero(got.weights, axis=-1), np.minimum(before, n))
    fewer = before <= n
    if np.all(fewer):
        assert_mixtures_close("exact", got, m, any_order=True)


@pytest.mark.parametrize("method", ["tree_hem", "top"])
@pytest.mark.parametrize("n", [5, 6, 100])
def test_a_mixture_that_is_small_enough_is_unchanged(backend, method, n):
    m = backend.asarray(gms.random_mixture(3, (2,), 5, 2, absent=0.3))
    assert_mixtures_close("exact", reduce(m, n, method), m)


@pytest.mark.parametrize("method", ["tree_hem", "top"])
@pytest.mark.parametrize("batch", [(0,), (2, 0), (2, 3)])
def test_every_batch_shape_is_kept(backend, method, batch):
    got = reduce(backend.asarray(gms.random_mixture(4, batch, 9, 2)), 4, method)
    assert (got.batch, got.n_components, got.dim) == (batch, 4, 2)


@pytest.mark.parametrize("case", ["all_absent", "coincident", "collinear", "duplicates", "cross"])
@pytest.mark.parametrize("per_node", [2, 4])
def test_degenerate_mixtures_reduce_to_every_number(backend, case, per_node):
    m = gms.random_mixture(5, (2,), 9, 2, degenerate=case)
    for n in range(2, 9):
        got = reduce(backend.asarray(m), n, per_node=per_node)
        laws.moments_are_conserved(m, got)
        laws.has_exactly(got, 0 if case == "all_absent" else n)


def test_two_copies_of_one_component_merge_into_one_of_twice_the_weight(backend):
    m = gms.random_mixture(6, (2,), 1, 2)
    got = reduce(backend.asarray(m + m), 1)
    assert_mixtures_close("elementwise", got, m * 2.0)


def test_top_keeps_the_heaviest_and_the_first_of_equals(backend):
    w = np.array([0.5, -2.0, 0.0, 2.0, 1.0, -1.0, 2.0])
    m = Mixture(w, np.arange(14.0).reshape(7, 2), np.broadcast_to(np.eye(2), (7, 2, 2)).copy())
    for n, kept in ((1, [1]), (3, [1, 3, 6]), (4, [1, 3, 6, 4]), (6, [1, 3, 6, 4, 5, 0])):
        got = reduce(backend.asarray(m), n, "top")
        assert_mixtures_close("exact", got, laws.permuted(m, kept))


# --- symmetry -----------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("method", ["tree_hem", "top"])
def test_translation_scale_weight_and_order_pass_through(backend, method, data):
    m, n, per_node = data.draw(reductions(degenerate=False, absent=0.2))
    m = backend.asarray(m)
    shift = backend.asarray(data.draw(gms.points(dim=m.dim, n_points=1))[0])
    order = data.draw(st.permutations(range(m.n_components)))

    def smaller(m):
        return reduce(m, n, method, per_node)

    laws.map_follows_translation(smaller, m, shift)
    laws.map_follows_scale(smaller, m, data.draw(gms.scalars(0.01, 100.0)))
    laws.map_is_homogeneous(smaller, m, data.draw(gms.scalars(1e-3, 1e3)))
    laws.map_ignores_order(smaller, m, order)
    laws.map_ignores_absent(smaller, m, data.draw(st.sampled_from([0.0, -1.0, 1e6])))
    assert_mixtures_close("solve", smaller(-m), -smaller(m), any_order=True, size=24)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_ties_of_the_cross_are_not_broken_by_rounding(backend, dtype, n):
    m = gms.kernel_cross(7, (4,), dtype)
    m = backend.asarray(Mixture(np.abs(m.weights), m.means, m.covariances))
    for factor in (1.0, 0.1, 1 / 3, np.pi, 1e3):
        laws.map_follows_scale(lambda m: reduce(m, n), m, factor)
        laws.map_follows_translation(lambda m: reduce(m, n), m, list(AWKWARD[:2] * factor))
        laws.map_follows_translation(lambda m: reduce(m, n), m, list(-AWKWARD[1:] * factor))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ties_of_data_convolved_with_a_cross_are_not_broken_by_rounding(backend, dtype):
    """Two grids of means on top of each other: equal distances everywhere, equal masses in many nodes."""
    axis = np.arange(4) * 0.7
    means = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(1, 16, 2)
    eye = np.broadcast_to(0.3 * np.eye(2), (1, 16, 2, 2)).copy()
    image = Mixture(np.ones((1, 16)), means, eye).astype(dtype)
    kernel = Mixture(
        np.ones((1, 1, 5)), gms.cross(2)[None, None], np.broadcast_to(np.eye(2), (1, 1, 5, 2, 2)).copy()
    )
    m = convolve(backend.asarray(image), backend.asarray(kernel.astype(dtype)))
    for n, per_node in ((8, 2), (13, 2), (16, 4), (31, 2)):

        def smaller(m, n=n, per_node=per_node):
            return reduce(m, n, per_node=per_node)

        laws.map_follows_translation(smaller, m, list(AWKWARD[:2]), condition=100)
        laws.map_follows_scale(smaller, m, 1 / 3, condition=100)
        laws.map_is_homogeneous(smaller, m, 0.1, condition=100)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factor", [1.0, 0.7, 1 / 3, 1e5])
def test_of_two_equally_heavy_nodes_the_first_is_opened(backend, dtype, factor):
    """0.3 + 0.2 + 0.1 and 0.1 + 0.2 + 0.3 differ in the last bit, but not in weight."""
    x = np.array([0.0, 0.1, 0.5, 4.0, 4.1, 4.5])
    w = factor * np.array([0.3, 0.2, 0.1, 0.1, 0.2, 0.3])
    m = Mixture(w, np.stack([x, 0 * x], axis=-1), np.broadcast_to(0.01 * np.eye(2), (6, 2, 2)).copy())
    got = backend.asnumpy(reduce(backend.asarray(m.astype(dtype)), 5))
    kept = np.isin(m.astype(dtype).means[:, 0], got.means[:, 0])
    assert kept[:3].tolist() == [True, True, True]


@pytest.mark.parametrize("n", [2, 3])
def test_the_order_of_a_cross_does_not_matter(backend, n):
    m = Mixture(np.full(5, 0.2), gms.cross(2), np.broadcast_to(0.7 * np.eye(2), (5, 2, 2)).copy())
    for order in list(permutations(range(5)))[::7]:
        laws.map_ignores_order(lambda m: reduce(m, n), backend.asarray(m), list(order))


# --- contract -----------------------------------------------------------------------------------------------


def test_a_plan_can_be_applied_to_other_values():
    m = gms.random_mixture(8, (2,), 12, 2)
    held = plan(m, 5)
    assert_mixtures_close("exact", apply(m, held), reduce(m, 5))
    moved = Mixture(m.weights * 1.01, m.means + 0.01, m.covariances * 1.02)
    laws.moments_are_conserved(moved, apply(moved, held))


def test_inputs_are_not_changed_and_need_not_be_contiguous():
    m = gms.random_mixture(9, (3, 2), 12, 2, absent=0.2)
    strided = Mixture(*(np.asfortranarray(a) for a in m.arrays))
    before = [a.copy() for a in strided.arrays]
    for method in ("tree_hem", "top"):
        (got, gots), (want, wants) = (
            pull_back(lambda m, method=method: reduce(m, 5, method), x) for x in (strided, m)
        )
        assert_mixtures_close("exact", got, want)
        assert_mixtures_close("exact", gots[0], wants[0])
    for a, b in zip(strided.arrays, before, strict=True):
        assert_close("exact", a, b)


def test_repeated_calls_give_the_same_bits():
    m = gms.random_mixture(10, (8,), 200, 2)
    (a, (ga,)), (b, (gb,)) = (pull_back(lambda m: reduce(m, 16, per_node=4), m) for _ in range(2))
    assert_mixtures_close("exact", a, b)
    assert_mixtures_close("exact", ga, gb)


def test_both_signs_cannot_become_one_component():
    m = gms.random_mixture(11, (2, 3), 5, 2, signed=False)
    m.weights[1, 2, 3] *= -1
    with pytest.raises(ArgumentError, match=r"reduce.*1, 2"):
        reduce(m, 1)


def test_bad_arguments_are_named():
    m = gms.random_mixture(12, (2,), 5, 2)
    for kwargs in ({"n": 0}, {"n": -1}, {"n": 2.5}, {"n": 3, "per_node": 0}, {"n": 3, "method": "best"}):
        with pytest.raises(ArgumentError, match="reduce"):
            reduce(m, **kwargs)
    with pytest.raises(ShapeError, match="apply"):
        apply(gms.random_mixture(13, (2,), 6, 2), plan(m, 3))


def test_a_plan_for_other_signs_is_refused():
    m = gms.random_mixture(14, (2,), 8, 2)
    held = plan(m, 4)
    for factor in (-1.0, 0.0):
        other = Mixture(m.weights.copy(), m.means, m.covariances)
        other.weights[1, 3] *= factor
        with pytest.raises(ArgumentError, match="apply"):
            apply(other, held)


def test_invalid_components_are_named():
    m = gms.random_mixture(15, (2, 2), 6, 2)
    m.weights[1, 0, 2] = np.nan
    for method in ("tree_hem", "top"):
        with pytest.raises(NonFiniteError, match=r"reduce.*\[1, 0, 2\]"):
            reduce(m, 3, method)
    m = gms.random_mixture(16, (2, 2), 6, 2)
    m.covariances[1, 0, 2] = np.diag([1.0, -0.25])
    with pytest.raises(NotPositiveDefinite, match=r"reduce.*\[1, 0, 2\].*-0\.25"):
        reduce(m, 3)

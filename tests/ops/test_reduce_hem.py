"""reduce, "hem": hierarchical EM against loops over lists, what its plan holds, and finite differences."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.mixture import Mixture
from gmengine.ops.reduce import apply, plan, reduce
from gmengine.testing import assert_mixtures_close, em_oracle, laws
from gmengine.testing import strategies as gms


def by_loops(m, n):
    parts = [em_oracle.hem(*(a[b] for a in m.arrays), n) for b in np.ndindex(*m.batch)]
    return Mixture(*(np.stack(p).reshape((*m.batch, *p[0].shape)) for p in zip(*parts, strict=True)))


# --- the oracle ---------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_components_are_those_of_loops_over_lists(backend, dim, data):
    options = {"signed": data.draw(st.booleans()), "absent": 0.1, "degenerate": True}
    m = data.draw(gms.mixtures(batch=(), dim=dim, n_components=st.integers(2, 20), **options))
    n = data.draw(st.integers(2, m.n_components)) if m.n_components > 1 else 2
    got = backend.asnumpy(reduce(backend.asarray(m), n, "hem"))
    if n < m.n_components:
        assert_mixtures_close("solve", got, by_loops(m, n), any_order=True, size=30, condition=100)
    laws.moments_are_conserved(m, got)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_larger_mixtures_agree_in_order_too(backend, dim):
    m = gms.random_mixture(1, (), 150, dim, condition=4.0, absent=0.1)
    for n in (2, 60):
        got = backend.asnumpy(reduce(backend.asarray(m), n, "hem"))
        assert_mixtures_close("solve", got, by_loops(m, n), size=150, condition=100)


def test_more_parents_than_a_word_has_bits_agree_too():
    m = gms.random_mixture(2, (), 230, 1, signed=False)
    assert_mixtures_close("solve", reduce(m, 70, "hem"), by_loops(m, 70), size=230, condition=100)


# --- the plan -----------------------------------------------------------------------------------------------


@st.composite
def plans(draw):
    m = draw(gms.mixtures(batch=(), n_components=st.integers(3, 40), absent=0.2, degenerate="duplicates"))
    n = draw(st.integers(2, m.n_components - 1))
    return m, n, plan(m, n, "hem")


def allowed(level, sign):
    """Return (parents, components) of a sign as booleans: which may take which."""
    bounds = [0, *level.ends[0].tolist()], [0, *level.parent_ends[0].tolist()]
    (start, stop), (first, last) = (b[sign : sign + 2] for b in bounds)
    bits = np.unpackbits(level.masks[0, first:last].view(np.uint8), axis=-1, bitorder="little")
    assert not bits[:, stop - start :].any()
    return bits[:, : stop - start].astype(bool), level.parents[0, first:last] - start


@given(plans())
def test_each_level_has_a_third_of_the_components(case):
    m, n, held = case
    count = int(np.count_nonzero(m.weights))
    sizes = []
    for level in held.levels:
        assert level.ends[0, 1] == count
        assert sorted(level.order[0][:count].tolist()) == (
            list(range(count)) if sizes else np.flatnonzero(m.weights).tolist()
        )
        assert np.all(level.order[0][count:] == -1)
        count = max(n, -(-count // 3)) if count > n else count
        assert level.parent_ends[0, 1] == count
        sizes.append(count)
    assert sizes[-1] == min(n, np.count_nonzero(m.weights))


@given(plans())
def test_parents_are_distinct_and_every_component_has_one_and_parents_have_themselves(case):
    _, n, held = case
    for level in held.levels:
        if level.ends[0, 1] <= n:
            continue
        for sign in range(2):
            bits, parents = allowed(level, sign)
            assert len(set(parents.tolist())) == len(parents)
            assert np.all(np.diff(parents) > 0)
            assert np.all(bits.any(axis=0))
            assert np.all(bits[np.arange(len(parents)), parents])


@given(plans())
def test_signs_keep_apart_and_each_has_a_parent(case):
    _, n, held = case
    for level in held.levels:
        positive, count = level.ends[0].tolist()
        first, last = level.parent_ends[0].tolist()
        assert (first > 0) == (positive > 0)
        assert (last > first) == (count > positive)
        if count > n:
            assert np.all(level.parents[0, :first] < positive)
            assert np.all(level.parents[0, first:last] >= positive)


def on_a_line(weights):
    x = np.arange(float(len(weights)))
    cov = np.broadcast_to(0.01 * np.eye(2), (len(x), 2, 2)).copy()
    return Mixture(np.array(weights), np.stack([x, 0 * x], axis=-1), cov)


def parents_of(weights, n):
    level = plan(on_a_line(weights), n, "hem").levels[0]
    return level.order[0][level.parents[0][: level.parent_ends[0, 1]]].tolist()


@pytest.mark.parametrize("factor", [1.0, 0.1, 1 / 3, 1e5])
def test_parents_hold_the_quantiles_of_equal_mass(factor):
    equal = factor * np.ones(9)
    assert parents_of(equal, 3) == [1, 4, 7]
    assert parents_of(factor * np.ones(6), 3) == [0, 2, 4]  # quantiles 1/6, 3/6, 5/6 end components 0, 2, 4
    assert parents_of(factor * np.array([1, 1, 1, 1, 2, 2, 4.0]), 3) == [1, 4, 6]


def test_what_holds_several_quantiles_is_one_parent_and_the_others_are_found_in_the_rest():
    assert parents_of([1, 1, 1, 100.0, 1, 1, 1], 3) == [1, 3, 5]
    assert parents_of([1000, 100, 10, 1.0, 0.1], 4) == [0, 1, 2, 3]


def test_parents_are_shared_by_mass_but_each_sign_has_one():
    assert parents_of([1, 1, 1, 1, -1, -1, 1, 1, 1.0], 3) == [1, 7, 4]
    assert parents_of([1, 1, 1, 1, -1e-9, 1, 1, 1, 1.0], 3) == [1, 6, 4]
    assert parents_of([-1, -1, -1, -1, 1e-9, -1, -1, -1.0], 3) == [4, 1, 6]
    assert parents_of([1e9, 1, -1, -1, -1, -1, -1.0], 5) == [0, 1, 2, 4, 6]


def test_a_component_may_join_parents_of_small_divergence_and_the_nearest():
    """Between N(a, 1) and N(b, 1) the divergence is (a - b)^2 / 2: at most 2 up to a distance of 2, bound included."""
    x = np.array([0.0, 1.0, 2.0, 2.5, 10.0, 14.0, 20.0, 21.0, 22.5])
    m = Mixture(np.ones(9), x[:, None], np.ones((9, 1, 1)))
    level = plan(m, 3, "hem").levels[0]
    bits, parents = allowed(level, 0)
    assert x[level.order[0]][parents].tolist() == [1.0, 10.0, 21.0]
    assert x[level.order[0]].tolist() == x.tolist()
    assert bits.astype(int).tolist() == [
        [1, 1, 1, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 1, 1],
    ]
    m = Mixture(np.ones(9), np.arange(9.0)[:, None] * 4 / 3, np.ones((9, 1, 1)))
    bits, _ = allowed(plan(m, 4, "hem").levels[0], 0)
    assert bits.sum(axis=0).tolist() == [1, 1, 2, 1, 2, 1, 2, 1, 1]


def test_a_plan_is_made_of_integers_and_its_masks_of_bits():
    m = gms.random_mixture(3, (2, 2), 500, 2)
    held = plan(m, 40, "hem")
    assert (held.n, held.shape) == (40, (2, 2, 500))
    assert [level.parents.shape[-1] for level in held.levels] == [167, 56, 40]
    assert all(a.dtype.kind in "iu" for arrays in held.arrays for a in arrays)
    assert sum(level.masks.nbytes for level in held.levels) < 4 * 500**2 / 20


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_the_gradient_is_that_of_finite_differences_while_the_plan_is_held(dim):
    m = gms.random_mixture(4, (2,), 40, dim, absent=0.1)
    for n in (2, 5, 12, 30):
        held = plan(m, n, "hem")
        check_vjp(partial(apply, plan=held), m, rng=5, eps=1e-5)


def test_the_gradient_is_right_over_several_blocks():
    m = gms.random_mixture(6, (), 700, 2)
    check_vjp(partial(apply, plan=plan(m, 30, "hem")), m, rng=7, eps=1e-5)


def test_the_plan_holds_at_values_that_would_plan_otherwise():
    m = gms.random_mixture(8, (2,), 40, 2, absent=0.1)
    held = plan(m, 6, "hem")
    other = gms.random_mixture(9, (2,), 40, 2, signed=False)
    moved = Mixture(np.sign(m.weights) * other.weights, other.means, other.covariances)
    check_vjp(partial(apply, plan=held), moved, rng=10, eps=1e-5)
    laws.moments_are_conserved(moved, apply(moved, held))

"""reduce, "em": the paper's MEM, against the original's numbers, loops over lists, and finite differences."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.mixture import Mixture
from gmengine.ops.reduce import apply, plan, reduce
from gmengine.testing import assert_close, assert_mixtures_close, em_oracle, laws, pull_back
from gmengine.testing import strategies as gms

DATA = Path(__file__).parents[1] / "data"
CLIP = float(np.float32(1e-5))  # the original's, of the sums by which shares are divided
DIFFERENCES = 1e-7  # what central differences leave of a product, relative to the product of magnitudes
UNCLIPPED = {
    2: [(0, 0), (0, 2), (1, 2)],
    3: [],
}  # where every sum is larger, so that the original loses no mass


def unpack(packed, dim):
    """Return rows (weight, position, covariance) as a Mixture."""
    covariances = packed[..., 1 + dim :].reshape(*packed.shape[:-1], dim, dim)
    return Mixture(packed[..., 0], packed[..., 1 : 1 + dim], covariances)


def golden(dim):
    with np.load(DATA / f"mhem_k{dim}_f64.npz") as file:
        return {name: unpack(array, dim) for name, array in file.items()}


def by_loops(m, n, **options):
    parts = [em_oracle.em(*(a[b] for a in m.arrays), n, **options) for b in np.ndindex(*m.batch)]
    return Mixture(*(np.stack(p).reshape((*m.batch, *p[0].shape)) for p in zip(*parts, strict=True)))


# --- the original -------------------------------------------------------------------------------------------


def test_where_the_original_loses_no_mass_its_components_are_matched_in_order(backend):
    data = golden(2)
    for at in UNCLIPPED[2]:
        got = backend.asnumpy(reduce(backend.asarray(data["mixture"][at]), 8, "em"))
        assert_mixtures_close("golden", got, data["out"][at])


@pytest.mark.parametrize("dim", [2, 3])
def test_elsewhere_the_clip_of_small_sums_is_all_that_differs(dim):
    data = golden(dim)
    for at in np.ndindex(2, 3):
        m, theirs = data["mixture"][at], data["out"][at]
        assert_mixtures_close("golden", by_loops(m, 8, smallest_sum=CLIP), theirs)
        ours = reduce(m, 8, "em")
        assert_mixtures_close("golden", ours, by_loops(m, 8))
        lost = 1.0 - theirs.weights.sum() / m.weights.sum()
        assert (lost > 0.01) == (at not in UNCLIPPED[dim])
        laws.moments_are_conserved(m, ours)


def directions(m, seed):
    """Yield small changes, one for each array alone and one for all; covariances stay symmetric."""
    rng = np.random.default_rng(seed)
    for which in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)):
        w, mu, cov = (on * rng.standard_normal(a.shape) for on, a in zip(which, m.arrays, strict=True))
        yield Mixture(w, mu, (cov + np.swapaxes(cov, -1, -2)) / 2)


def product(a, b):
    return sum(float(np.sum(x * y)) for x, y in zip(a.arrays, b.arrays, strict=True))


@pytest.mark.parametrize("dim", [2, 3])
def test_the_original_s_gradient_is_the_one_without_the_likelihoods(dim):
    data, eps = golden(dim), 1e-6
    for at in np.ndindex(2, 3):
        m, theirs, cotangent = (data[name][at] for name in ("mixture", "grad", "cotangent"))
        for t in directions(m, 1):
            ends = [
                Mixture(*(a + step * b for a, b in zip(m.arrays, t.arrays, strict=True)))
                for step in (eps, -eps)
            ]
            for held, agrees in ((m.arrays, True), (None, False)):
                up, down = (product(by_loops(x, 8, held=held, smallest_sum=CLIP), cotangent) for x in ends)
                error = abs((up - down) / (2 * eps) - product(theirs, t))
                size = product(*(Mixture(*map(np.abs, x.arrays)) for x in (theirs, t)))
                assert (error < DIFFERENCES * size) == agrees


@pytest.mark.parametrize("dim", [2, 3])
def test_our_gradient_is_the_one_with_them(dim):
    data, eps = golden(dim), 1e-6
    for at in np.ndindex(2, 3):
        m, theirs, cotangent = (data[name][at] for name in ("mixture", "grad", "cotangent"))
        _, (ours,) = pull_back(lambda m: reduce(m, 8, "em"), m, cotangent=cotangent)
        for t in directions(m, 2):
            up, down = (
                product(
                    by_loops(Mixture(*(a + s * b for a, b in zip(m.arrays, t.arrays, strict=True))), 8),
                    cotangent,
                )
                for s in (eps, -eps)
            )
            size = product(*(Mixture(*map(np.abs, x.arrays)) for x in (ours, t)))
            assert abs((up - down) / (2 * eps) - product(ours, t)) < DIFFERENCES * size
        assert np.abs(ours.means - theirs.means).max() > 0.1 * np.abs(theirs.means).max()


# --- the oracle ---------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_components_are_those_of_loops_over_lists(backend, dim, data):
    options = {"signed": data.draw(st.booleans()), "absent": 0.1, "degenerate": True}
    m = data.draw(gms.mixtures(batch=(), dim=dim, n_components=st.integers(2, 20), **options))
    n = data.draw(st.integers(2, m.n_components)) if m.n_components > 1 else 2
    got = backend.asnumpy(reduce(backend.asarray(m), n, "em"))
    if n < m.n_components:
        assert_mixtures_close("solve", got, by_loops(m, n), any_order=True, size=30, condition=100)
    laws.moments_are_conserved(m, got)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_more_components_than_one_block_agree_in_order_too(backend, dim):
    m = gms.random_mixture(1, (2,), 350, dim, condition=4.0)
    for n in (3, 20):
        got = backend.asnumpy(reduce(backend.asarray(m), n, "em"))
        assert_mixtures_close("solve", got, by_loops(m, n), size=350, condition=100)


def test_more_parents_than_blocks_of_full_length_allow_agree_too():
    m = gms.random_mixture(2, (), 250, 2, signed=False)
    assert_mixtures_close("solve", reduce(m, 200, "em"), by_loops(m, 200), size=250, condition=100)


# --- representatives ----------------------------------------------------------------------------------------


def chosen(m, n):
    held = plan(m, n, "em")
    return held.order[0][held.parents[0]].tolist()


def weighing(*weights):
    n = len(weights)
    means = np.arange(2.0 * n).reshape(n, 2)
    return Mixture(np.array(weights), means, np.broadcast_to(np.eye(2), (n, 2, 2)).copy())


def test_the_heaviest_represent_the_others_and_of_equals_the_first():
    m = weighing(0.5, 2.0, 0.0, 2.0 * (1 + 1e-15), 1.0, 0.9, 2.0)
    assert chosen(m, 1) == [1]
    assert chosen(m, 3) == [1, 3, 6]
    assert chosen(m, 5) == [1, 3, 6, 4, 5]
    m = m.astype("float32")
    m.weights[3] = np.nextafter(np.float32(2), np.float32(3))
    assert chosen(m, 2) == [1, 3]


def test_every_sign_has_a_representative():
    assert chosen(weighing(5.0, 4.0, 3.0, -0.1, -0.2), 3) == [0, 1, 4]
    assert chosen(weighing(-5.0, -4.0, 0.1, 0.2, -3.0), 2) == [3, 0]
    assert chosen(weighing(-5.0, 4.5, 4.0, -0.2, -3.0), 3) == [1, 2, 0]


def test_a_representative_keeps_its_share_of_itself_at_least():
    """Nothing is as likely under another Gaussian as under itself: W_s >= w_s^2 / sum of the representatives."""
    m = gms.random_mixture(3, (20,), 30, 2, signed=False)
    heaviest = -np.sort(-m.weights, axis=-1)[:, :6]
    got = reduce(m, 6, "em").weights
    least = heaviest**2 / heaviest.sum(axis=-1, keepdims=True)
    assert np.all(got > least * (1 - 1e-12))


@pytest.mark.parametrize(("dtype", "tiny"), [("float32", 1e-25), ("float64", 1e-160)])
def test_a_representative_whose_mass_underflows_becomes_absent(dtype, tiny):
    """It counts for almost nothing among the parents, keeps almost nothing of almost nothing, and others are far."""
    m = weighing(1.0, 1.0, tiny, tiny / 10, tiny / 10)
    m = Mixture(m.weights, 100.0 * m.means, m.covariances).astype(dtype)
    got, (grads,) = pull_back(lambda m: reduce(m, 3, "em"), m)
    assert_close("exact", got.weights, np.array([1, 1, 0], dtype))
    assert_close("exact", got.means[2], np.zeros(2, dtype))
    assert_close("exact", got.covariances[2], np.eye(2, dtype=dtype))
    assert all(np.all(np.isfinite(g)) for g in grads.arrays)
    laws.has_exactly(reduce(Mixture(np.maximum(m.weights, 1e-3), m.means, m.covariances), 3, "em"), 3)


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_the_gradient_is_that_of_finite_differences_while_the_plan_is_held(dim):
    m = gms.random_mixture(4, (2,), 25, dim, absent=0.1)
    for n in (2, 7, 20):
        held = plan(m, n, "em")
        check_vjp(partial(apply, plan=held), m, rng=5, eps=1e-5)


def test_the_gradient_is_right_over_several_blocks():
    m = gms.random_mixture(6, (), 700, 2)
    check_vjp(partial(apply, plan=plan(m, 9, "em")), m, rng=7, eps=1e-5)


def test_the_plan_holds_at_values_that_would_plan_otherwise():
    m = gms.random_mixture(8, (2,), 25, 2, absent=0.1)
    held = plan(m, 6, "em")
    other = gms.random_mixture(9, (2,), 25, 2, signed=False)
    moved = Mixture(np.sign(m.weights) * other.weights, other.means, other.covariances)
    check_vjp(partial(apply, plan=held), moved, rng=10, eps=1e-5)

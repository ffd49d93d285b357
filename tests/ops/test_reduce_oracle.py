"""reduce: against the same tree grown by recursion, and its gradient against finite differences."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.mixture import Mixture
from gmengine.ops.reduce import apply, plan, reduce
from gmengine.testing import assert_close, assert_mixtures_close, laws, pull_back, tree_oracle
from gmengine.testing import strategies as gms


def by_recursion(m, n, per_node):
    parts = [tree_oracle.tree_hem(*(a[b] for a in m.arrays), n, per_node) for b in np.ndindex(*m.batch)]
    return Mixture(*(np.stack(p).reshape((*m.batch, *p[0].shape)) for p in zip(*parts, strict=True)))


# --- values -------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_components_are_those_of_the_recursion(backend, dim, data):
    m = data.draw(
        gms.mixtures(
            batch=(), dim=dim, n_components=st.integers(2, 30), signed=data.draw(st.booleans()), absent=0.1
        )
    )
    n, per_node = data.draw(st.integers(2, m.n_components)), data.draw(st.sampled_from([1, 2, 3, 4, 8]))
    got = backend.asnumpy(reduce(backend.asarray(m), n, per_node=per_node))
    assert_mixtures_close("solve", got, by_recursion(m, n, per_node), any_order=True, size=30, condition=100)
    laws.moments_are_conserved(m, got)


@pytest.mark.parametrize(("dim", "n", "per_node"), [(2, 33, 2), (3, 64, 4), (2, 40, 16)])
def test_large_mixtures_agree_in_order_too(backend, dim, n, per_node):
    m = gms.random_mixture(1, (2,), 150, dim, condition=4.0)
    got = backend.asnumpy(reduce(backend.asarray(m), n, per_node=per_node))
    assert_mixtures_close("solve", got, by_recursion(m, n, per_node), size=150, condition=100)


@given(st.data())
def test_crosses_and_duplicates_agree_although_they_tie(backend, data):
    case = data.draw(st.sampled_from(["cross", "duplicates", "coincident", "collinear"]))
    m = data.draw(gms.mixtures(batch=(), dim=2, n_components=st.integers(4, 16), degenerate=case))
    n, per_node = data.draw(st.integers(2, m.n_components)), data.draw(st.sampled_from([2, 4]))
    got = backend.asnumpy(reduce(backend.asarray(m), n, per_node=per_node))
    assert_mixtures_close("solve", got, by_recursion(m, n, per_node), any_order=True, size=16, condition=100)


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dim", "per_node"), [(1, 2), (2, 2), (3, 2), (4, 2), (2, 4), (3, 4), (2, 1), (2, 16)]
)
def test_the_gradient_is_that_of_finite_differences_while_the_plan_is_held(dim, per_node):
    m = gms.random_mixture(2, (2,), 25, dim, absent=0.1)
    for n in (2, 7, 12, 20):
        held = plan(m, n, per_node=per_node)
        check_vjp(partial(apply, plan=held), m, rng=3, eps=1e-5)


def test_the_gradient_of_top_is_that_of_finite_differences():
    m = gms.random_mixture(4, (2, 2), 12, 2, absent=0.2)
    held = plan(m, 5, "top")
    check_vjp(partial(apply, plan=held), m, rng=5)


@pytest.mark.parametrize("per_node", [2, 4])
def test_the_gradient_is_right_for_one_sign_and_one_component(per_node):
    m = gms.random_mixture(6, (2,), 17, 2, signed=False)
    for n in (1, 3, 8):
        held = plan(m, n, per_node=per_node)
        check_vjp(partial(apply, plan=held), m, rng=7, eps=1e-5)


def test_the_gradient_of_reduce_holds_the_plan():
    m = gms.random_mixture(8, (2,), 25, 3)
    held = plan(m, 9)
    (a, (ga,)), (b, (gb,)) = (pull_back(f, m) for f in (lambda m: reduce(m, 9), partial(apply, plan=held)))
    assert_mixtures_close("exact", a, b)
    assert_mixtures_close("exact", ga, gb)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e6])
@pytest.mark.parametrize("method", ["tree_hem", "top"])
def test_absent_components_have_gradient_exactly_zero(method, garbage):
    m = laws.padded(gms.random_mixture(9, (2,), 9, 2), 3, garbage)
    for n in (4, 10):
        _, (grads,) = pull_back(lambda m, n=n: reduce(m, n, method), m)
        for g in grads.arrays:
            assert_close("exact", g[:, 9:], np.zeros_like(g[:, 9:]))


def test_a_mixture_of_absent_components_has_gradient_zero():
    _, (grads,) = pull_back(
        lambda m: reduce(m, 3), gms.random_mixture(10, (2,), 6, 2, degenerate="all_absent")
    )
    for g in grads.arrays:
        assert_close("exact", g, np.zeros_like(g))


def test_covariance_gradients_are_symmetric():
    _, (grads,) = pull_back(lambda m: reduce(m, 7, per_node=4), gms.random_mixture(11, (2,), 40, 3))
    assert_close("exact", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


def test_integrals_and_means_have_the_gradient_of_the_unreduced_mixture():
    """What merging conserves, it conserves to first order: the tree drops out of these gradients."""
    m = gms.random_mixture(12, (2,), 40, 2, signed=False)

    def functionals(m):
        first = (m.weights[..., None] * m.means).sum(axis=-2)
        d = m.means[..., None] * m.means[..., None, :] + m.covariances
        return m.weights.sum(axis=-1), first, (m.weights[..., None, None] * d).sum(axis=-3)

    _, (got,) = pull_back(lambda m: functionals(reduce(m, 6)), m)
    _, (want,) = pull_back(functionals, m)
    for name in ("weights", "means", "covariances"):
        g, w = getattr(got, name), getattr(want, name)
        w = (w + np.swapaxes(w, -1, -2)) / 2 if name == "covariances" else w
        assert_close("gradient", g, w, size=40, condition=10, name=name)


@pytest.mark.parametrize("condition", [1e1, 1e4])
@pytest.mark.parametrize(("dim", "per_node"), [(2, 2), (2, 4)])
def test_single_precision_agrees_with_double(dim, per_node, condition):
    m = gms.random_mixture(13, (3,), 100, dim, condition=condition)
    held = plan(m, 16, per_node=per_node)
    want, (wants,) = pull_back(partial(apply, plan=held), m)
    got, (gots,) = pull_back(partial(apply, plan=held), m.astype("float32"))
    assert_mixtures_close("sum", got, want)
    for name in ("weights", "means", "covariances"):
        assert_close("sum", getattr(gots, name), getattr(wants, name), name=name)

"""reduce, "em" and "hem": gradients and the contract that both share."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
import pytest

from gmengine.cpu import _threads
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.reduce import apply, plan, reduce
from gmengine.testing import assert_close, assert_mixtures_close, laws, pull_back
from gmengine.testing import strategies as gms

both_methods = pytest.mark.parametrize("method", ["em", "hem"])

# --- gradients ----------------------------------------------------------------------------------------------


@both_methods
def test_the_gradient_of_reduce_holds_the_plan(method):
    m = gms.random_mixture(8, (2,), 25, 3)
    held = plan(m, 9, method)
    (a, (ga,)), (b, (gb,)) = (
        pull_back(f, m) for f in (lambda m: reduce(m, 9, method), partial(apply, plan=held))
    )
    assert_mixtures_close("exact", a, b)
    assert_mixtures_close("exact", ga, gb)


@both_methods
@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e6])
def test_absent_components_have_gradient_exactly_zero(method, garbage):
    m = laws.padded(gms.random_mixture(9, (2,), 9, 2), 3, garbage)
    for n in (4, 10):
        _, (grads,) = pull_back(lambda m, n=n: reduce(m, n, method), m)
        for g in grads.arrays:
            assert_close("exact", g[:, 9:], np.zeros_like(g[:, 9:]))


@both_methods
def test_a_mixture_of_absent_components_has_gradient_zero(method):
    m = gms.random_mixture(10, (2,), 6, 2, degenerate="all_absent")
    _, (grads,) = pull_back(lambda m: reduce(m, 3, method), m)
    for g in grads.arrays:
        assert_close("exact", g, np.zeros_like(g))


@both_methods
def test_covariance_gradients_are_symmetric(method):
    _, (grads,) = pull_back(lambda m: reduce(m, 7, method), gms.random_mixture(11, (2,), 40, 3))
    assert_close("exact", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


@both_methods
def test_conserved_moments_have_the_gradient_of_the_unreduced_mixture(method):
    m = gms.random_mixture(12, (2,), 40, 2, signed=False)

    def functionals(m):
        first = (m.weights[..., None] * m.means).sum(axis=-2)
        d = m.means[..., None] * m.means[..., None, :] + m.covariances
        return m.weights.sum(axis=-1), first, (m.weights[..., None, None] * d).sum(axis=-3)

    _, (got,) = pull_back(lambda m: functionals(reduce(m, 6, method)), m)
    _, (want,) = pull_back(functionals, m)
    for name in ("weights", "means", "covariances"):
        g, w = getattr(got, name), getattr(want, name)
        w = (w + np.swapaxes(w, -1, -2)) / 2 if name == "covariances" else w
        assert_close("gradient", g, w, size=40, condition=10, name=name)


@both_methods
@pytest.mark.parametrize("condition", [1e1, 1e4])
def test_single_precision_agrees_with_double(method, condition):
    m = gms.random_mixture(13, (3,), 100, 2, condition=condition)
    held = plan(m, 16, method)
    want, (wants,) = pull_back(partial(apply, plan=held), m)
    got, (gots,) = pull_back(partial(apply, plan=held), m.astype("float32"))
    assert_mixtures_close("sum", got, want)
    for name in ("weights", "means", "covariances"):
        assert getattr(gots, name).dtype == np.float32
        assert_close("sum", getattr(gots, name), getattr(wants, name), name=name)


# --- contract -----------------------------------------------------------------------------------------------


@both_methods
def test_the_number_of_threads_does_not_change_a_bit(method, monkeypatch):
    m = gms.random_mixture(10, (7,), 200, 2, absent=0.1)
    results = []
    for count in (1, 2, 5):
        monkeypatch.setattr(_threads, "get_num_threads", lambda count=count: count)
        results.append(pull_back(lambda m: reduce(m, 16, method), m))
    for got, (grads,) in results[1:]:
        assert_mixtures_close("exact", got, results[0][0])
        assert_mixtures_close("exact", grads, results[0][1][0])


@both_methods
def test_memory_is_linear_in_the_number_of_components(method):
    """Twice as many components take twice the memory, for 16 and for N/4 of them; hem's masks are bits."""
    peaks = []
    for N in (2000, 4000):
        m = gms.random_mixture(15, (), N, 2, signed=False)
        for n in (16, N // 4):
            pull_back(lambda m, n=n: reduce(m, n, method), m)
            tracemalloc.start()
            pull_back(lambda m, n=n: reduce(m, n, method), m)
            peaks.append(tracemalloc.get_traced_memory()[1] - (N * N / 20 if method == "hem" else 0))
            tracemalloc.stop()
            assert peaks[-1] < 20 * 8 * N * 7  # twenty times the mixture
    assert peaks[2] < 2.5 * peaks[0]
    assert peaks[3] < 2.5 * peaks[1]


@both_methods
def test_inputs_are_not_changed_and_need_not_be_contiguous(method):
    m = gms.random_mixture(9, (3, 2), 12, 2, absent=0.2)
    strided = Mixture(*(np.asfortranarray(a) for a in m.arrays))
    before = [a.copy() for a in strided.arrays]
    (got, gots), (want, wants) = (pull_back(lambda m: reduce(m, 5, method), x) for x in (strided, m))
    assert_mixtures_close("exact", got, want)
    assert_mixtures_close("exact", gots[0], wants[0])
    for a, b in zip(strided.arrays, before, strict=True):
        assert_close("exact", a, b)


@both_methods
def test_a_plan_can_be_applied_to_other_values(method):
    m = gms.random_mixture(8, (2,), 12, 2)
    held = plan(m, 5, method)
    assert_mixtures_close("exact", apply(m, held), reduce(m, 5, method))
    moved = Mixture(m.weights * 1.01, m.means + 0.01, m.covariances * 1.02)
    laws.moments_are_conserved(moved, apply(moved, held))


@both_methods
def test_both_signs_cannot_become_one_component(method):
    m = gms.random_mixture(11, (2, 3), 5, 2, signed=False)
    m.weights[1, 2, 3] *= -1
    with pytest.raises(ArgumentError, match=r"reduce.*1, 2"):
        reduce(m, 1, method)


@both_methods
def test_bad_arguments_are_named(method):
    m = gms.random_mixture(12, (2,), 5, 2)
    for kwargs in ({"n": 0}, {"n": -1}, {"n": 2.5}, {"n": 3, "per_node": 0}):
        with pytest.raises(ArgumentError, match="reduce"):
            reduce(m, method=method, **kwargs)
    with pytest.raises(ShapeError, match="apply"):
        apply(gms.random_mixture(13, (2,), 6, 2), plan(m, 3, method))


def test_an_unknown_method_is_answered_with_all_that_there_are():
    m = gms.random_mixture(12, (2,), 5, 2)
    with pytest.raises(ArgumentError, match=r"reduce.*'tree_hem', 'em', 'hem', 'top'.*'best'"):
        reduce(m, 3, "best")


@both_methods
def test_a_plan_for_other_signs_is_refused(method):
    m = gms.random_mixture(14, (2,), 8, 2)
    held = plan(m, 4, method)
    for factor in (-1.0, 0.0):
        other = Mixture(m.weights.copy(), m.means, m.covariances)
        other.weights[1, 3] *= factor
        with pytest.raises(ArgumentError, match="apply"):
            apply(other, held)


@both_methods
def test_invalid_components_are_named(method):
    m = gms.random_mixture(15, (2, 2), 6, 2)
    for number, name in ((np.nan, "weights"), (np.inf, "means"), (np.nan, "covariances")):
        broken = Mixture(*(a.copy() for a in m.arrays))
        getattr(broken, name)[1, 0, 2] = number
        with pytest.raises(NonFiniteError, match=r"reduce.*\[1, 0, 2"):
            reduce(broken, 3, method)
    m.covariances[1, 0, 2] = np.diag([1.0, -0.25])
    with pytest.raises(NotPositiveDefinite, match=r"reduce.*\[1, 0, 2\].*-0\.25"):
        reduce(m, 3, method)

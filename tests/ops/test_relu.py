"""relu: values and laws of the dense fit of a rectified mixture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.affine import scale
from gmengine.ops.evaluate import evaluate
from gmengine.ops.relu import relu
from gmengine.testing import assert_close, assert_mixtures_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

PUBLISHED = (0.1, 0.05, 0.05)


# --- values -------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("relative", [True, False])
def test_weights_are_those_of_the_loops(backend, dtype, relative, data):
    m = data.draw(gms.mixtures(dim=2, dtype=dtype, absent=0.2, degenerate=True))
    bias = float(np.float32(data.draw(gms.scalars(-0.5, 0.5))))
    got = backend.asnumpy(relu(backend.asarray(m), bias, relative=relative))
    assert got.dtype == np.dtype(dtype)
    laws.relu_follows_its_formula(m, got, bias, relative=relative)


@pytest.mark.parametrize("epsilons", [(0.0, 0.0, 0.0), (0.3, 0.0, 0.2), (0.05, 0.0, 0.05)])
def test_other_epsilons_follow_the_same_formula(backend, epsilons):
    m = gms.random_mixture(1, (2,), 6, 2)
    for relative in (True, False):
        got = backend.asnumpy(relu(backend.asarray(m), 0.1, epsilons=epsilons, relative=relative))
        laws.relu_follows_its_formula(m, got, 0.1, epsilons=epsilons, relative=relative)


@pytest.mark.parametrize("n", [1, 16, 17, 257, 321, 700])
def test_any_number_of_components_fills_the_lanes(backend, n):
    m = gms.random_mixture(3, (), n, 2)
    laws.relu_follows_its_formula(m, backend.asnumpy(relu(backend.asarray(m), 0.05)), 0.05)


@pytest.mark.parametrize(
    ("batch", "bias"),
    [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 1)), ((2, 3), (1, 3)), ((0,), ()), ((0, 3), (3,))],
)
def test_the_bias_broadcasts_over_the_batch(backend, batch, bias):
    m, bias = gms.random_mixture(4, batch, 5, 2), np.random.default_rng(5).uniform(-0.3, 0.3, bias)
    got = backend.asnumpy(relu(backend.asarray(m), backend.asarray(bias)))
    assert got.batch == batch
    laws.relu_follows_its_formula(m, got, bias)


@given(st.data())
def test_one_component_has_a_closed_form(backend, data):
    m = data.draw(gms.mixtures(n_components=1, dim=2, signed=False))
    e1, e2, e3 = PUBLISHED
    w, a = m.weights, oracles.peaks(m.weights, m.covariances)
    absolute = (w + e1) * (w * a + e2) / ((w + e1) * a + e3)
    relative = w * (1 + e1) * (1 + e2) / (1 + e1 + e3)
    moved = backend.asarray(m)
    assert_close("solve", relu(moved, relative=False).weights, absolute, condition=10)
    assert_close("solve", relu(moved).weights, relative, condition=10)


def test_far_apart_components_do_not_see_each_other(backend):
    near = gms.random_mixture(6, (), 6, 2)
    far = backend.asarray(Mixture(near.weights, near.means + 1e3 * np.arange(6.0)[:, None], near.covariances))
    got = backend.asnumpy(relu(far, relative=False)).weights
    alone = [
        backend.asnumpy(
            relu(backend.asarray(Mixture(*(a[i : i + 1] for a in near.arrays))), relative=False)
        ).weights[0]
        for i in range(6)
    ]
    assert_close("solve", got, np.array(alone), condition=10)


# --- laws ---------------------------------------------------------------------------------------------------


@given(st.data())
def test_without_epsilons_a_positive_mixture_is_its_own_rectification(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(dim=2, signed=False, absent=0.2, degenerate=True)))
    assert_mixtures_close("elementwise", relu(m, epsilons=(0.0, 0.0, 0.0)), m)


@given(st.data())
def test_weights_are_positive_unless_the_bias_is(backend, data):
    m = data.draw(gms.mixtures(dim=2, absent=0.2, degenerate=True))
    got = backend.asnumpy(relu(backend.asarray(m), data.draw(gms.scalars(-0.5, 0.0))))
    assert np.all(got.weights[m.weights != 0] > 0)


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaling_weights_and_bias_scales_the_result(backend, dtype, data):
    m = backend.asarray(data.draw(gms.mixtures(dim=2, dtype=dtype, absent=0.2)))
    bias, factor = data.draw(gms.scalars(-0.5, 0.5)), data.draw(st.sampled_from([1e-9, 1e-3, 0.25, 3.0, 1e9]))
    got, want = relu(m * factor, bias * factor), relu(m, bias) * factor
    at_mean = oracles.peaks(*(backend.asnumpy(a) for a in (m.weights, m.covariances)))
    noise = factor * (laws.spread(m) + abs(bias)) / at_mean
    assert_close("solve", got.weights, want.weights, size=m.n_components, condition=10, scale=noise)


@given(st.data())
def test_translation_scale_and_order_pass_through(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(batch=(2,), dim=2, absent=0.2)))
    shift = backend.asarray(data.draw(gms.points(dim=m.dim, n_points=1))[0])
    order = data.draw(st.permutations(range(m.n_components)))
    laws.map_follows_translation(lambda m: relu(m, -0.05), m, shift)
    laws.map_follows_scale(relu, m, data.draw(gms.scalars(0.1, 10.0)))
    laws.map_is_homogeneous(relu, m, data.draw(gms.scalars(0.1, 10.0)))
    laws.map_ignores_order(lambda m: relu(m, 0.05), m, order)
    laws.map_ignores_absent(lambda m: relu(m, 0.05), m)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
def test_absent_components_are_never_read_nor_revived(backend, garbage):
    m = backend.asarray(gms.random_mixture(7, (2,), 5, 2))
    for relative in (True, False):
        got = relu(laws.padded(m, 3, garbage), 0.1, relative=relative)
        assert_mixtures_close("exact", got, laws.padded(relu(m, 0.1, relative=relative), 3))


def test_a_mixture_of_absent_components_stays_absent(backend):
    m = gms.random_mixture(8, (2,), 4, 2, degenerate="all_absent")
    for bias in (-0.1, 0.0, 0.1):
        laws.has_exactly(relu(backend.asarray(m), bias), 0)


def test_the_result_resembles_the_rectified_function(backend):
    m = gms.random_mixture(9, (), 60, 2)
    x = np.random.default_rng(16).uniform(-3, 3, (200, 2))
    want = np.maximum(oracles.evaluate(*m.arrays, x), 0.0)
    got = backend.asnumpy(evaluate(relu(backend.asarray(m)), backend.asarray(x)))
    assert np.corrcoef(got, want)[0, 1] > 0.9
    assert np.linalg.norm(got - want) < 0.5 * np.linalg.norm(want)


def test_the_unit_of_length_does_not_change_weights(backend):
    m = backend.asarray(gms.random_mixture(10, (2,), 6, 2))
    assert_close("solve", relu(scale(m, 1e-3)).weights, relu(m).weights, size=6, condition=1e3)


# --- contract -----------------------------------------------------------------------------------------------


def test_inputs_are_not_changed_and_need_not_be_contiguous():
    m, bias = gms.random_mixture(11, (3, 2), 5, 2), np.array([-0.1, 0.2])
    strided = Mixture(*(np.asfortranarray(a) for a in m.arrays))
    before = [a.copy() for a in strided.arrays]
    (got, gots), (want, wants) = pull_back(relu, strided, bias), pull_back(relu, m, bias)
    assert_mixtures_close("exact", got, want)
    assert_mixtures_close("exact", gots[0], wants[0])
    assert_close("exact", gots[1], wants[1])
    for a, b in zip(strided.arrays, before, strict=True):
        assert_close("exact", a, b)


def test_repeated_calls_give_the_same_bits():
    m, bias = gms.random_mixture(12, (4,), 300, 2), np.full(4, 0.01)
    (a, grads_a), (b, grads_b) = pull_back(relu, m, bias), pull_back(relu, m, bias)
    assert_mixtures_close("exact", a, b)
    assert_mixtures_close("exact", grads_a[0], grads_b[0])
    assert_close("exact", grads_a[1], grads_b[1])


def test_arguments_that_do_not_fit_are_named():
    m = gms.random_mixture(13, (2,), 4, 2)
    with pytest.raises(ShapeError, match="relu"):
        relu(m, np.zeros(3))
    with pytest.raises(DTypeError, match="relu"):
        relu(m, np.zeros(2, np.float32))
    for epsilons in ((0.1, 0.1, -0.1), (np.nan, 0.0, 0.0), (0.1, 0.05)):
        with pytest.raises(ArgumentError, match="relu"):
            relu(m, 0.0, epsilons=epsilons)


def test_invalid_components_are_named():
    m = gms.random_mixture(14, (2, 2), 3, 2)
    m.weights[1, 0, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"relu.*\[1, 0, 2\]"):
        relu(m)
    m = gms.random_mixture(15, (2, 2), 3, 2)
    m.covariances[1, 0, 2] = np.diag([1.0, -0.25])
    with pytest.raises(NotPositiveDefinite, match=r"relu.*\[1, 0, 2\].*-0\.25"):
        relu(m)

"""Domain scaling and the input stage: unit variances, running averages, what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.autograd import check_vjp
from gmengine.nn import DomainScale, InputStage
from gmengine.ops.affine import scale, translate
from gmengine.ops.integrate import integrate
from gmengine.ops.normalise import mean_trace
from gmengine.testing import assert_close, assert_mixtures_close, laws
from gmengine.testing import strategies as gms


def data(seed=0, batch=(4, 3), n=6, dim=2, **options):
    return gms.random_mixture(seed, batch, n, dim, absent=0.2, **options)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_training_gives_the_batch_unit_variances(dim, shared):
    stage, m = DomainScale(3, shared), data(dim=dim)
    done, _ = stage.apply(stage.init("float64"), m, training=True)
    trace = mean_trace(done, axis=(0, 1) if shared else 0)
    assert_close("sum", trace, np.full(trace.shape, float(dim)), size=72)
    assert_close("exact", integrate(done), integrate(m))
    factor = np.sqrt(dim / mean_trace(m, axis=(0, 1) if shared else 0))
    assert_mixtures_close("sum", done, scale(m, np.broadcast_to(factor, m.batch)), size=72)


@pytest.mark.parametrize("shared", [False, True])
def test_one_batch_seen_is_treated_alike_in_training_and_evaluation(shared):
    stage, m = DomainScale(3, shared), data()
    state = stage.init("float64")
    for _ in range(3):
        trained, state = stage.apply(state, m, training=True)
        evaluated, same = stage.apply(state, m)
        assert_mixtures_close("sum", evaluated, trained, size=24)
        assert all(same[name] is state[name] for name in state)


def test_the_running_average_is_that_of_the_logarithms():
    stage, logs = DomainScale(3), []
    state = stage.init("float64")
    for seed in range(5):
        m = data(seed)
        _, state = stage.apply(state, m, training=True)
        logs.append(np.log(mean_trace(m, axis=0)))
    want = np.exp(np.average(logs, axis=0, weights=0.7 ** np.arange(5)[::-1]))
    m = data(9)
    done, _ = stage.apply(state, m)
    assert_mixtures_close("sum", done, scale(m, np.sqrt(2.0 / want)), size=24)


def test_before_any_batch_evaluation_leaves_space_alone():
    stage, m = DomainScale(3), data()
    assert_mixtures_close("elementwise", stage.apply(stage.init("float64"), m)[0], m)


def test_state_and_result_keep_the_dtype():
    stage, m = DomainScale(3), data(dtype="float32")
    done, state = stage.apply(stage.init("float32"), m, training=True)
    assert done.dtype == np.float32
    assert {a.dtype for a in state.values()} == {np.dtype("float32")}
    assert stage.apply(state, m)[0].dtype == np.float32


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_flow_through_the_batch_statistic(shared):
    stage = DomainScale(3, shared)
    check_vjp(lambda m: stage.apply(stage.init("float64"), m, training=True)[0], data())


def unit(m, training=True, **options):
    stage = InputStage(**options)
    return stage.apply(stage.init("float64"), m, training)[0]


def test_the_input_stage_centres_samples_and_gives_them_unit_weight():
    m = unit(data())
    total = np.abs(m.weights).sum(axis=(1, 2))
    centre = (np.abs(m.weights)[..., None] * m.means).sum(axis=(1, 2))
    assert_close("sum", total, np.ones(4), size=18)
    assert_close("sum", centre, np.zeros((4, 2)), size=18, scale=10.0)
    trace = mean_trace(m, axis=(0, 1))
    assert_close("sum", trace, np.asarray(2.0), size=72)


@pytest.mark.parametrize("per_sample", [False, True])
def test_brightness_place_and_unit_of_length_of_the_data_do_not_matter(per_sample):
    m = data()
    want = unit(m, per_sample=per_sample)
    brighter = m * np.array([2.0, 1.0, 0.1, 30.0])[:, None]
    moved = translate(m, np.arange(8.0).reshape(4, 1, 2))
    for changed in (brighter, moved, scale(m, 7.0)):
        assert_mixtures_close("sum", unit(changed, per_sample=per_sample), want, size=100, condition=100)


def test_samples_scaled_by_themselves_need_no_state_and_no_neighbours():
    stage, m = InputStage(per_sample=True), data()
    assert stage.init() == {}
    done, _ = stage.apply({}, m)
    trace = mean_trace(done, axis=1)
    assert_close("sum", trace, np.full(4, 2.0), size=18)
    assert_mixtures_close("sum", stage.apply({}, m[2:3])[0], done[2:3], size=18)
    assert_mixtures_close(
        "sum", unit(scale(m, np.array([[1.0], [2.0], [3.0], [4.0]])), per_sample=True), done, size=18
    )


def test_absent_components_and_empty_samples_do_not_count():
    m = gms.random_mixture(1, (4, 3), 6, 2)
    padded = laws.padded(m, 3, 1e3)
    assert_mixtures_close("sum", unit(padded)[..., :], laws.padded(unit(m), 3, 0.0), size=18)
    m.weights[2] = 0.0
    done = unit(m)
    assert np.isfinite(done.means).all()
    assert_close("exact", done.weights[2], np.zeros((3, 6)))


@pytest.mark.parametrize("per_sample", [False, True])
def test_the_input_stage_is_differentiable(per_sample):
    check_vjp(lambda m: unit(m, per_sample=per_sample), data())

"""A whole network: its laws, its gradient, its contracts, and that it learns."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gmengine.autograd import check_vjp, value_and_grad
from gmengine.errors import ArgumentError, DTypeError, ShapeError
from gmengine.mixture import Mixture
from gmengine.nn import kernel_decay, network
from gmengine.ops.affine import scale, translate
from gmengine.optim import Adam
from gmengine.testing import assert_close, assert_mixtures_close, laws
from gmengine.testing import strategies as gms

SPEC = "1/10 -> 3/5 -> 4/4 -> 3"


def samples(n=6, seed=1, components=10, dim=2, dtype="float64"):
    m = gms.random_mixture(seed, (n, 1), components, dim, signed=False, absent=0.1, dtype=dtype)
    return SimpleNamespace(mixtures=m, labels=np.arange(n) % 3)


def trained(net, batch, rng=0):
    """Return parameters and a state that has seen one batch."""
    params, state = net.init(rng)
    for name in params:  # away from the kink at a bias of zero
        if name.endswith("bias"):
            params[name] = np.random.default_rng(9).normal(0, 0.03, params[name].shape).astype(net.dtype)
    return params, net.apply(params, state, batch.mixtures, training=True)[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_are_log_probabilities_of_the_right_dtype(dtype):
    net, batch = network(SPEC, dtype=dtype), samples(dtype=dtype)
    params, state = trained(net, batch)
    for training in (True, False):
        logs, new = net.apply(params, state, batch.mixtures, training)
        assert logs.shape == (6, 3)
        assert logs.dtype == np.dtype(dtype)
        assert_close("sum", np.exp(logs).sum(axis=1), np.ones(6), size=3)
        assert {a.dtype for a in new.values()} == {np.dtype(dtype)}
        assert new.keys() == state.keys()


@pytest.mark.parametrize(
    ("dim", "options"),
    [
        (1, {}),
        (2, {}),
        (2, {"bias": True, "share_scale": True, "per_node": 4}),
        (2, {"reduce_first": 2.0, "scale_per_sample": True}),
        (3, {"radius": (1.5, 2.0, 2.5), "kernel_components": 3}),
    ],
)
def test_the_gradient_of_the_loss_is_that_of_finite_differences(dim, options):
    net, batch = network(SPEC, dim=dim, dtype="float64", **options), samples(dim=dim)
    params, state = trained(net, batch)
    plans = []
    net.loss(params, state, batch, plans)
    assert len(plans) == (4 if "reduce_first" in options else 2)
    check_vjp(lambda p: net.loss(p, state, batch, plans)[0], params)
    check_vjp(lambda m: net.apply(params, state, m, plans=plans)[0], batch.mixtures, atol=1e-8)


def test_recorded_plans_give_the_same_bits():
    net, batch, plans = network(SPEC, dtype="float64"), samples(), []
    params, state = trained(net, batch)
    want = net.apply(params, state, batch.mixtures)[0]
    for _ in range(2):
        assert_close("exact", net.apply(params, state, batch.mixtures, plans=plans)[0], want)


@pytest.mark.parametrize("share_scale", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_order_place_brightness_and_padding_of_the_input_do_not_matter(training, share_scale):
    net, batch = network(SPEC, dtype="float64", share_scale=share_scale), samples()
    params, state = trained(net, batch)
    m = batch.mixtures
    want = net.apply(params, state, m, training)[0]
    order = np.random.default_rng(3).permutation(10)
    shuffled = laws.permuted(m, order)
    moved = translate(m, np.random.default_rng(4).normal(0, 3, (6, 1, 2)))
    brighter = m * np.array([1.0, 2.0, 0.1, 5.0, 1e-3, 1e3])[:, None]
    for changed in (shuffled, moved, brighter):
        assert_close("golden", net.apply(params, state, changed, training)[0], want, scale=10.0)
    wide = network(SPEC.replace("1/10", "1/13"), dtype="float64", share_scale=share_scale)
    assert_close("golden", wide.apply(params, state, laws.padded(m, 3, 7.0), training)[0], want, scale=10.0)


def test_the_unit_of_length_of_the_data_does_not_matter():
    net, batch = network(SPEC, dtype="float64"), samples()
    params, state = trained(net, batch)
    small = SimpleNamespace(mixtures=scale(batch.mixtures, 1e-3), labels=batch.labels)
    assert_close("golden", net.loss(params, state, small)[0], net.loss(params, state, batch)[0], scale=10.0)


def test_evaluation_of_a_sample_does_not_depend_on_the_others():
    net, batch = network(SPEC, dtype="float64"), samples()
    params, state = trained(net, batch)
    together = net.apply(params, state, batch.mixtures)[0]
    for i in range(6):
        alone, same = net.apply(params, state, batch.mixtures[i : i + 1])
        assert_close("golden", alone, together[i : i + 1], scale=10.0)
        assert all(same[name] is state[name] for name in state)
    assert net.apply(params, state, batch.mixtures[:0])[0].shape == (0, 3)


def test_a_batch_seen_is_treated_alike_in_training_and_evaluation():
    net, batch = network(SPEC, dtype="float64"), samples()
    params, state = trained(net, batch)
    evaluated, _ = net.apply(params, state, batch.mixtures)
    assert_close("golden", evaluated, net.apply(params, state, batch.mixtures, training=True)[0], scale=10.0)


def test_calibration_averages_the_statistics_of_all_batches_alike():
    net, batches = network(SPEC, dtype="float64"), [samples(seed=seed) for seed in range(4)]
    params, _ = trained(net, batches[0])
    state = net.calibrate(params, (batch.mixtures for batch in batches))
    each = [net.calibrate(params, [batch.mixtures]) for batch in batches]
    for name, got in state.items():
        assert_close("sum", got, np.mean([one[name] for one in each], axis=0), size=8)
    with pytest.raises(ArgumentError, match="at least one batch"):
        net.calibrate(params, [])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loss_and_gradients_repeat_to_the_bit_and_change_nothing_given(dtype):
    net, batch = network(SPEC, dtype=dtype), samples(dtype=dtype)
    params, state = net.init(rng=0)
    before = {name: a.copy() for name, a in {**params, **state}.items()}
    runs = [value_and_grad(net.loss, aux=True)(params, state, batch) for _ in range(2)]
    ((value, new), grads), ((again, _), same) = runs
    assert value == again
    for name, g in grads.items():
        assert_close("exact", g, same[name])
        assert (g.shape, g.dtype) == (params[name].shape, np.dtype(dtype))
    assert all(isinstance(a, np.ndarray) for a in new.values())
    for name, a in {**params, **state}.items():
        assert_close("exact", a, before[name])


def test_float32_agrees_with_float64():
    batch = samples()
    net, single = network(SPEC, dtype="float64"), network(SPEC)
    params, state = net.init(rng=0)
    plans = []
    want = net.loss(params, state, batch, plans)[0]
    low = {name: a.astype(np.float32) for name, a in params.items()}
    rough = SimpleNamespace(mixtures=batch.mixtures.astype("float32"), labels=batch.labels)
    got = single.loss(low, single.init(rng=0)[1], rough, plans)[0]
    assert abs(float(got) - float(want)) < 1e-4


def test_activations_are_the_mixtures_between_the_stages():
    net, batch = network(SPEC, dtype="float64"), samples()
    params, state = trained(net, batch)
    stages = net.activations(params, state, batch.mixtures)
    assert [(m.batch, m.n_components) for m in stages] == [
        ((6, 1), 10),
        ((6, 3), 5),
        ((6, 4), 4),
        ((6, 3), 80),
    ]
    after, _ = net.layers[1].apply(
        {name: params[f"layer1.{name}"] for name in ("weights", "means", "factors")},
        {name: state[f"layer1.{name}"] for name in ("log_trace", "seen")},
        stages[1],
    )
    assert_mixtures_close("exact", stages[2], after)


def test_weight_decay_sums_over_the_layers():
    net = network(SPEC, dtype="float64")
    params, _ = net.init(rng=0)
    layers = [{n: params[f"layer{i}.{n}"] for n in ("weights", "factors")} for i in range(3)]
    assert_close("sum", net.weight_decay(params), sum(kernel_decay(p) for p in layers), size=3)
    decayed = {name: a for name, a in params.items() if name.endswith(("weights", "factors"))}
    check_vjp(lambda p: net.weight_decay({**params, **p}), decayed)


def test_a_network_learns_and_evaluates_as_it_was_trained():
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    angle = labels * 0.9
    # class = how far three blobs stand from each other; their direction is noise
    turn = rng.uniform(0, 2 * np.pi, 48)
    offsets = np.arange(-1, 2)[None, :, None] * (0.5 + angle)[:, None, None]
    means = offsets * np.stack([np.cos(turn), np.sin(turn)], axis=-1)[:, None, :]
    mixtures = Mixture.isotropic(np.ones((48, 1, 3)), means[:, None], 0.4).astype("float32")
    net, batch = network("1/3 -> 4/3 -> 3"), SimpleNamespace(mixtures=mixtures, labels=labels)
    params, state = net.init(rng=0)
    adam = Adam(lr=0.03)
    opt, losses = adam.init(params), []
    for _ in range(40):
        (value, state), grads = value_and_grad(net.loss, aux=True)(params, state, batch)
        params, opt = adam.update(params, grads, opt)
        losses.append(float(value))
    assert losses[-1] < 0.3 * losses[0]
    found = net.apply(params, state, mixtures)[0].argmax(axis=1)
    assert (found == labels).mean() > 0.9


@pytest.mark.parametrize(
    ("mixtures", "what"),
    [
        (samples(components=9).mixtures, "with 9 components"),
        (samples(dim=3).mixtures, "in 3-D"),
        (samples().mixtures.reshape((2, 3)), r"got \(2, 3\)"),
        (samples().mixtures[:, 0], r"got \(6,\)"),
    ],
)
def test_mixtures_of_another_network_are_named(mixtures, what):
    net = network(SPEC, dtype="float64")
    params, state = net.init(rng=0)
    with pytest.raises(ShapeError, match=what):
        net.apply(params, state, mixtures)


def test_arrays_of_another_network_are_named():
    net, m = network(SPEC, dtype="float64"), samples().mixtures
    params, state = net.init(rng=0)
    fewer = {name: a for name, a in params.items() if name != "layer0.means"}
    with pytest.raises(ArgumentError, match=r"parameters.*missing \['layer0.means'\], unexpected \['x'\]"):
        net.apply({**fewer, "x": params["layer0.means"]}, state, m)
    with pytest.raises(ArgumentError, match=r"state.*missing \['norm.mean'\]"):
        net.apply(params, {name: a for name, a in state.items() if name != "norm.mean"}, m)
    with pytest.raises(ShapeError, match=r"norm.gamma has shape \(4,\), expected \(3,\)"):
        net.apply({**params, "norm.gamma": np.ones(4)}, state, m)
    with pytest.raises(DTypeError, match="mixture float32, layer0"):
        net.apply(params, state, m.astype("float32"))
    with pytest.raises(ShapeError, match="at least one sample"):
        net.apply(params, state, m[:0], training=True)

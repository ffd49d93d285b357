"""The Gaussian convolution layer: what it composes, its laws, its gradient."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError
from gmengine.nn import Kernel, Layer
from gmengine.nn.plans import PlanBook
from gmengine.ops.affine import scale
from gmengine.ops.convolve import convolve
from gmengine.ops.integrate import integrate
from gmengine.ops.normalise import domain_scale, mean_trace
from gmengine.ops.reduce import reduce
from gmengine.ops.relu import relu
from gmengine.testing import assert_close, assert_mixtures_close
from gmengine.testing import strategies as gms


def layer_and_data(dim=2, components=4, dtype="float64", seed=0, absent=0.2, **options):
    layer = Layer(Kernel(outputs=3, inputs=2, components=3, dim=dim), components, **options)
    params, state = layer.init(rng=seed, dtype=dtype)
    if layer.bias:  # away from the kink at a bias of zero
        params["bias"] = np.array([0.02, -0.03, 0.01], dtype)
    data = gms.random_mixture(seed + 1, (4, 2), 5, dim, signed=False, absent=absent, dtype=dtype)
    return layer, params, state, data


def test_a_layer_is_convolution_relu_reduction_and_scale():
    layer, params, state, data = layer_and_data(bias=True, share_scale=True)
    got, new = layer.apply(params, state, data, training=True)
    dense = relu(convolve(data, layer.kernel.mixture(params)), bias=params["bias"])
    want = reduce(dense, 4)
    s = float(np.sqrt(2.0 / mean_trace(want, axis=(0, 1))))
    assert_mixtures_close("sum", got, scale(want, s), size=10)
    assert got.batch == (4, 3)
    assert new["seen"] > state["seen"]


def test_an_unreduced_layer_keeps_all_components_and_space():
    layer, params, state, data = layer_and_data(components=None)
    assert state == {}
    got, _ = layer.apply(params, state, data, training=True)
    assert_mixtures_close("exact", got, relu(convolve(data, layer.kernel.mixture(params))))
    assert got.n_components == 5 * 2 * 3


def test_reducing_first_gives_the_relu_fewer_components():
    layer, params, state, data = layer_and_data(components=4, reduce_first=2.0)
    got, _ = layer.apply(params, state, data, training=True)
    few = reduce(convolve(data, layer.kernel.mixture(params)), 8)
    want, _ = layer.domain.apply(state, reduce(relu(few), 4), training=True)
    assert_mixtures_close("exact", got, want)


def test_a_layer_without_enough_components_to_reduce_keeps_them():
    layer, params, state, data = layer_and_data(components=64, reduce_first=2.0)
    assert layer.apply(params, state, data, training=True)[0].n_components == 30


@pytest.mark.parametrize("reduce_first", [None, 2.0])
@pytest.mark.parametrize("factor", [2.0**-20, 3.0])
def test_a_layer_without_bias_is_positively_homogeneous(factor, reduce_first):
    layer, params, state, data = layer_and_data(reduce_first=reduce_first)
    want, _ = layer.apply(params, state, data, training=True)
    got, _ = layer.apply(params, state, data * factor, training=True)
    assert_mixtures_close("gradient", got, want * factor, size=30, condition=10)


def test_what_leaves_a_layer_is_not_negative_and_has_unit_variances():
    layer, params, state, data = layer_and_data()
    got, _ = layer.apply(params, state, data, training=True)
    assert (got.weights >= 0).all()
    pooled = mean_trace(got, axis=0)
    assert_close("sum", pooled, np.full(3, 2.0), size=16)
    assert np.abs(domain_scale(got) - 1.0).max() < 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_and_results_repeat_to_the_bit(dtype):
    layer, params, state, data = layer_and_data(dtype=dtype, bias=True)
    got, new = layer.apply(params, state, data, training=True)
    again, _ = layer.apply(params, state, data, training=True)
    assert got.dtype == np.dtype(dtype)
    assert {a.dtype for a in new.values()} == {np.dtype(dtype)}
    assert_mixtures_close("exact", again, got)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("dim", "options"),
    [
        (1, {}),
        (2, {"bias": True}),
        (2, {"reduce_first": 2.0, "share_scale": True}),
        (2, {"components": None, "absent": 0.0}),  # what is absent has no gradient, though its mean moves
        (3, {"per_node": 4}),
    ],
)
def test_gradients_with_the_plans_held_are_those_of_finite_differences(dim, options, training):
    layer, params, state, data = layer_and_data(dim=dim, seed=2, **options)
    plans = []
    layer.apply(params, state, data, training, PlanBook(plans))
    check_vjp(lambda p, m: layer.apply(p, state, m, training, PlanBook(plans))[0], params, data)
    check_vjp(
        lambda p: integrate(layer.apply(p, state, data, training, PlanBook(plans))[0]), params, atol=1e-8
    )


def test_a_filled_book_replays_and_says_when_it_is_exhausted():
    layer, params, state, data = layer_and_data(reduce_first=2.0)
    plans = []
    want, _ = layer.apply(params, state, data, book=PlanBook(plans))
    assert len(plans) == 2
    assert_mixtures_close("exact", layer.apply(params, state, data, book=PlanBook(plans))[0], want)
    assert len(plans) == 2
    with pytest.raises(ArgumentError, match="1 were recorded"):
        layer.apply(params, state, data, book=PlanBook(plans[:1]))

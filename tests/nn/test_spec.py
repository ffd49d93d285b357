"""A network in one line of text, and the options beside it."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from gmengine.errors import ArgumentError
from gmengine.nn import Network, network


@pytest.mark.parametrize(
    "spec",
    ["1/32 -> 8/16 -> 10", "1/32->8/16->10", " 1 / 32 → 8/16→10 ", "1/32\n-> 8/16\n-> 10"],
)
def test_a_spec_is_read_and_written_back(spec):
    net = network(spec)
    assert (net.channels, net.components, net.classes) == ((1, 8, 10), (32, 16, None), 10)
    assert net.spec == "1/32 -> 8/16 -> 10"
    assert network(net.spec) == net


def test_the_last_layer_may_be_reduced_and_a_network_may_have_one_layer():
    assert network("3/8 -> 2/4").components == (8, 4)
    assert network("3/8 -> 2/4").spec == "3/8 -> 2/4"
    assert len(network("3/8 -> 2").layers) == 1


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("1/32 -> 8x16 -> 10", "part 1 of .* is '8x16'"),
        ("1/32 -> -> 10", "part 1 of .* is ''"),
        ("1/32 -> 8/0 -> 10", "part 1 of .* is '8/0'"),
        ("0/32 -> 10", "part 0 of .* is '0/32'"),
        ("1/32 -> 8/-1 -> 10", "part 1 of .* is '8/-1'"),
        ("1/32 -> 8/16 -> ten", "part 2 of .* is 'ten'"),
        ("1/32 -> 8/16/4 -> 10", "part 1 of .* is '8/16/4'"),
        ("1 -> 8/16 -> 10", "part 0 of .* is '1'; only the last"),
        ("1/32 -> 8 -> 10", "part 1 of .* is '8'; only the last"),
        ("1/32 -> \u0661/4 -> 10", "part 1"),
        ("1/32", "at least an input and a layer"),
        ("", "at least an input and a layer"),
    ],
)
def test_a_spec_that_cannot_be_read_names_its_part(spec, part):
    with pytest.raises(ArgumentError, match=part):
        network(spec)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("dim", 0),
        ("dtype", "float16"),
        ("kernel_components", 0),
        ("radius", 0.0),
        ("radius", (2.5, 2.5, 2.5)),
        ("epsilons", (0.1, 0.05)),
        ("epsilons", (0.1, -0.05, 0.05)),
        ("per_node", 1),
        ("reduce_first", 0.0),
        ("momentum", 0.0),
        ("momentum", 1.5),
    ],
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(ArgumentError, match=option):
        network("1/32 -> 8/16 -> 10", **{option: value})


def test_fields_that_contradict_each_other_are_named():
    with pytest.raises(ArgumentError, match="components"):
        Network((1, 8, 10), (32, None, None))
    with pytest.raises(ArgumentError, match="channels"):
        Network((1,), (32,))


def test_a_network_survives_json():
    net = network("1/32 -> 8/16 -> 10", dim=3, radius=(1.5, 2.0), bias=True, reduce_first=2.0)
    assert Network(**json.loads(json.dumps(asdict(net)))) == net
    assert [layer.kernel.radius for layer in net.layers] == [1.5, 2.0]


def test_parameters_are_counted_as_published():
    # the main network in 3-D: 5 components of 1 + 3 + 9 numbers per pair of channels, and the batch norm
    net = network("1/128 -> 8/64 -> 16/32 -> 32/16 -> 64/8 -> 10", dim=3)
    assert net.n_parameters == 216_840 + 2 * 10
    assert net.n_parameters == sum(a.size for a in net.init(rng=0)[0].values())


def test_parameters_and_state_are_flat_named_and_repeat():
    net = network("1/8 -> 3/4 -> 2", bias=True)
    params, state = net.init(rng=5)
    assert (
        {name: a.shape for name, a in params.items()}
        == {
            "layer0.weights": (3, 1, 5),
            "layer0.means": (3, 1, 5, 2),
            "layer0.factors": (3, 1, 5, 2, 2),
            "layer0.bias": (3,),
            "layer1.weights": (2, 3, 5),
            "layer1.means": (2, 3, 5, 2),
            "layer1.factors": (2, 3, 5, 2, 2),
            "layer1.bias": (2,),
            "norm.gamma": (2,),
            "norm.beta": (2,),
        }
        == net.parameter_shapes
    )
    assert (
        {name: a.shape for name, a in state.items()}
        == {
            "input.log_trace": (1,),
            "input.seen": (1,),
            "layer0.log_trace": (3,),
            "layer0.seen": (1,),
            "norm.mean": (2,),
            "norm.variance": (2,),
            "norm.seen": (1,),
        }
        == net.state_shapes
    )
    again = net.init(rng=np.random.default_rng(5))[0]
    assert all(np.array_equal(params[name], again[name]) for name in params)
    assert {a.dtype for tree in (params, state) for a in tree.values()} == {np.dtype("float32")}

"""Whole networks, drawn by the strategies, obey their laws; the checks find networks that do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmengine.mixture import Mixture
from gmengine.nn import Network, network
from gmengine.testing import laws
from gmengine.testing import strategies as gms

OPTIONS = {"kernel_components": st.integers(2, 3), "bias": st.booleans(), "share_scale": st.booleans()}


@st.composite
def cases(draw, **options):
    """Draw a network in 1D or 2D, its parameters and state, and samples in general position."""
    net = draw(gms.networks(dim=st.sampled_from([1, 2]), **OPTIONS, **options))
    batch = draw(gms.samples(net, generic=True, absent=0.1))
    params, state = draw(gms.parameters(net))
    return net, params, state, batch


@settings(max_examples=10)
@given(cases())
def test_gradients_are_those_of_differences(case):
    laws.network_gradient_is_that_of_differences(*case)


@settings(max_examples=15)
@given(cases(), st.data(), st.booleans())
def test_order_place_and_padding_do_not_matter(case, data, training):
    net, params, state, batch = case
    m = batch.mixtures
    order = data.draw(st.permutations(range(m.n_components)))
    shift = data.draw(gms.points(dim=net.dim, batch=(m.batch[0], 1), n_points=1))
    laws.network_ignores_order(net, params, state, m, order, training)
    laws.network_ignores_place(net, params, state, m, shift, training)
    laws.network_ignores_absent(net, params, state, m, data.draw(st.sampled_from([0.0, 7.0])), training)


@settings(max_examples=10)
@given(cases())
def test_a_sample_is_judged_alone(case):
    net, params, state, batch = case
    laws.samples_are_judged_alone(net, params, state, batch.mixtures)


@settings(max_examples=5)
@given(cases(), gms.seeds)
def test_a_seed_fixes_the_losses(case, seed):
    net, _, _, batch = case
    laws.same_seed_gives_same_losses(laws.losses_of(net, batch), seed)
    a, b = (laws.losses_of(net, batch, steps=1)(s) for s in (seed, seed + 1))
    assert np.isfinite([*a, *b]).all()


@settings(max_examples=10)
@given(cases())
def test_parameters_come_back_from_a_file(tmp_path_factory, case):
    _, params, state, _ = case
    path = tmp_path_factory.mktemp("files") / "parameters.npz"
    for arrays in (params, state):
        laws.round_trips(arrays, path, save=lambda x, p: np.savez(p, **x), load=lambda p: dict(np.load(p)))


# --- the checks find what is wrong --------------------------------------------------------------------------


@dataclass(frozen=True)
class Uneven(Network):
    """A network that sees the order of components, their place, and the number of absent ones."""

    def apply(self, params, state, mixture, training=False, plans=None):
        logs, state = super().apply(params, state, mixture, training, plans)
        first = mixture.means[:, 0, 0, :1] + mixture.n_components
        return logs + 1e-3 * first, state


@dataclass(frozen=True)
class Crowd(Network):
    """A network whose judgement of a sample depends on the batch."""

    def apply(self, params, state, mixture, training=False, plans=None):
        logs, state = super().apply(params, state, mixture, training, plans)
        return logs + 1e-3 * mixture.batch[0], state


@dataclass(frozen=True)
class Lossy(Network):
    """A network whose loss has a part that its gradient does not know."""

    def loss(self, params, state, batch, plans=None):
        value, state = super().loss(params, state, batch, plans)
        hidden = sum(float(np.sum(getattr(a, "value", a))) for a in params.values())
        return value + 1e-2 * hidden, state


def setting(kind):
    made = network("1/4 -> 2/3 -> 2", dtype="float64", kernel_components=2)
    net = kind(made.channels, made.components, dtype="float64", kernel_components=2)
    m = gms.random_mixture(1, (3, 1), 4, 2, signed=False)
    batch = gms.Samples(m, np.array([0, 1, 0]))
    params, state = net.init(2)
    return net, params, Network.apply(net, params, state, m, True)[1], batch


def test_a_network_that_sees_order_place_or_padding_is_found():
    net, params, state, batch = setting(Uneven)
    m = batch.mixtures
    for law, arguments in (
        (laws.network_ignores_order, ([1, 0, 3, 2],)),
        (laws.network_ignores_place, (np.array([1.0, 0.0]),)),
        (laws.network_ignores_absent, (0.0,)),
    ):
        with pytest.raises(AssertionError):
            law(net, params, state, m, *arguments)
        law(setting(Network)[0], params, state, m, *arguments)


def test_a_network_that_sees_the_batch_is_found():
    net, params, state, batch = setting(Crowd)
    with pytest.raises(AssertionError):
        laws.samples_are_judged_alone(net, params, state, batch.mixtures)


def test_a_wrong_gradient_of_the_loss_is_found():
    with pytest.raises(AssertionError, match="check_vjp"):
        laws.network_gradient_is_that_of_differences(*setting(Lossy))


def test_losses_that_differ_are_found():
    rng = np.random.default_rng(3)
    with pytest.raises(AssertionError, match="two runs from seed 7 differ"):
        laws.same_seed_gives_same_losses(lambda seed: [seed + rng.normal()], seed=7)


def test_whole_networks_are_compared_in_double_precision_only():
    net = network("1/4 -> 2", kernel_components=2)
    m = gms.random_mixture(4, (2, 1), 4, 2, signed=False, dtype="float32")
    params, state = net.init(5)
    with pytest.raises(AssertionError, match="float64"):
        laws.network_ignores_order(net, params, state, m, [1, 0, 2, 3])
    assert isinstance(m, Mixture)

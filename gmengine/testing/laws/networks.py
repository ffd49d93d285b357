"""Checks of a whole network: its gradient, what it must not depend on, and that training repeats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gmengine.autograd import check_vjp, value_and_grad
from gmengine.mixture import Mixture
from gmengine.nn import Network
from gmengine.nn.network import LabelledMixtures
from gmengine.optim import Adam
from gmengine.testing.assertions import asnumpy, assert_close
from gmengine.testing.laws._common import moved, padded, permuted

Params = Mapping[str, Any]


def network_gradient_is_that_of_differences(
    net: Network,
    params: Params,
    state: Params,
    batch: LabelledMixtures,
    *,
    rng: int = 0,
    eps: float = 1e-7,
    rtol: float = 1e-5,
) -> None:
    """The gradients of the loss for the parameters, and of the log-probabilities for the data, are right.

    In float64, while the plans of all reductions are held. Where samples of a batch hardly differ, batch
    normalisation amplifies: steps are small, and `rtol` wider than for single functions.
    """
    in_training: list[Any] = []
    net.loss(params, state, batch, in_training)
    options: dict[str, Any] = {"rng": rng, "eps": eps, "rtol": rtol, "atol": 1e-8}
    check_vjp(lambda p: net.loss(p, state, batch, in_training)[0], dict(params), **options)
    plans: list[Any] = []
    net.apply(params, state, batch.mixtures, plans=plans)
    check_vjp(lambda m: net.apply(params, state, m, plans=plans)[0], batch.mixtures, **options)


def network_ignores_order(
    net: Network, params: Params, state: Params, mixtures: Mixture, order: Any, training: bool = False
) -> None:
    """The log-probabilities do not depend on the order of the components (in general position: ties do)."""
    _same(net, net, params, state, permuted(mixtures, order), mixtures, training)


def network_ignores_place(
    net: Network, params: Params, state: Params, mixtures: Mixture, shift: Any, training: bool = False
) -> None:
    """The log-probabilities do not depend on where in space the samples lie.

    `shift` (K,) moves all, ``(B, 1, 1, K)`` each sample by itself.
    """
    _same(net, net, params, state, moved(mixtures, shift), mixtures, training)


def network_ignores_absent(
    net: Network,
    params: Params,
    state: Params,
    mixtures: Mixture,
    value: float = 0.0,
    training: bool = False,
) -> None:
    """Padding, whatever it holds, is not seen by a network whose input has room for it."""
    n = net.components[0]
    assert n is not None
    wide = replace(net, components=(n + 3, *net.components[1:]))
    _same(wide, net, params, state, padded(mixtures, 3, value), mixtures, training)


def samples_are_judged_alone(net: Network, params: Params, state: Params, mixtures: Mixture) -> None:
    """In evaluation, what a sample gets does not depend on the others of its batch."""
    together = asnumpy(net.apply(params, state, mixtures)[0])
    for b in range(mixtures.batch[0]):
        alone = asnumpy(net.apply(params, state, mixtures[b : b + 1])[0])
        assert_close("golden", alone, together[b : b + 1], scale=10.0)


def same_seed_gives_same_losses(losses: Callable[[int], Sequence[float]], seed: int = 0) -> None:
    """Two runs from one seed have identical losses, to the last bit; see `losses_of`."""
    first, second = ([float(x) for x in losses(seed)] for _ in range(2))
    assert first == second, f"two runs from seed {seed} differ: {first} and {second}"


def losses_of(net: Network, batch: LabelledMixtures, steps: int = 3) -> Callable[[int], list[float]]:
    """Return a function from a seed to the losses of some steps of Adam on one batch."""

    def run(seed: int) -> list[float]:
        params, state = net.init(seed)
        adam = Adam()
        momenta, found = adam.init(params), []
        for _ in range(steps):
            (value, state), grads = value_and_grad(net.loss, aux=True)(params, state, batch)
            params, momenta = adam.update(params, grads, momenta)
            found.append(float(value))
        return found

    return run


def _same(
    net: Network, plain: Network, params: Params, state: Params, changed: Mixture, m: Mixture, training: bool
) -> None:
    got = net.apply(params, state, changed, training)[0]
    want = asnumpy(plain.apply(params, state, m, training)[0])
    assert want.dtype == np.float64, (
        "whole networks are compared in float64: ties would be broken by rounding"
    )
    assert_close("golden", got, want, scale=10.0)

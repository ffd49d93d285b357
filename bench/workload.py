"""A training step as training makes it: a batch drawn and varied, loss and gradients, clipping, Adam, weight decay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

import gmengine as gm
from bench.harness import random_mixture
from gmengine.training import loop
from gmengine.training.config import RunConfig

SPEC = "1/64 -> 8/32 -> 16/16 -> 32/8 -> 10"


def random_samples(net: gm.nn.Network, count: int) -> gm.data.Dataset:
    """Return as many labelled mixtures of random numbers as the network's input asks for."""
    channels, components = net.channels[0], net.components[0]
    if components is None:
        raise ValueError("the network does not say how many components its input has")
    return gm.data.Dataset(
        mixtures=random_mixture((count, channels), components, net.dim, signed=False),
        labels=np.arange(count) % net.classes,
        class_names=tuple(str(c) for c in range(net.classes)),
        name="random",
        source="random numbers",
        licence="none",
    )


def training_step(
    spec: str, dim: int, batch: int, device: str = "cpu"
) -> tuple[gm.nn.Network, Callable[[], None]]:
    """Return the network, and a function that makes its next training step with the defaults of a run."""
    net = gm.nn.network(spec, dim=dim)
    config = RunConfig(layers=spec, batch_size=batch, device=device)
    samples = random_samples(net, 4 * batch)
    learner = loop.Learner(config, net, len(samples))
    progress = learner.init()
    drawn = _batches(samples, config)

    def step() -> None:
        nonlocal progress
        progress, _, _ = loop.train_step(learner, progress, next(drawn))

    return net, step


def _batches(samples: gm.data.Dataset, config: RunConfig) -> Iterator[gm.data.Dataset]:
    rng = np.random.default_rng(0)
    while True:
        for batch in loop.batches(samples, config.batch_size, rng=rng, drop_last=True):
            yield replace(batch, mixtures=loop.augmented(batch.mixtures, config.variation, rng=rng))

"""One training step of a whole network: loss, gradients, Adam; the unit is one sample."""

from __future__ import annotations

import numpy as np

import gmengine as gm
from bench.harness import Case, random_mixture


def cases(smoke: bool) -> list[Case]:
    """The digits network, and the 2D network that the speed targets name."""
    sizes = (
        [("1/6 -> 2/3 -> 4", 4)]
        if smoke
        else [("1/16 -> 8/8 -> 10", 50), ("1/64 -> 8/32 -> 16/16 -> 32/8 -> 10", 16)]
    )
    found = []
    for spec, batch in sizes:
        net = gm.nn.network(spec, dim=2)
        inputs = random_mixture((batch, 1), int(spec.split("->")[0].split("/")[1]), 2, signed=False)
        classes = int(spec.split("->")[-1])
        samples = gm.data.Dataset(
            mixtures=inputs,
            labels=np.arange(batch) % classes,
            class_names=tuple(str(c) for c in range(classes)),
            name="random",
            source="random numbers",
            licence="none",
        )
        params, state = net.init(rng=0)
        adam = gm.optim.Adam(lr=1e-3)
        moments = adam.init(params)

        def step(net=net, params=params, state=state, adam=adam, moments=moments, samples=samples) -> object:
            _, grads = gm.value_and_grad(net.loss, aux=True)(params, state, samples)
            return adam.update(params, grads, moments)

        found.append(Case(f"training step {spec} batch {batch}", step, float(batch), "samples"))
    return found

"""Convolution of data with kernels, forward and with gradients; the unit is one output component."""

from __future__ import annotations

import gmengine as gm
from bench.harness import Case, Question, random_mixture


def cases(smoke: bool) -> list[Case]:
    """Layers of the paper's networks: (batch, in, N) data with (out, in, 5) kernels."""
    sizes = [(2, 2, 2, 6, 3)] if smoke else [(2, 16, 8, 32, 16), (3, 8, 16, 32, 32)]
    found = []
    for dim, batch, channels_in, n, channels_out in sizes:
        data = random_mixture((batch, channels_in), n, dim)
        kernel = random_mixture((channels_out, channels_in), 5, dim, seed=1)
        outputs = float(batch * channels_out * channels_in * n * 5)
        label = f"K={dim} {batch}x{channels_in}x{n} -> {channels_out}"

        def both(d: gm.Mixture = data, k: gm.Mixture = kernel) -> object:
            return gm.value_and_grad(lambda pair: gm.convolve(*pair).weights.sum())((d, k))

        found += [
            Case(
                f"convolve {label}",
                lambda d=data, k=kernel: gm.convolve(d, k),
                outputs,
                "components",
                Question("convolve", (data, kernel), False),
            ),
            Case(
                f"convolve+vjp {label}",
                both,
                outputs,
                "components",
                Question("convolve", (data, kernel), True),
            ),
        ]
    return found

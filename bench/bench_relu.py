"""The ReLU fit, forward and with gradients; the unit is one pair of components."""

from __future__ import annotations

import gmengine as gm
from bench.harness import Case, Question, random_mixture


def cases(smoke: bool) -> list[Case]:
    """Layer-like sizes: K = 2 and 3, N = 320 and 1280."""
    sizes = (
        [(2, 4, 20), (3, 4, 20)] if smoke else [(2, 256, 320), (2, 32, 1280), (3, 256, 320), (3, 32, 1280)]
    )
    found = []
    for dim, count, n in sizes:
        mixture = random_mixture((count,), n, dim)
        pairs = float(count * n * n)
        label = f"K={dim} {count}x{n}"

        def both(m: gm.Mixture = mixture) -> object:
            return gm.value_and_grad(lambda a: gm.integrate(gm.relu(a)).sum())(m)

        found += [
            Case(
                f"relu {label}",
                lambda m=mixture: gm.relu(m),
                pairs,
                "pairs",
                Question("relu", (mixture,), False),
            ),
            Case(f"relu+vjp {label}", both, pairs, "pairs", Question("relu", (mixture,), True)),
        ]
    return found

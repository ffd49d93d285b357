"""The least-squares fit of the ReLU, forward and with gradients; the unit is one mixture. See also `bench.table7`."""

from __future__ import annotations

from typing import Any

import gmengine as gm
from bench.harness import Case, random_mixture
from gmengine.ops.relu_lstsq import relu_lstsq


def cases(smoke: bool) -> list[Case]:
    """Mixtures of the size of the paper's table 7, fitted at its three choices of sample points, and variants."""
    count, n = (3, 12) if smoke else (16, 256)
    mixture = random_mixture((count,), n, 2)
    variants: list[tuple[str, dict[str, Any]]] = [
        ("means", {"points": "means"}),
        ("means+random", {"points": "means+random"}),
        ("random", {"points": "random"}),
        ("means+random ridge", {"points": "means+random", "ridge": 1e-4}),
        ("means+random non-negative", {"points": "means+random", "non_negative": True}),
    ]
    found = []
    for name, options in variants:
        label = f"K=2 {count}x{n} {name}"

        def forward(m: gm.Mixture = mixture, options: dict[str, Any] = options) -> object:
            return relu_lstsq(m, **options)

        def both(m: gm.Mixture = mixture, options: dict[str, Any] = options) -> object:
            return gm.value_and_grad(lambda a: gm.integrate(relu_lstsq(a, **options)).sum())(m)

        found += [
            Case(f"relu_lstsq {label}", forward, float(count), "mixtures"),
            Case(f"relu_lstsq+vjp {label}", both, float(count), "mixtures"),
        ]
    return found

"""TreeHEM and top-n reduction, forward and with gradients; the unit is one input component."""

from __future__ import annotations

import gmengine as gm
from bench.harness import Case, random_mixture


def cases(smoke: bool) -> list[Case]:
    """The sizes that the speed targets name: 16 x 8 mixtures 320 -> 32 (K = 2), 4 x 16 mixtures 1280 -> 16 (K = 3)."""
    sizes = [(2, (2, 2), 20, 4)] if smoke else [(2, (16, 8), 320, 32), (3, (4, 16), 1280, 16)]
    found = []
    for dim, batch, n, n_out in sizes:
        mixture = random_mixture(batch, n, dim, signed=False)
        components = float(batch[0] * batch[1] * n)
        for method in ("tree_hem", "top"):
            label = f"{method} K={dim} {batch[0]}x{batch[1]} {n} -> {n_out}"

            def both(m: gm.Mixture = mixture, k: int = n_out, how: str = method) -> object:
                return gm.value_and_grad(lambda a: gm.reduce(a, k, method=how).means.sum())(m)

            found += [
                Case(
                    f"reduce {label}",
                    lambda m=mixture, k=n_out, how=method: gm.reduce(m, k, method=how),
                    components,
                    "components",
                ),
                Case(f"reduce+vjp {label}", both, components, "components"),
            ]
    return found

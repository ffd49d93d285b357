"""The dense fit of a transfer function, forward and with gradients; the unit is one pair of components."""

from __future__ import annotations

import gmengine as gm
from bench.harness import Case, random_mixture
from gmengine.ops import transfer
from gmengine.ops.fit_transfer import fit_transfer


def cases(smoke: bool) -> list[Case]:
    """The sizes of `bench_relu`; every fit takes two evaluations of all pairs."""
    sizes = (
        [(2, 4, 20), (3, 4, 20)] if smoke else [(2, 256, 320), (2, 32, 1280), (3, 256, 320), (3, 32, 1280)]
    )
    phi = transfer.leaky_relu(0.01)
    found = []
    for dim, count, n in sizes:
        mixture = random_mixture((count,), n, dim)
        pairs = float(count * n * n)
        label = f"K={dim} {count}x{n}"

        def both(m: gm.Mixture = mixture) -> object:
            return gm.value_and_grad(lambda a: gm.integrate(fit_transfer(a, phi)).sum())(m)

        found += [
            Case(f"fit_transfer {label}", lambda m=mixture: fit_transfer(m, phi), pairs, "pairs"),
            Case(f"fit_transfer+vjp {label}", both, pairs, "pairs"),
        ]
    return found

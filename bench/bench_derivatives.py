"""Gradients and Hessians of mixtures at their own means, forward and vjp; the unit is one (point, component) pair."""

from __future__ import annotations

from functools import partial

from bench.harness import Case, random_mixture
from gmengine import Mixture, value_and_grad
from gmengine.ops.derivatives import density_gradient, density_hessian


def cases(smoke: bool) -> list[Case]:
    """Layer-like sizes: K = 2 and 3, N = 320 and 1280."""
    sizes = (
        [(2, 4, 20), (3, 4, 20)] if smoke else [(2, 256, 320), (2, 32, 1280), (3, 256, 320), (3, 32, 1280)]
    )
    found = []
    for op in (density_gradient, density_hessian):
        for dim, count, n in sizes:
            mixture = random_mixture((count,), n, dim)
            pairs = float(count * n * n)
            label = f"K={dim} {count}x{n}"

            def both(m: Mixture, op=op) -> object:
                return value_and_grad(lambda a: op(a, a.means).sum())(m)

            found += [
                Case(f"{op.__name__} {label}", partial(op, mixture, mixture.means), pairs, "pairs"),
                Case(f"{op.__name__}+vjp {label}", partial(both, mixture), pairs, "pairs"),
            ]
    return found

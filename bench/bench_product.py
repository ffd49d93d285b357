"""Inner products and distances, forward and with gradients; the unit is one pair of components."""

from __future__ import annotations

from typing import Any

import gmengine as gm
from bench.harness import Case, Question, random_mixture
from gmengine.ops.product import l2_distance, product


def cases(smoke: bool) -> list[Case]:
    """Layer-like sizes: K = 2 and 3, N = 320 and 1280; a distance has four times the pairs of a product."""
    sizes = [(2, 4, 20), (3, 4, 20)] if smoke else [(2, 64, 320), (2, 8, 1280), (3, 64, 320), (3, 8, 1280)]
    found = []
    for dim, count, n in sizes:
        operands = tuple(random_mixture((count,), n, dim, seed=seed) for seed in (0, 1))
        pairs = float(count * n * n)
        label = f"K={dim} {count}x{n}"
        for op, work in ((product, pairs), (l2_distance, 4.0 * pairs)):

            def both(op: Any = op, operands: tuple[gm.Mixture, ...] = operands) -> object:
                return gm.value_and_grad(lambda ab: op(*ab).sum())(operands)

            found += [
                Case(
                    f"{op.__name__} {label}",
                    lambda op=op, ab=operands: op(*ab),
                    work,
                    "pairs",
                    Question(op.__name__, operands, False),
                ),
                Case(
                    f"{op.__name__}+vjp {label}", both, work, "pairs", Question(op.__name__, operands, True)
                ),
            ]
    return found

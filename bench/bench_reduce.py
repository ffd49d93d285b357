"""Reduction by every method, forward and with gradients; the unit is one input component."""

from __future__ import annotations

from math import prod

import gmengine as gm
from bench.harness import Case, Question, random_mixture

Size = tuple[int, tuple[int, int], int, int]  # dimensions, batch, components before and after


def cases(smoke: bool) -> list[Case]:
    """The sizes that the speed targets name: those of layers for TreeHEM and top-n, smaller batches for EM and HEM."""
    layers: list[Size] = [(2, (16, 8), 320, 32), (3, (4, 16), 1280, 16)]
    batches: list[Size] = [(3, (2, 4), 320, 32), (3, (1, 4), 1280, 16)]
    if smoke:
        layers = batches = [(2, (2, 2), 20, 4)]
    plans = (("tree_hem", layers), ("top", layers), ("em", batches), ("hem", batches))
    return [case for method, sizes in plans for size in sizes for case in _pair(method, *size)]


def _pair(method: str, dim: int, batch: tuple[int, int], n: int, n_out: int) -> list[Case]:
    mixture, components = random_mixture(batch, n, dim, signed=False), float(prod(batch) * n)
    label = f"{method} K={dim} {batch[0]}x{batch[1]} {n} -> {n_out}"

    def forward() -> object:
        return gm.reduce(mixture, n_out, method=method)

    def both() -> object:
        return gm.value_and_grad(lambda a: gm.reduce(a, n_out, method=method).means.sum())(mixture)

    op, inputs = f"reduce_{method}", (mixture, n_out)
    return [
        Case(f"reduce {label}", forward, components, "components", Question(op, inputs, False)),
        Case(f"reduce+vjp {label}", both, components, "components", Question(op, inputs, True)),
    ]

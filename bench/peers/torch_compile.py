"""PyTorch, compiled by ``torch.compile`` for the CPU; the better of the two forms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch._dynamo

from bench.peers import formulas, pair_formulas
from gmengine import Mixture

FORMS = formulas.FORMS


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def _compiled(plain: Callable[..., Any], inputs: tuple[Any, ...], gradients: bool) -> Callable[[], Any]:
    torch._dynamo.reset()  # every case is compiled for itself
    run = torch.compile(plain)
    arrays = [torch.from_numpy(a) for a in inputs]
    if not gradients:

        def forward() -> Any:
            with torch.no_grad():
                return run(*arrays).numpy()

        return forward
    leaves = [a.requires_grad_() for a in arrays]

    def both() -> Any:
        return torch.autograd.grad(run(*leaves).sum(), leaves)[0].numpy()

    return both


def evaluate(mixture: Mixture, points: Any, gradients: bool, form: str) -> Callable[[], Any]:
    return _compiled(partial(formulas.evaluate, torch, form), (*mixture.arrays, points), gradients)


def relu(mixture: Mixture, gradients: bool, form: str) -> Callable[[], Any]:
    return _compiled(partial(formulas.relu, torch, form), mixture.arrays, gradients)


def product(a: Mixture, b: Mixture, gradients: bool, form: str) -> Callable[[], Any] | None:
    if form != "fused":
        return None
    return _compiled(partial(pair_formulas.product, torch), (*a.arrays, *b.arrays), gradients)


def l2_distance(a: Mixture, b: Mixture, gradients: bool, form: str) -> Callable[[], Any] | None:
    if form != "fused":
        return None
    return _compiled(partial(pair_formulas.l2_distance, torch), (*a.arrays, *b.arrays), gradients)

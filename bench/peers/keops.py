"""KeOps on the CPU: symbolic (P, N) matrices that are never stored, reduced by generated C++."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pykeops
import torch
from pykeops.torch import LazyTensor

from bench.peers import formulas
from gmengine import Mixture

pykeops.set_verbose(False)


def versions() -> dict[str, str]:
    return {"pykeops": pykeops.__version__}


def _sums(amplitudes: list[Any], means: Any, inverse: list[list[Any]], points: Any) -> list[Any]:
    K = means.shape[-1]
    precision = torch.stack(
        [sum(inverse[i][k] * inverse[i][m] for i in range(max(k, m), K)) for k in range(K) for m in range(K)],
        -1,
    )
    x, mu = LazyTensor(points[:, :, None, :].contiguous()), LazyTensor(means[:, None, :, :].contiguous())
    squares = (x - mu).weightedsqnorm(LazyTensor(precision[:, None, :, :].contiguous()))
    e = (-0.5 * squares).exp()
    return [(LazyTensor(a[:, None, :, None].contiguous()) * e).sum(dim=2)[..., 0] for a in amplitudes]


def _relu(weights: Any, means: Any, covariances: Any) -> Any:
    inverse, peak = formulas.whitening(torch, covariances)
    size = weights.abs()
    unit = 0.05 * (size * peak).mean(-1)[:, None]
    coarse = weights.clamp(min=0) + 0.1 * size.mean(-1)[:, None]
    v, u = _sums([weights * peak, coarse * peak], means, inverse, means)
    return coarse * (v.clamp(min=0) + unit) / (u + unit)


def _evaluate(weights: Any, means: Any, covariances: Any, points: Any) -> Any:
    inverse, peak = formulas.whitening(torch, covariances)
    return _sums([weights * peak], means, inverse, points)[0]


def _runner(function: Callable[..., Any], inputs: tuple[Any, ...], gradients: bool) -> Callable[[], Any]:
    arrays = [torch.from_numpy(a).requires_grad_(gradients) for a in inputs]
    if gradients:
        return lambda: torch.autograd.grad(function(*arrays).sum(), arrays)[0].numpy()
    return lambda: function(*arrays).numpy()


def evaluate(mixture: Mixture, points: Any, gradients: bool) -> Callable[[], Any]:
    return _runner(_evaluate, (*mixture.arrays, points), gradients)


def relu(mixture: Mixture, gradients: bool) -> Callable[[], Any]:
    return _runner(_relu, mixture.arrays, gradients)

"""Inner products and distances of mixtures by CUDA, in closed form and, whatever the dtype, in float64."""

from __future__ import annotations

import math
from math import prod
from typing import Any

import cupy
import numpy as np

from gmengine.cuda._faults import no_fault, raise_faults
from gmengine.cuda._launch import BLOCK, blocks_for, launch, on_device, ready
from gmengine.cuda._pairs import FULL, n_moments
from gmengine.deferred import check
from gmengine.errors import NonFiniteError

_TILE = 64  # components that are streamed together
_WARP = 32
_FEW = 4096  # pairs of one form that a single warp takes


@on_device
def forward(*inputs: Any, batches: tuple[tuple[int, ...], ...], form: str) -> tuple[Any, Any]:
    """Return (values (M,), residuals) of forms of mixtures a (A, N) and b (B, N') in K dimensions.

    inputs: weights, means and covariances of a, then those of b.
    batches: shapes of A and B elements, which broadcast to one of M elements; no mixture is copied for that.
    form: "product" for <a, b>, "squared" for |a - b|^2, "distance" for |a - b|.
    """
    inputs = tuple(map(ready, inputs))
    a, b = inputs[:3], inputs[3:]
    (N, K), n_other, dtype = a[1].shape[1:], b[0].shape[1], a[0].dtype
    for name, mixture in (("a", a), ("b", b)):
        _refuse_faults(name, mixture)
    symmetric, distance = _options(form)
    M = prod(np.broadcast_shapes(*batches))
    left, right = (N + n_other, N + n_other) if symmetric else (N, n_other)
    block = BLOCK if left * right > _FEW else _WARP
    tiles, width, slices = _deal(M, left, right, block)
    parts = cupy.empty((M, tiles * slices), cupy.float64)
    args = *inputs, *_members(batches), parts, N, n_other, symmetric, width, slices
    launch("product", "product_forward", M * tiles * slices, args, dim=K, dtype=dtype, block=block)
    values, results, fault = cupy.empty((M,), dtype), cupy.empty((M,), cupy.float64), no_fault()
    args = parts, values, results, fault, tiles * slices, _constant(K), symmetric, distance
    launch("product", "product_total", M, args, dim=K, dtype=dtype, block=_WARP)
    _refuse_overflow(fault, batches)
    return values, (inputs, batches, form, results)


@on_device
def vjp(residuals: Any, g_values: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    """Return the gradients of a's weights, means and covariances, then b's, None where `needs` is False.

    The derivation is that of `gmengine.cpu.product.vjp`. The distance is the same for b - a as for a - b: so either
    side is `own` once, and gathers from <own, other>, or twice from <own, own - other>.
    """
    inputs, batches, form, results = residuals
    (symmetric, distance), (M,), K, dtype = _options(form), results.shape, inputs[1].shape[2], inputs[0].dtype
    factors = cupy.empty((M,), cupy.float64)
    args = ready(g_values), results, factors, M, _constant(K), symmetric, distance
    launch("product", "product_factors", blocks_for(M), args, dim=K, dtype=dtype)
    members = _members(batches)
    grads: list[Any] = []
    for s in (0, 1):
        own, other = inputs[3 * s : 3 * s + 3], inputs[3 - 3 * s : 6 - 3 * s]
        if any(needs[3 * s : 3 * s + 3]):
            grads += _gather(own, other, _partners(batches, s), members[1 - s], factors, symmetric)
        else:
            grads += [None] * 3
    return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _gather(
    own: Any, other: Any, partners: Any, of_other: Any, factors: Any, symmetric: bool
) -> tuple[Any, ...]:
    """Return the gradients of the mixtures `own`, whose p-th element is part of the forms partners[p]."""
    (A, N, K), n_other, forms, dtype = own[1].shape, other[0].shape[1], partners.shape[1], own[0].dtype
    tiles, width, slices = _deal(A, N, forms * (N + n_other if symmetric else n_other), BLOCK)
    moments = cupy.empty((slices, A * N, n_moments(K, 1)), cupy.float64)
    args = *own, *other, partners, of_other, factors, moments
    args = *args, A, N, n_other, forms, symmetric, width, slices
    launch("product", "product_gather", A * tiles * slices, args, dim=K, dtype=dtype)
    grads = tuple(cupy.empty_like(x) for x in own)
    args = own[0], moments, *grads, A, N, slices
    launch("product", "product_gradient", blocks_for(A * N), args, dim=K, dtype=dtype)
    return grads


def _options(form: str) -> tuple[bool, bool]:
    """Return whether the form is that of a difference with itself, and whether a root is taken of it."""
    return form != "product", form == "distance"


def _constant(K: int) -> float:
    """Return what a sum over pairs of overlaps lacks."""
    return float((2.0 * math.pi) ** (-0.5 * K))


def _deal(mixtures: int, own: int, streamed: int, block: int) -> tuple[int, int, int]:
    """Return (tiles, width, slices): blocks take `width` of a mixture's own components and a slice of the others."""
    widths = [1 << i for i in range(block.bit_length())]
    width = min(widths, key=lambda w: blocks_for(own, w) * (w + 8))  # few idle threads, but also few tiles
    tiles = blocks_for(own, width)
    return tiles, width, max(1, min(blocks_for(streamed, _TILE), FULL // max(mixtures * tiles, 1)))


def _members(batches: tuple[tuple[int, ...], ...]) -> list[Any]:
    """Return which element of each batch is part of the elements of the broadcast batch, two arrays (M,)."""
    shape = np.broadcast_shapes(*batches)
    numbers = (cupy.arange(prod(batch), dtype=cupy.int64).reshape(batch) for batch in batches)
    return [ready(cupy.broadcast_to(x, shape)).reshape(prod(shape)) for x in numbers]


def _partners(batches: tuple[tuple[int, ...], ...], side: int) -> Any:
    """Return of which forms each element of one side's batch is part, ascending, shape (A, M / A)."""
    shape = np.broadcast_shapes(*batches)
    batch = (1,) * (len(shape) - len(batches[side])) + tuple(batches[side])
    axes = range(len(shape))
    kept, spread = ([k for k in axes if (batch[k] == shape[k]) == same] for same in (True, False))
    A, M = prod(batch), prod(shape)
    forms = cupy.arange(M, dtype=cupy.int64).reshape(shape).transpose(*kept, *spread)
    return ready(forms).reshape(A, M // max(A, 1))


def _refuse_faults(name: str, mixture: tuple[Any, Any, Any]) -> None:
    fault, (M, N, K) = no_fault(), mixture[1].shape
    args = *mixture, fault, M, N
    launch("product", "product_check", blocks_for(M * N), args, dim=K, dtype=mixture[0].dtype)
    raise_faults(f"product ({name})", fault, N)


def _refuse_overflow(first_fault: Any, batches: tuple[tuple[int, ...], ...]) -> None:
    def judge(found: np.ndarray) -> None:
        shape = np.broadcast_shapes(*batches)
        if int(found[0]) >= prod(shape):
            return
        where = np.unravel_index(int(found[0]), shape)
        numbers = (np.broadcast_to(np.arange(prod(batch)).reshape(batch), shape) for batch in batches)
        p, q = (int(x[where]) for x in numbers)
        raise NonFiniteError(
            f"product: the integral for mixtures {p} of a and {q} of b is beyond float64's range"
        )

    check(first_fault, judge)

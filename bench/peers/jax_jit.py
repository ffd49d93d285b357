"""JAX, compiled by XLA for the CPU; the better of the two forms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.peers import formulas, pair_formulas
from gmengine import Mixture

FORMS = formulas.FORMS


def versions() -> dict[str, str]:
    return {"jax": jax.__version__}


def _compiled(plain: Callable[..., Any], inputs: tuple[Any, ...], gradients: bool) -> Callable[[], Any]:
    arrays = [jax.device_put(a) for a in inputs]
    if not gradients:
        run = jax.jit(plain)
        return lambda: jax.tree.map(np.asarray, run(*arrays))

    def total(*a: Any) -> Any:
        found = plain(*a)
        return found[1].sum() if isinstance(found, tuple) else found.sum()  # of a mixture, its means

    both = jax.jit(jax.value_and_grad(total, argnums=tuple(range(len(arrays)))))

    def call() -> Any:
        _, grads = both(*arrays)
        return np.asarray(jax.block_until_ready(grads)[0])

    return call


def evaluate(mixture: Mixture, points: Any, gradients: bool, form: str) -> Callable[[], Any]:
    return _compiled(partial(formulas.evaluate, jnp, form), (*mixture.arrays, points), gradients)


def relu(mixture: Mixture, gradients: bool, form: str) -> Callable[[], Any]:
    return _compiled(partial(formulas.relu, jnp, form), mixture.arrays, gradients)


def product(a: Mixture, b: Mixture, gradients: bool, form: str) -> Callable[[], Any] | None:
    if form != "fused":
        return None
    return _compiled(partial(pair_formulas.product, jnp), (*a.arrays, *b.arrays), gradients)


def l2_distance(a: Mixture, b: Mixture, gradients: bool, form: str) -> Callable[[], Any] | None:
    if form != "fused":
        return None
    return _compiled(partial(pair_formulas.l2_distance, jnp), (*a.arrays, *b.arrays), gradients)


def convolve(data: Mixture, kernel: Mixture, gradients: bool, form: str) -> Callable[[], Any] | None:
    if form != "fused" or gradients:
        return None
    return _compiled(partial(pair_formulas.convolve, jnp), (*data.arrays, *kernel.arrays), False)


def reduce_em(mixture: Mixture, n: int, gradients: bool, form: str) -> Callable[[], Any] | None:
    if form != "gemm":
        return None
    flat = mixture.reshape((mixture.weights.size // mixture.n_components,))
    return _compiled(partial(pair_formulas.em, jnp, n), flat.arrays, gradients)

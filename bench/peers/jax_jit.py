"""JAX, compiled by XLA for the CPU; the better of the two forms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.peers import formulas
from gmengine import Mixture

FORMS = formulas.FORMS


def versions() -> dict[str, str]:
    return {"jax": jax.__version__}


def _compiled(
    function: Callable[..., Any], form: str, inputs: tuple[Any, ...], gradients: bool
) -> Callable[[], Any]:
    plain = partial(function, jnp, form)
    arrays = [jax.device_put(a) for a in inputs]
    if not gradients:
        run = jax.jit(plain)
        return lambda: np.asarray(run(*arrays))
    both = jax.jit(jax.value_and_grad(lambda *a: plain(*a).sum(), argnums=tuple(range(len(arrays)))))

    def call() -> Any:
        _, grads = both(*arrays)
        return np.asarray(jax.block_until_ready(grads)[0])

    return call


def evaluate(mixture: Mixture, points: Any, gradients: bool, form: str) -> Callable[[], Any]:
    return _compiled(formulas.evaluate, form, (*mixture.arrays, points), gradients)


def relu(mixture: Mixture, gradients: bool, form: str) -> Callable[[], Any]:
    return _compiled(formulas.relu, form, mixture.arrays, gradients)

"""Laws of hand-written gradients, of any code: a vjp is checked against the function that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gmengine.autograd import check_vjp
from gmengine.autograd.primitive import Primitive
from gmengine.autograd.trees import leaves, tree_map
from gmengine.backend import Array
from gmengine.mixture import Mixture
from gmengine.testing.assertions import asnumpy, assert_close
from gmengine.testing.gradients import pull_back
from gmengine.testing.laws._common import copied, triple


def gradient_is_that_of_differences(
    fn: Callable[..., Any],
    vjp: Callable[..., Any],
    *inputs: Any,
    wrt: int = 1,
    rng: int | np.random.Generator | None = 0,
    eps: float = 1e-6,
) -> None:
    """``vjp(*inputs, cotangent)`` is the gradient of ``<cotangent, fn(*inputs)>``, by central differences.

    Along random directions: symmetric ones for covariances, and none at all for absent components.

    Parameters
    ----------
    fn : callable
        Takes `inputs`, arrays or Mixtures of float64; returns an array or a Mixture.
    vjp : callable
        Takes them and a cotangent of the structure of the result; returns the gradient of the first input or,
        with ``wrt`` = k > 1, a tuple of those of the first k. A gradient has the structure of its input.
    wrt : int
        How many leading inputs are differentiated with respect to.
    rng, eps
        Of `check_vjp`.
    """
    watched, constants = inputs[:wrt], inputs[wrt:]
    layout = fn(*inputs)

    def forward(*arrays: Array) -> tuple[tuple[Array, ...], Any]:
        args = _filled(watched, arrays)
        return tuple(leaves(fn(*args, *constants))), args

    recorded = Primitive(forward)

    @recorded.defvjp
    def _(args: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> list[Array | None]:
        gradients = vjp(*args, *constants, _filled(layout, cotangents))
        found = leaves((gradients,) if wrt == 1 else tuple(gradients))
        assert len(found) == len(needs), f"{len(found)} gradients for {len(needs)} arrays"
        return [g if need else None for g, need in zip(found, needs, strict=True)]

    check_vjp(lambda *xs: _filled(layout, recorded(*leaves(xs))), *watched, rng=rng, eps=eps)


def covariance_gradients_are_symmetric(
    gradient: Mixture, condition: float = 10.0, kind: str = "gradient"
) -> None:
    """The gradient of a covariance is a symmetric matrix; with the kind "exact" to the last bit, as gmengine's."""
    g = asnumpy(gradient).covariances
    transposed = np.swapaxes(g, -1, -2)
    assert_close(kind, g, transposed, condition=condition, name="transposed gradient of covariances")


def absent_gradients_are_zero(m: Mixture, gradient: Mixture) -> None:
    """Every gradient of an absent component is exactly 0, whatever the component holds."""
    gone = asnumpy(m).weights == 0
    for name, g in zip(("weights", "means", "covariances"), triple(gradient), strict=True):
        assert_close("exact", g[gone], np.zeros_like(g[gone]), name=f"gradient of absent {name}")


def gradients_agree_in_single_precision(
    fn: Callable[..., Any], *inputs: Any, size: int = 1, condition: float = 10.0, rng: int = 0
) -> None:
    """A differentiable function of gmengine has in float32 the gradients that it has in float64.

    `inputs` are float64, and representable in float32.
    """
    _, want = pull_back(fn, *inputs, rng=rng)
    _, got = pull_back(fn, *(_single(x) for x in inputs), rng=rng)
    for g, w in zip(leaves(got), leaves(want), strict=True):
        assert asnumpy(g).dtype == np.float32, f"a gradient of float32 inputs is {asnumpy(g).dtype}"
        assert_close("gradient", g, w, size=size, condition=condition)


def _single(tree: Any) -> Any:
    return tree_map(lambda x: x.astype(np.float32), copied(tree))


def _filled(tree: Any, arrays: Any) -> Any:
    """Return a tree of the structure of `tree` that holds `arrays`."""
    rest = iter(arrays)
    return tree_map(lambda _: next(rest), tree)

"""What laws share: changed mixtures, the unit of errors, and how foreign functions are called."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from gmengine.autograd.trees import tree_map
from gmengine.backend import Array, namespace
from gmengine.mixture import Mixture
from gmengine.testing import oracles
from gmengine.testing.assertions import asnumpy, assert_close

Evaluate = Callable[[Mixture, Array], Any]
"""``(m, points (*batch, P, K)) -> values (*batch, P)``"""
Integrate = Callable[[Mixture], Any]
"""``m -> (*batch,)``"""
Convolve = Callable[[Mixture, Mixture], Mixture]
"""``(data (*batch, I, N), kernel (O, I, M)) -> (*batch, O, I*N*M)``"""
Map = Callable[[Mixture], Mixture]
"""``m -> mixture of the same batch``"""
Relu = Callable[[Mixture, Any], Mixture]
"""``(m, bias) -> mixture``"""
Reduce = Callable[[Mixture, int], Mixture]
"""``(m, n) -> mixture of n components``"""


def on_mixtures(fn: Callable[..., Any], *, gives_mixtures: bool = False) -> Callable[..., Any]:
    """Return a function of Mixtures from one of triples ``(weights, means, covariances)``.

    So code that knows no `Mixture` can be handed to a law: ``evaluate=on_mixtures(my_evaluate)``.

    Parameters
    ----------
    fn : callable
        Takes a triple of arrays wherever a law passes a Mixture.
    gives_mixtures : bool
        Whether its result is a triple, or a tuple of triples, to be made Mixtures.
    """

    @wraps(fn)
    def called(*args: Any, **kwargs: Any) -> Any:
        result = fn(*(a.arrays if isinstance(a, Mixture) else a for a in args), **kwargs)
        return _as_mixtures(result) if gives_mixtures else result

    return called


def _as_mixtures(result: Any) -> Any:
    if isinstance(result, tuple | list) and not isinstance(result[0], tuple | list | Mixture):
        return Mixture(*result)
    return tuple(_as_mixtures(r) for r in result) if isinstance(result, tuple | list) else result


def channelwise(convolve_two: Callable[[Mixture, Mixture], Mixture]) -> Convolve:
    """Return a convolution of channels from one of two single mixtures: sums over input channels are sums."""

    def convolved(data: Mixture, kernel: Mixture) -> Mixture:
        rows = [
            _sum([convolve_two(data[(*b, i)], kernel[o, i]) for i in range(kernel.batch[1])])
            for b in np.ndindex(*data.batch[:-1])
            for o in range(kernel.batch[0])
        ]
        xp = namespace(rows[0].weights)
        stacked = Mixture(
            *(xp.stack([xp.asarray(a) for a in part]) for part in zip(*(r.arrays for r in rows), strict=True))
        )
        return stacked.reshape((*data.batch[:-1], kernel.batch[0]))

    return convolved


def _sum(parts: list[Mixture]) -> Mixture:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def triple(m: Mixture) -> tuple[Any, Any, Any]:
    """Return weights, means and covariances as NumPy arrays: what oracles take."""
    weights, means, covariances = (asnumpy(a) for a in m.arrays)
    return weights, means, covariances


def permuted(m: Mixture, order: Any) -> Mixture:
    """Return `m` with its components in another order, the same in every mixture."""
    order = namespace(m.weights).asarray(np.asarray(order))
    return Mixture(m.weights[..., order], m.means[..., order, :], m.covariances[..., order, :, :])


def padded(m: Mixture, n: int, value: float = 0.0) -> Mixture:
    """Return `m` with `n` absent components appended, whose means and covariances are full of `value`."""
    xp = namespace(m.weights)
    blank = (xp.full((*m.batch, n, *a.shape[len(m.batch) + 1 :]), value, dtype=a.dtype) for a in m.arrays)
    _, means, covariances = blank
    return m + Mixture(xp.zeros((*m.batch, n), dtype=m.dtype), means, covariances)


def moved(m: Mixture, shift: Any) -> Mixture:
    """Return `m` with `shift` added to the means, whatever the functions under test make of translation."""
    return Mixture(m.weights, m.means + shift, m.covariances)


def stretched(m: Mixture, factor: float) -> Mixture:
    """Return `m` pushed forward through ``x -> factor x``."""
    return Mixture(m.weights, m.means * factor, m.covariances * factor**2)


def spread(m: Mixture) -> Any:
    """Return ``sum_i |w_i| N(mu_i; mu_i, C_i)`` as ``(*batch, 1)``: what errors of values are relative to."""
    m = asnumpy(m)
    return oracles.peak_sum(m.weights, m.covariances)[..., None]


def close_values(got: Array, want: Array, scale: Any, size: int, condition: float) -> None:
    """Assert that values agree up to the rounding of evaluation, relative to `scale` (see `spread`)."""
    want = asnumpy(want)
    assert_close("solve", got, want, size=size, condition=condition, scale=np.broadcast_to(scale, want.shape))


def symmetric(c: Array) -> Array:
    """Return (C + C^T) / 2."""
    return (c + namespace(c).matrix_transpose(c)) / 2


def of_sign(m: Mixture, sign: float) -> Mixture:
    """Return `m` with the components of the other sign absent."""
    return Mixture(np.where(m.weights * sign > 0, m.weights, 0), m.means, m.covariances)


def channels(m: Mixture, n: int) -> Mixture:
    """Return `m` with `n` leading axes of length 1 (a channel; output and input channels of a kernel)."""
    index = (None,) * n
    return Mixture(*(a[index] for a in m.arrays))


def copied(tree: Any) -> Any:
    """Return copies, as NumPy, of all arrays of a tree of arrays, Mixtures and numbers."""
    return tree_map(lambda x: np.array(asnumpy(x)), tree)

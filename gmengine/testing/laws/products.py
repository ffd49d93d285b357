"""Laws of inner products and distances of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gmengine.mixture import Mixture
from gmengine.ops.product import l2_distance, product
from gmengine.testing import oracles
from gmengine.testing.assertions import asnumpy, assert_close
from gmengine.testing.laws._common import stretched, triple
from gmengine.testing.tolerances import tolerance

Product = Callable[[Mixture, Mixture], Any]
"""``(a, b) -> (*batch,)``"""


def product_follows_its_formula(
    a: Mixture, b: Mixture, condition: float = 10.0, *, product: Product = product
) -> None:
    """``<a, b> = sum_ij w_i v_j N(mu_i; nu_j, C_i + D_j)``, as 40 digits give it, for single mixtures."""
    want = np.asarray(oracles.product(triple(a), triple(b)))
    _close(product(a, b), want, _size_of_product(a, b), a, b, condition)


def product_is_that_of_quadrature(a: Mixture, b: Mixture, *, product: Product = product) -> None:
    """``<a, b>`` is the integral of a(x) b(x), summed over a grid, for single mixtures."""
    want = np.asarray(oracles.product_on_grid(triple(a), triple(b)))
    assert_close("quadrature", product(a, b), want, scale=_size_of_product(a, b))


def product_is_symmetric(
    a: Mixture, b: Mixture, condition: float = 10.0, *, product: Product = product
) -> None:
    """``<a, b> = <b, a>``."""
    _close(product(a, b), asnumpy(product(b, a)), _size_of_product(a, b), a, b, condition)


def product_is_linear(
    a: Mixture,
    b: Mixture,
    c: Mixture,
    factor: float,
    condition: float = 10.0,
    *,
    product: Product = product,
) -> None:
    """``<factor a + b, c> = factor <a, c> + <b, c>``."""
    want = asnumpy(product(a, c)) * factor + asnumpy(product(b, c))
    scale = abs(factor) * _size_of_product(a, c) + _size_of_product(b, c)
    _close(product(a * factor + b, c), want, scale, a + b, c, condition)


def product_follows_scale(
    a: Mixture, b: Mixture, factor: float, condition: float = 10.0, *, product: Product = product
) -> None:
    """Space stretched by s, which keeps integrals, divides ``<a, b>`` by ``|s|^K``."""
    got = product(stretched(a, factor), stretched(b, factor)) * abs(factor) ** a.dim
    _close(got, asnumpy(product(a, b)), _size_of_product(a, b), a, b, condition)


def distance_follows_from_products(
    a: Mixture,
    b: Mixture,
    condition: float = 10.0,
    *,
    l2_distance: Product = l2_distance,
) -> None:
    """``|a - b|^2 = <a, a> - 2 <a, b> + <b, b>`` in 40 digits, for single mixtures."""
    want = oracles.l2_distance(triple(a), triple(b)) ** 2
    scale = sum(_size_of_product(x, y) for x, y in ((a, a), (a, b), (a, b), (b, b)))
    _close(asnumpy(l2_distance(a, b)) ** 2, np.asarray(want), scale, a + b, a + b, condition)


def distance_is_a_metric(
    a: Mixture, b: Mixture, c: Mixture, condition: float = 10.0, *, l2_distance: Product = l2_distance
) -> None:
    """It is symmetric, 0 from a mixture to itself, and no detour over a third mixture is shorter."""
    ab, ba, bc, ac = (np.float64(asnumpy(l2_distance(x, y))) for x, y in ((a, b), (b, a), (b, c), (a, c)))
    scale = _size_of_product(a + b, a + b)
    _close(ab**2, ba**2, scale, a + b, a + b, condition)
    itself = np.float64(asnumpy(l2_distance(a, a)))
    _close(itself**2, np.zeros_like(itself), _size_of_product(a, a), a, a, condition)
    # Squared, where rounding is that of the products.
    slack = _allowed(_size_of_product(a + b + c, a + b + c), a, condition)
    assert np.all(ac <= ab + bc + np.sqrt(slack)), f"{ac} directly, {ab} + {bc} over a third mixture"


def _size_of_product(a: Mixture, b: Mixture) -> Any:
    """Return ``sum_ij |w_i v_j| N(0; 0, C_i + D_j)``, a bound of the magnitude of all terms, (*batch,)."""
    (wa, _, ca), (wb, _, cb) = (
        (np.abs(m.weights.astype(np.float64)), None, m.covariances) for m in (asnumpy(a), asnumpy(b))
    )
    both = (wa[..., :, None] != 0) & (wb[..., None, :] != 0)
    sums = ca[..., :, None, :, :].astype(np.float64) + cb[..., None, :, :, :]
    eye = np.eye(a.dim)
    peaks = np.linalg.det(2 * np.pi * np.where(both[..., None, None], sums, eye)) ** -0.5
    return np.sum(np.where(both, wa[..., :, None] * wb[..., None, :] * peaks, 0.0), axis=(-1, -2))


def _close(got: Any, want: Any, scale: Any, a: Mixture, b: Mixture, condition: float) -> None:
    got = np.asarray(asnumpy(got), a.dtype)
    size = a.n_components * b.n_components
    assert_close("solve", got, np.asarray(want), size=size, condition=condition, scale=scale)


def _allowed(scale: Any, a: Mixture, condition: float) -> Any:
    return tolerance("solve", a.dtype, a.n_components, condition) * scale

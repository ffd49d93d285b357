"""Laws that operations on mixtures obey, as functions that raise AssertionError: use them on your own code.

A law about "a map" takes ``fn: Mixture -> Mixture`` and holds for `relu` and `reduce`. "Close" has the sense
of `gmengine.testing.TOLERANCES`; `condition` bounds the condition numbers of the covariances.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.mixture import Mixture
from gmengine.ops.affine import scale, translate
from gmengine.ops.convolve import convolve
from gmengine.ops.evaluate import evaluate
from gmengine.ops.integrate import integrate
from gmengine.testing import oracles
from gmengine.testing.assertions import asnumpy, assert_close, assert_mixtures_close

Map = Callable[[Mixture], Mixture]


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


def spread(m: Mixture) -> Any:
    """Return ``sum_i |w_i| N(mu_i; mu_i, C_i)`` as ``(*batch, 1)``: what errors of values are relative to."""
    m = asnumpy(m)
    return oracles.peak_sum(m.weights, m.covariances)[..., None]


# --- evaluate and integrate ---------------------------------------------------------------------------------


def evaluation_is_linear(
    a: Mixture, b: Mixture, points: Array, factor: float, condition: float = 10.0
) -> None:
    """``(factor a + b)(x) = factor a(x) + b(x)``."""
    together = evaluate(a * factor + b, points)
    apart = evaluate(a, points) * factor + evaluate(b, points)
    size = a.n_components + b.n_components
    _close_values(together, apart, abs(factor) * spread(a) + spread(b), size, condition)


def evaluation_ignores_order(m: Mixture, order: Any, points: Array, condition: float = 10.0) -> None:
    """``m(x)`` is a sum: it does not depend on the order of the components."""
    _close_values(
        evaluate(permuted(m, order), points), evaluate(m, points), spread(m), m.n_components, condition
    )


def evaluation_follows_translation(m: Mixture, shift: Array, points: Array, condition: float = 10.0) -> None:
    """``(translated m)(x + t) = m(x)``."""
    _close_values(
        evaluate(translate(m, shift), points + shift),
        evaluate(m, points),
        spread(m),
        m.n_components,
        16 * condition,
    )


def evaluation_follows_scale(m: Mixture, factor: float, points: Array, condition: float = 10.0) -> None:
    """``(scaled m)(s x) s^K = m(x)``: pushed forward, the integral is kept and the density thins out."""
    values = evaluate(scale(m, factor), points * factor) * factor**m.dim
    _close_values(values, evaluate(m, points), spread(m), m.n_components, condition)


def evaluation_follows_rotation(m: Mixture, rotation: Array, points: Array, condition: float = 10.0) -> None:
    """``(rotated m)(Q x) = m(x)`` for an orthogonal Q."""
    q = namespace(m.weights).asarray(rotation)
    rotated = Mixture(m.weights, m.means @ q.T, _symmetric(q @ m.covariances @ q.T))
    _close_values(
        evaluate(rotated, points @ q.T), evaluate(m, points), spread(m), m.n_components, 16 * condition
    )


# --- convolve -----------------------------------------------------------------------------------------------


def convolution_multiplies_integrals(data: Mixture, kernel: Mixture) -> None:
    """``integral of (data * kernel)[o] = sum_i integral of data[i] * integral of kernel[o, i]``."""
    got = integrate(convolve(data, kernel))
    d, k = asnumpy(data).weights.astype(np.float64), asnumpy(kernel).weights.astype(np.float64)
    want = np.einsum("...in,oim->...o", d, k)
    magnitude = np.einsum("...in,oim->...o", np.abs(d), np.abs(k))
    size = d.shape[-1] * d.shape[-2] * k.shape[-1]
    assert_close("sum", got, want, size=size, scale=magnitude, name="integrals")


def convolution_commutes(a: Mixture, b: Mixture) -> None:
    """``a * b = b * a`` up to the order of components, for single mixtures (no batch, no channels)."""
    ab, ba = (convolve(_channels(x, 1), _channels(y, 2)) for x, y in ((a, b), (b, a)))
    assert_mixtures_close("elementwise", ab, ba, any_order=True)


def convolution_associates(a: Mixture, b: Mixture, c: Mixture) -> None:
    """``(a * b) * c = a * (b * c)`` up to the order of components, for single mixtures."""
    left = convolve(convolve(_channels(a, 1), _channels(b, 2)), _channels(c, 2))
    right = convolve(_channels(a, 1), _channels(convolve(_channels(b, 1), _channels(c, 2)), 1))
    assert_mixtures_close("sum", left, right, any_order=True)


def convolution_follows_translation(data: Mixture, kernel: Mixture, shift: Array) -> None:
    """Moving the data, or moving the kernel, moves the result."""
    moved = translate(convolve(data, kernel), shift)
    assert_mixtures_close("sum", convolve(translate(data, shift), kernel), moved)
    assert_mixtures_close("sum", convolve(data, translate(kernel, shift)), moved)


# --- maps of mixtures: relu, reduce -------------------------------------------------------------------------


def relu_follows_its_formula(
    m: Mixture, got: Mixture, bias: Any = 0.0, condition: float = 10.0, **options: Any
) -> None:
    """`got` has the weights that the loops of `oracles.relu` give, and otherwise what `m` has.

    The unit of errors is that of a value at the component's mean, divided by its own density there.
    """
    m, got = asnumpy(m), asnumpy(got)
    c = np.broadcast_to(bias, m.batch)
    want = np.zeros(m.weights.shape)
    for b in np.ndindex(*m.batch):
        want[b] = oracles.relu(m.weights[b], m.means[b], m.covariances[b], float(c[b]), **options)
    unit = (spread(m) + np.abs(c)[..., None]) / oracles.peaks(m.weights, m.covariances) + np.abs(want)
    assert_close("solve", got.weights, want, size=m.n_components, condition=condition, scale=unit)
    present = m.weights != 0
    assert_close("exact", got.means[present], m.means[present], name="means")
    assert_close("exact", got.covariances[present], m.covariances[present], name="covariances")


def map_follows_translation(fn: Map, m: Mixture, shift: Array, condition: float = 10.0) -> None:
    """Map, then move, is move, then map."""
    got, want = fn(translate(m, shift)), translate(fn(m), shift)
    assert_mixtures_close("solve", got, want, size=m.n_components, condition=64 * condition)


def map_follows_scale(fn: Map, m: Mixture, factor: float, condition: float = 10.0) -> None:
    """Map, then stretch space, is stretch, then map."""
    got, want = fn(scale(m, factor)), scale(fn(m), factor)
    assert_mixtures_close("solve", got, want, size=m.n_components, condition=4 * condition)


def map_is_homogeneous(fn: Map, m: Mixture, factor: float, condition: float = 10.0) -> None:
    """``fn(factor m) = factor fn(m)`` for factor > 0."""
    assert_mixtures_close("solve", fn(m * factor), fn(m) * factor, size=m.n_components, condition=condition)


def map_ignores_order(fn: Map, m: Mixture, order: Any, condition: float = 10.0) -> None:
    """The result is the same set of components, whatever the order of the input's."""
    got, want = fn(permuted(m, order)), fn(m)
    assert_mixtures_close("solve", got, want, any_order=True, size=m.n_components, condition=condition)


def map_ignores_absent(fn: Map, m: Mixture, value: float = 0.0) -> None:
    """Appended absent components change nothing and stay absent, whatever else they hold."""
    got, want = asnumpy(fn(padded(m, 3, value))), asnumpy(fn(m))
    assert_mixtures_close("solve", got, want, any_order=True, size=m.n_components)


# --- reduce -------------------------------------------------------------------------------------------------


def moments_are_conserved(m: Mixture, merged: Mixture, kind: str = "moments") -> None:
    """Merging keeps the integrals of f, x f and x x^T f, of the positive and of the negative part.

    Errors are relative to the mass, times the largest coordinate, or its square plus the largest variance.
    """
    m, merged = asnumpy(m), asnumpy(merged)
    for sign in (1.0, -1.0):
        before, after = _of_sign(m, sign), _of_sign(merged, sign)
        for b in np.ndindex(*m.batch):
            want, got = (oracles.moments(*(a[b] for a in x.arrays)) for x in (before, after))
            present = before.weights[b] != 0
            radius = np.max(np.abs(m.means[b][present]), initial=0.0)
            variance = np.max(np.abs(m.covariances[b][present]), initial=0.0)
            units = 1.0, radius, radius**2 + variance
            for order in range(3):
                assert_close(
                    kind,
                    np.asarray(got[order], m.dtype),  # moments are summed in float64; merging rounded to this
                    np.asarray(want[order]),
                    size=m.n_components,
                    scale=abs(want[0]) * units[order],
                    name=f"moment {order} of sign {sign:+.0f} of mixture {b}",
                )


def has_exactly(m: Mixture, n: int) -> None:
    """Every mixture has `n` present components."""
    present = np.count_nonzero(asnumpy(m).weights, axis=-1)
    assert np.all(present == n), f"expected {n} present components, got {present.tolist()}"


def _of_sign(m: Mixture, sign: float) -> Mixture:
    return Mixture(np.where(m.weights * sign > 0, m.weights, 0), m.means, m.covariances)


def _close_values(got: Array, want: Array, scale: Any, size: int, condition: float) -> None:
    want = asnumpy(want)
    assert_close("solve", got, want, size=size, condition=condition, scale=np.broadcast_to(scale, want.shape))


def _symmetric(c: Array) -> Array:
    return (c + namespace(c).matrix_transpose(c)) / 2


def _channels(m: Mixture, n: int) -> Mixture:
    """Return `m` with `n` leading axes of length 1 (a channel; output and input channels of a kernel)."""
    index = (None,) * n
    return Mixture(*(a[index] for a in m.arrays))

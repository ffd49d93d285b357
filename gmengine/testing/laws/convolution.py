"""Laws of convolution: of two mixtures, and of channels with kernels."""

from __future__ import annotations

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.mixture import Mixture
from gmengine.ops.convolve import convolve
from gmengine.ops.integrate import integrate
from gmengine.testing import oracles
from gmengine.testing.assertions import asnumpy, assert_close, assert_mixtures_close
from gmengine.testing.laws._common import Convolve, Integrate, channels, moved, padded, triple


def convolution_follows_its_formula(data: Mixture, kernel: Mixture, *, convolve: Convolve = convolve) -> None:
    """Weights multiply, means and covariances add, for every pair of components, in any order.

    ``out[o] = sum_i data[i] * kernel[o, i]``: data has the batch shape (I,), the kernel (O, I).
    """
    want = Mixture(*oracles.convolve(triple(data), triple(kernel)))
    assert_mixtures_close("elementwise", convolve(data, kernel), want.astype(data.dtype), any_order=True)


def convolution_multiplies_integrals(
    data: Mixture, kernel: Mixture, *, convolve: Convolve = convolve, integrate: Integrate = integrate
) -> None:
    """``integral of (data * kernel)[o] = sum_i integral of data[i] * integral of kernel[o, i]``."""
    got = integrate(convolve(data, kernel))
    d, k = asnumpy(data).weights.astype(np.float64), asnumpy(kernel).weights.astype(np.float64)
    want = np.einsum("...in,oim->...o", d, k)
    magnitude = np.einsum("...in,oim->...o", np.abs(d), np.abs(k))
    size = d.shape[-1] * d.shape[-2] * k.shape[-1]
    assert_close("sum", got, want, size=size, scale=magnitude, name="integrals")


def convolution_commutes(a: Mixture, b: Mixture, *, convolve: Convolve = convolve) -> None:
    """``a * b = b * a`` up to the order of components, for single mixtures (no batch, no channels)."""
    ab, ba = (convolve(channels(x, 1), channels(y, 2)) for x, y in ((a, b), (b, a)))
    assert_mixtures_close("elementwise", ab, ba, any_order=True)


def convolution_associates(a: Mixture, b: Mixture, c: Mixture, *, convolve: Convolve = convolve) -> None:
    """``(a * b) * c = a * (b * c)`` up to the order of components, for single mixtures."""
    left = convolve(convolve(channels(a, 1), channels(b, 2)), channels(c, 2))
    right = convolve(channels(a, 1), channels(convolve(channels(b, 1), channels(c, 2)), 1))
    assert_mixtures_close("sum", left, right, any_order=True)


def convolution_is_linear(a: Mixture, b: Mixture, kernel: Mixture, *, convolve: Convolve = convolve) -> None:
    """``(a + b) * k = a * k + b * k`` up to the order of components, for single mixtures."""
    together = convolve(channels(a + b, 1), channels(kernel, 2))
    apart = convolve(channels(a, 1), channels(kernel, 2)) + convolve(channels(b, 1), channels(kernel, 2))
    assert_mixtures_close("elementwise", together, apart, any_order=True)


def convolution_adds_moments(a: Mixture, b: Mixture, *, convolve: Convolve = convolve) -> None:
    """Means and covariances of the factors add, for single mixtures of any sign.

    Written for integrals of x and x x^T, which exist even where the integral is 0: with m = integral of f,
    ``m1 = a1 b0 + a0 b1`` and ``m2 = a2 b0 + a1 b1^T + b1 a1^T + a0 b2``.
    """
    together = asnumpy(convolve(channels(a, 1), channels(b, 2)))[0]
    got = oracles.moments(*triple(together))
    (a0, a1, a2), (b0, b1, b2) = (oracles.moments(*triple(x)) for x in (a, b))
    want = a0 * b0, a1 * b0 + a0 * b1, a2 * b0 + np.outer(a1, b1) + np.outer(b1, a1) + a0 * b2
    mass = np.abs(together.weights.astype(np.float64)).sum()
    radius = np.max(np.abs(together.means), initial=0.0)
    units = 1.0, radius, radius**2 + np.max(np.abs(together.covariances), initial=0.0)
    for order in range(3):
        moment = np.asarray(got[order], together.dtype)  # summed in float64; convolution rounded to this
        scale = mass * units[order] + np.finfo(np.float64).tiny
        size = together.n_components
        assert_close(
            "moments", moment, np.asarray(want[order]), size=size, scale=scale, name=f"moment {order}"
        )


def convolution_with_a_point_translates(m: Mixture, shift: Array, *, convolve: Convolve = convolve) -> None:
    """A kernel of weight 1, mean t and hardly any extent moves a single mixture by t."""
    xp = namespace(m.weights)
    # Small enough to vanish beside any covariance, and still a normal number in float32.
    tiny = xp.eye(m.dim, dtype=m.dtype)[None] * 1e-30
    t = xp.asarray(shift, dtype=m.dtype)
    point = Mixture(xp.ones((1,), dtype=m.dtype), t[None], tiny)
    got = convolve(channels(m, 1), channels(point, 2))
    assert_mixtures_close("elementwise", got, channels(moved(m, t), 1), any_order=True)


def convolution_follows_translation(
    data: Mixture, kernel: Mixture, shift: Array, *, convolve: Convolve = convolve
) -> None:
    """Moving the data, or moving the kernel, moves the result."""
    want = moved(convolve(data, kernel), shift)
    assert_mixtures_close("sum", convolve(moved(data, shift), kernel), want)
    assert_mixtures_close("sum", convolve(data, moved(kernel, shift)), want)


def convolution_ignores_absent(
    data: Mixture, kernel: Mixture, value: float = 0.0, *, convolve: Convolve = convolve
) -> None:
    """Absent components of either factor give absent components, or none, whatever else they hold."""
    got = convolve(padded(data, 2, value), padded(kernel, 1, value))
    assert_mixtures_close("elementwise", got, convolve(data, kernel), any_order=True)


def convolution_is_that_of_samples(
    a: Mixture, b: Mixture, radius: float, n: int, *, convolve: Convolve = convolve
) -> None:
    """Single mixtures sampled at ``(2n + 1)^K`` points of [-radius, radius]^K and convolved by FFT agree."""
    points, want = oracles.convolve_on_grid(triple(a), triple(b), radius, n)
    near = np.all(np.abs(points) < radius / 3, axis=-1)
    c = asnumpy(convolve(channels(a, 1), channels(b, 2)))[0]
    assert_close("quadrature", oracles.evaluate(*triple(c), points[near]), want[near])

"""fit_transfer: its gradient, and the derivatives of the transfer functions."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.autograd import arrays, check_vjp
from gmengine.errors import ArgumentError
from gmengine.ops import transfer
from gmengine.ops.fit_transfer import fit_transfer
from gmengine.testing import assert_close, laws, pull_back
from gmengine.testing import strategies as gms

TRANSFERS = [
    transfer.identity,
    transfer.relu,
    transfer.leaky_relu(0.1),
    transfer.softplus(3.0),
    transfer.tanh,
    transfer.elu(0.5),
]


def away_from_zero(n):
    x = np.random.default_rng(1).uniform(0.01, 4.0, n)
    return np.concatenate([x, -x])


@pytest.mark.parametrize("phi", TRANSFERS, ids=repr)
def test_derivatives_are_those_of_the_functions(phi):
    check_vjp(phi, away_from_zero(20), n_directions=3)


@pytest.mark.parametrize("phi", TRANSFERS, ids=repr)
def test_functions_neither_overflow_nor_change_the_dtype(phi):
    x = np.array([-1e30, -100.0, 0.0, 100.0, 1e30], np.float32)
    for f in (phi, phi.derivative):
        y = f(x)
        assert y.dtype == np.float32
        assert np.all(np.isfinite(y))


def test_parameters_out_of_range_are_named():
    for make in (transfer.softplus, transfer.elu):
        for bad in (0.0, -1.0, np.inf):
            with pytest.raises(ArgumentError, match="transfer"):
                make(bad)
    with pytest.raises(ArgumentError, match="slope"):
        transfer.leaky_relu(np.nan)


@pytest.mark.parametrize("phi", TRANSFERS, ids=repr)
@pytest.mark.parametrize("relative", [True, False])
def test_the_gradient_is_that_of_finite_differences(phi, relative):
    m = gms.random_mixture(2, (3,), 6, 2, absent=0.2)
    bias = np.array([-0.05, 0.02, 0.3])
    check_vjp(lambda m, c: fit_transfer(m, phi, c, (0.1, 0.05, 0.05), relative), m, bias, rng=3)
    check_vjp(lambda m: fit_transfer(m, phi, relative=relative), m, rng=4)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_the_gradient_is_right_in_every_dimension(dim):
    m = gms.random_mixture(5, (2,), 5, dim, absent=0.2)
    bias = np.array([-0.05, 0.3])
    check_vjp(lambda m, c: fit_transfer(m, transfer.softplus(), c), m, bias, rng=6)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (2, 3)])
def test_the_gradient_of_the_bias_sums_over_broadcast_axes(shape):
    m, bias = gms.random_mixture(7, (2, 3), 5, 2), np.random.default_rng(8).uniform(-0.2, 0.2, shape)
    check_vjp(lambda m, c: fit_transfer(m, transfer.tanh, c), m, bias, rng=9)


def test_a_learnt_slope_has_a_gradient():
    m, slope = gms.random_mixture(10, (2,), 6, 2), np.array(0.2)

    def fit(m, slope):
        def phi(x):
            return arrays.add(arrays.maximum(x, 0.0), arrays.multiply(slope, arrays.minimum(x, 0.0)))

        return fit_transfer(m, phi, 0.1)

    check_vjp(fit, m, slope, rng=11)
    assert_close(
        "solve", fit(m, slope).weights, fit_transfer(m, transfer.leaky_relu(0.2), 0.1).weights, size=6
    )


def test_the_gradient_where_values_are_far_below_the_bias_is_that_of_the_linear_function():
    m = gms.random_mixture(12, (2,), 5, 2) * 1e-9
    phi, c = transfer.softplus(2.0), 0.3
    slope = float(phi.derivative(np.array(c)))
    linear = transfer.Transfer(lambda x: slope * x, lambda x: slope * np.ones_like(x), "linear")
    (got, (grads,)), (want, (wants,)) = (
        pull_back(lambda m, f=f: fit_transfer(m, f, c), m) for f in (phi, linear)
    )
    assert_close("quadrature", got.weights, want.weights, scale=100 * np.max(np.abs(want.weights)))
    assert_close("quadrature", grads.weights, wants.weights, scale=100 * np.max(np.abs(wants.weights)))


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e3])
@pytest.mark.parametrize("relative", [True, False])
def test_absent_components_have_gradient_exactly_zero(garbage, relative):
    m = laws.padded(gms.random_mixture(13, (2,), 5, 2), 3, garbage)
    _, (grads, _) = pull_back(
        lambda m, c: fit_transfer(m, transfer.softplus(), c, (0.1, 0.1, 0.1), relative).weights,
        m,
        np.array([-0.1, 0.2]),
    )
    for g in grads.arrays:
        assert_close("exact", g[:, 5:], np.zeros_like(g[:, 5:]))


def test_a_mixture_of_absent_components_has_gradient_zero():
    m = gms.random_mixture(14, (2,), 4, 2, degenerate="all_absent")
    _, grads = pull_back(lambda m, c: fit_transfer(m, transfer.tanh, c).weights, m, np.array([-0.1, 0.2]))
    for g in (*grads[0].arrays, grads[1]):
        assert_close("exact", g, np.zeros_like(g))


def test_covariance_gradients_are_symmetric():
    _, (grads,) = pull_back(
        lambda m: fit_transfer(m, transfer.tanh).weights, gms.random_mixture(15, (), 7, 3)
    )
    assert_close("sum", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


@pytest.mark.parametrize("phi", [transfer.leaky_relu(0.1), transfer.softplus(3.0)], ids=repr)
@pytest.mark.parametrize("dim", [2, 3])
def test_single_precision_agrees_with_double(phi, dim):
    m, bias = gms.random_mixture(16, (2,), 60, dim, condition=100.0), np.array([-0.0625, 0.125])
    want, (want_m, want_bias) = pull_back(lambda m, c: fit_transfer(m, phi, c), m, bias, rng=17)
    got, (got_m, got_bias) = pull_back(
        lambda m, c: fit_transfer(m, phi, c), m.astype("float32"), bias.astype(np.float32), rng=17
    )
    assert_close("solve", got.weights, want.weights, size=60, condition=100.0)
    for name in ("weights", "means", "covariances"):
        a, b = getattr(got_m, name), getattr(want_m, name)
        assert_close("gradient", a, b, size=60, condition=100.0, name=name)
    assert_close("gradient", got_bias, want_bias, size=60, condition=100.0, name="bias")


def test_repeated_calls_give_the_same_bits():
    m, bias = gms.random_mixture(18, (4,), 200, 2), np.full(4, 0.01)
    (a, grads_a), (b, grads_b) = (
        pull_back(lambda m, c: fit_transfer(m, transfer.tanh, c), m, bias) for _ in range(2)
    )
    assert_close("exact", a.weights, b.weights)
    for x, y in zip((*grads_a[0].arrays, grads_a[1]), (*grads_b[0].arrays, grads_b[1]), strict=True):
        assert_close("exact", x, y)

"""kl_monte_carlo, kl_variational, kl_upper_bound."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.affine import affine
from gmengine.ops.divergence import kl_monte_carlo, kl_upper_bound, kl_variational
from gmengine.ops.log_density import log_density
from gmengine.ops.sample import sample
from gmengine.testing import assert_close, laws, oracles, pull_back, tolerance
from gmengine.testing import strategies as gms

SIGMAS = 4.0
"""How many standard errors an estimate may be off."""

CLOSED = [kl_variational, kl_upper_bound]
ALL = [*CLOSED, lambda a, b: kl_monte_carlo(a, b, 50, 1).value]
AXIS = np.linspace(-12.0, 12.0, 2001)
ROUNDING = tolerance("solve", "float64", 100, 100.0)


def density(seed, batch=(), n=4, dim=2, **options):
    return gms.random_mixture(seed, batch, n, dim, signed=False, **options)


def gaussian_kl(a, i, b, j):
    """Return KL(a_i || b_j) by the textbook."""
    c, d = np.float64(a.covariances[i]), np.float64(b.covariances[j])
    gap = np.float64(a.means[i]) - np.float64(b.means[j])
    precision = np.linalg.inv(d)
    logs = np.log(np.linalg.det(d)) - np.log(np.linalg.det(c))
    return 0.5 * (np.trace(precision @ c) + gap @ precision @ gap - len(gap) + logs)


def by_quadrature(a, b):
    """Return KL of two one-dimensional mixtures, each divided by its integral."""
    f, g = (oracles.evaluate(*m.arrays, AXIS[:, None]) / m.weights.sum() for m in (a, b))
    some = f > 1e-280
    return np.sum(f[some] * np.log(f[some] / g[some])) * (AXIS[1] - AXIS[0])


def variational_by_loops(a, b):
    pi, omega = a.weights / a.weights.sum(), b.weights / b.weights.sum()
    live_a, live_b = oracles.present(pi), oracles.present(omega)
    total = 0.0
    for i in live_a:
        above = sum(pi[k] * np.exp(-gaussian_kl(a, i, a, k)) for k in live_a)
        below = sum(omega[j] * np.exp(-gaussian_kl(a, i, b, j)) for j in live_b)
        total += pi[i] * np.log(above / below)
    return total


def bound_by_loops(a, b, iterations):
    """Alternate psi and phi as Hershey and Olsen write them, and return their bound."""
    live_a, live_b = oracles.present(a.weights), oracles.present(b.weights)
    pi, omega = (w[live] / w.sum() for w, live in ((a.weights, live_a), (b.weights, live_b)))
    kl = np.array([[gaussian_kl(a, i, b, j) for j in live_b] for i in live_a])
    phi = psi = np.outer(pi, omega)
    for _ in range(iterations):
        phi = psi * np.exp(-kl)
        phi *= (pi / phi.sum(1))[:, None]
        psi = phi * omega / phi.sum(0)
    return np.sum(phi * (np.log(phi / psi) + kl))


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_estimate_is_the_integral_within_its_standard_error(backend, seed):
    a, b = density(seed, (), 4, 1, absent=0.2), density(seed + 10, (), 3, 1)
    got = kl_monte_carlo(backend.asarray(a), backend.asarray(b), 4_000, seed)
    assert abs(float(got.value) - by_quadrature(a, b)) <= SIGMAS * float(got.standard_error)


def test_the_estimate_is_the_mean_over_sampled_points_with_its_unbiased_standard_error():
    a, b = density(31, (2,)), density(32)
    x = sample(a, 50, 33)
    gaps = log_density(a, x) - np.log(a.weights.sum(-1))[:, None]
    gaps -= log_density(b, x) - np.log(b.weights.sum(-1))
    got = kl_monte_carlo(a, b, 50, 33)
    assert_close("sum", got.value, gaps.mean(-1), size=50)
    assert_close("sum", got.standard_error, gaps.std(-1, ddof=1) / np.sqrt(50), size=50)


def test_the_standard_error_is_the_spread_of_estimates():
    a, b = density(1), density(2)
    estimates = [kl_monte_carlo(a, b, 100, seed) for seed in range(300)]
    spread = np.std([e.value for e in estimates], ddof=1)
    claimed = np.mean([e.standard_error for e in estimates])
    assert abs(spread / claimed - 1.0) <= SIGMAS / np.sqrt(2 * 300)


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_the_approximation_is_that_of_the_formula(backend, dim):
    a, b = density(3, (), 5, dim, absent=0.2), density(4, (), 4, dim, absent=0.2)
    got = backend.asnumpy(kl_variational(backend.asarray(a), backend.asarray(b)))
    assert_close("solve", got, np.array(variational_by_loops(a, b)), size=5, condition=100.0)


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_bound_is_that_of_the_alternation(backend, dim, iterations):
    a, b = density(5, (), 5, dim, absent=0.2), density(6, (), 4, dim, absent=0.2)
    got = backend.asnumpy(kl_upper_bound(backend.asarray(a), backend.asarray(b), iterations))
    assert_close("solve", got, np.array(bound_by_loops(a, b, iterations)), size=20, condition=100.0)


@given(st.data())
def test_no_estimate_is_above_the_bound_by_more_than_its_error(data):
    dim = data.draw(gms.dims)
    a, b = (data.draw(gms.mixtures(batch=(), dim=dim, signed=False, max_condition=30.0)) for _ in range(2))
    estimate, bound = kl_monte_carlo(a, b, 300, data.draw(gms.seeds)), kl_upper_bound(a, b)
    assert estimate.value - SIGMAS * estimate.standard_error <= bound + ROUNDING


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_is_above_the_integral_and_falls_with_every_iteration(seed):
    a, b = density(seed, (), 3, 1), density(seed + 20, (), 3, 1)
    bounds = [float(kl_upper_bound(a, b, n)) for n in (1, 2, 4, 8, 16, 64, 512)]
    assert all(later <= earlier + ROUNDING for earlier, later in pairwise(bounds))
    assert by_quadrature(a, b) <= bounds[-1]
    # The problem is convex: in the end no pairing of components, a possible phi and psi, is better.
    pi, omega = a.weights / a.weights.sum(), b.weights / b.weights.sum()
    for order in permutations(range(3)):
        paired = sum(
            pi[i] * (gaussian_kl(a, i, b, j) + np.log(pi[i] / omega[j])) for i, j in enumerate(order)
        )
        assert bounds[-1] <= paired


@pytest.mark.parametrize("fn", CLOSED)
def test_single_gaussians_are_exact(fn):
    a, b = density(7, (), 1, 3), density(8, (), 1, 3)
    assert_close("solve", fn(a, b), np.array(gaussian_kl(a, 0, b, 0)), size=9, condition=100.0)


def test_a_mixture_does_not_diverge_from_itself():
    a = density(9, (2,), 4, absent=0.2)
    for m in (a, a * 3.0, laws.permuted(a, [2, 0, 3, 1])):
        assert_close("sum", kl_variational(a, m), np.zeros(2), size=16, scale=1.0)
        assert_close("sum", kl_monte_carlo(a, m, 20, 1).value, np.zeros(2), size=16, scale=1.0)
    apart = Mixture(a.weights, 100.0 * a.means, a.covariances)
    assert_close("sum", kl_upper_bound(apart, apart), np.zeros(2), size=16, scale=1.0)
    many, few = (kl_upper_bound(a, a, n) for n in (200, 2))
    assert np.all((many >= -ROUNDING) & (many < few))


@pytest.mark.parametrize("fn", ALL)
def test_integrals_and_the_choice_of_coordinates_do_not_matter(fn):
    a, b = density(10, (2,), 4, absent=0.2), density(11, (), 3)
    want = fn(a, b)
    assert_close("sum", fn(a * 3.0, b * 0.25), want, size=16)
    matrix = np.array([[2.0, 0.5], [0.0, 0.5]])  # lower or upper: the map of z changes, but not its law
    if fn in CLOSED:
        assert_close("solve", fn(affine(a, matrix, 3.0), affine(b, matrix, 3.0)), want, size=4, condition=1e3)


@pytest.mark.parametrize("fn", ALL)
def test_mixtures_far_apart_are_finite(fn):
    a = density(12, (), 3, dtype="float32")
    b = Mixture(a.weights, a.means + np.float32(1e4), a.covariances)
    value = fn(a, b)
    assert value.dtype == np.float32
    assert 1e7 < value < 1e10


@pytest.mark.parametrize("fn", ALL)
@pytest.mark.parametrize(("of_a", "of_b"), [((), (3,)), ((2, 1), (3,)), ((2, 3), ()), ((0,), (1,))])
def test_batches_broadcast(backend, fn, of_a, of_b):
    a, b = density(13, of_a, 3), density(14, of_b, 2)
    got = backend.asnumpy(fn(backend.asarray(a), backend.asarray(b)))
    full = np.broadcast_shapes(of_a, of_b)
    assert got.shape == full
    if fn in CLOSED:
        a, b = a.broadcast_to(full), b.broadcast_to(full)
        for i in np.ndindex(*full):
            assert_close("sum", got[i], fn(a[i], b[i]), size=9)


def test_a_seed_gives_the_same_estimate():
    a, b = density(15), density(16)
    first, again, other = (kl_monte_carlo(a, b, 50, rng) for rng in (1, np.random.default_rng(1), 2))
    assert first == again
    assert first.value != other.value


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_gradients_are_those_of_finite_differences(dim):
    a, b = density(17, (2,), 5, dim, absent=0.3), density(18, (3, 1), 5, dim, absent=0.3)
    check_vjp(kl_variational, a, b)
    check_vjp(kl_upper_bound, a, b)

    def estimate(means, covariances, b):
        return kl_monte_carlo(Mixture(a.weights, means, covariances), b, 9, 19).value

    check_vjp(estimate, a.means, a.covariances, b, symmetric=(1,))


def test_the_estimated_gradient_of_the_weights_is_that_of_the_integral():
    a, b = density(20, (), 3, 1), density(21, (), 3, 1)
    cotangent = [np.ones(()), np.zeros(())]
    estimates = np.array(
        [
            pull_back(lambda a, r=r: kl_monte_carlo(a, b, 200, r), a, cotangent=cotangent)[1][0].weights
            for r in range(200)
        ]
    )
    for i in range(3):
        step = np.where(np.arange(3) == i, 1e-5, 0.0)
        ahead, behind = (by_quadrature(Mixture(a.weights + s * step, *a.arrays[1:]), b) for s in (1, -1))
        error = estimates[:, i].std(ddof=1) / np.sqrt(len(estimates))
        assert abs(estimates[:, i].mean() - (ahead - behind) / 2e-5) <= SIGMAS * error


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30, np.nan])
@pytest.mark.parametrize("fn", ALL)
def test_absent_components_change_nothing_and_have_gradient_zero(fn, garbage):
    a, b = density(22, (2,)), density(23, (2,))
    got, grads = pull_back(fn, laws.padded(a, 3, garbage), laws.padded(b, 2, garbage))
    assert_close("sum", got, fn(a, b), size=16)
    for g in (*grads[0].arrays, *grads[1].arrays):
        assert_close("exact", g[:, 4:], np.zeros_like(g[:, 4:]))
    for g in grads:
        assert_close("exact", g.covariances, np.swapaxes(g.covariances, -1, -2))


@pytest.mark.parametrize("fn", CLOSED)
def test_single_precision_agrees_with_double(fn):
    a, b = density(24, (2,), 6, 3, condition=100.0), density(25, (2,), 5, 3, condition=100.0)
    want, wants = pull_back(fn, a, b)
    got, gots = pull_back(fn, a.astype("float32"), b.astype("float32"))
    assert_close("solve", got, want, size=6, condition=100.0)
    for got_m, want_m in zip(gots, wants, strict=True):
        for name in ("weights", "means", "covariances"):
            g, w = getattr(got_m, name), getattr(want_m, name)
            assert_close("gradient", g, w, size=30, condition=1e4, name=name)


# --- contract -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fn", ALL)
def test_what_is_no_density_is_named(fn):
    a = density(26, (2,))
    for weights, what in ((-0.5, "has the weight -0.5"), (0.0, "no present component")):
        bad = Mixture(a.weights.copy(), *a.arrays[1:])
        bad.weights[1] = weights
        for pair in ((a, bad), (bad, a)):
            with pytest.raises(ArgumentError, match=rf"kl_.*mixture \[1\].*{what}"):
                fn(*pair)
    flat = Mixture(a.weights, a.means, a.covariances.copy())
    flat.covariances[1, 2] = 0.0
    for pair in ((a, flat), (flat, a)):
        with pytest.raises(NotPositiveDefinite, match=r"kl_.*\[1, 2\]"):
            fn(*pair)


@pytest.mark.parametrize("fn", ALL)
def test_what_does_not_fit_is_named(fn):
    a = density(27, (2,))
    with pytest.raises(ShapeError, match=r"kl_.*2-D and 3-D"):
        fn(a, density(28, (2,), 3, 3))
    with pytest.raises(ShapeError, match=r"kl_.*broadcast"):
        fn(a, density(29, (3,)))
    with pytest.raises(DTypeError, match="kl_"):
        fn(a, a.astype("float32"))


def test_counts_below_the_least_are_refused():
    a = density(30)
    with pytest.raises(ArgumentError, match="n_samples >= 2"):
        kl_monte_carlo(a, a, 1)
    with pytest.raises(ArgumentError, match="iterations >= 1"):
        kl_upper_bound(a, a, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("fn", ALL)
def test_a_weight_that_is_not_finite_is_named(fn, value):
    a = density(31, (2,))
    bad = Mixture(a.weights.copy(), *a.arrays[1:])
    bad.weights[1, 2] = value
    for pair in ((a, bad), (bad, a)):
        with pytest.raises(NonFiniteError, match=r"kl_.*weight of component \[1, 2\]"):
            fn(*pair)


@pytest.mark.parametrize("n", [(0, 0), (0, 3), (3, 0), (3, 3)])
@pytest.mark.parametrize("fn", [*ALL, lambda a, b: kl_monte_carlo(a, b, 50, 1).standard_error])
def test_an_empty_batch_gives_no_divergence(fn, n):
    a, b = (density(32 + i, (0,), k, dtype="float32") for i, k in enumerate(n))
    got = fn(a, b)
    assert (got.shape, got.dtype) == ((0,), np.float32)
    if n[1]:
        assert fn(a, density(33, (1,), n[1], dtype="float32")).shape == (0,)
    else:
        with pytest.raises(ArgumentError, match="no present component"):
            fn(a, density(33, (1,), 0, dtype="float32"))


@pytest.mark.parametrize("fn", ALL)
def test_an_empty_batch_has_empty_gradients(fn):
    _, grads = pull_back(fn, density(34, (0,), 0), density(35, (0,), 3))
    assert [g.weights.shape for g in grads] == [(0, 0), (0, 3)]

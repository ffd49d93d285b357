"""relu_lstsq: its gradient, in full rank, in constant deficient rank, with a ridge, and with a held active set."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from gmengine.autograd import Primitive, Tape, check_vjp
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture
from gmengine.ops._densities import densities, densities_vjp
from gmengine.ops._least_squares import solution, solution_vjp, spectrum
from gmengine.ops._sample_points import constant_points
from gmengine.ops.relu_lstsq import relu_lstsq, relu_lstsq_p
from gmengine.testing import assert_close, laws, pull_back
from gmengine.testing import strategies as gms

BIAS = np.array([-0.05, 0.02, 0.3])


def fit_at(m, points, ridge=0.0, cutoff=None, non_negative=False):
    """Return ``(m, bias) -> weights`` that samples where `m` as given says, as gradients see it."""
    constant = constant_points(m, points, None, 0)

    def fit(m, bias):
        return relu_lstsq_p(
            *m.arrays,
            bias,
            constant=constant,
            use_means=isinstance(points, str) and points != "random",
            ridge=ridge,
            cutoff=cutoff,
            non_negative=non_negative,
        )[0]

    return fit


def near_the_means(m, n, rng=0):
    """Return n points (M, n, K), each by a component, so that A is well conditioned in any dimension."""
    rng = np.random.default_rng(rng)
    centres = np.where((m.weights != 0)[..., None], m.means, 0.0)[:, np.arange(n) % m.n_components]
    return centres + 0.3 * rng.standard_normal(centres.shape)


@Primitive
def solution_p(a, t, *, ridge, cutoff):
    return (solution(spectrum(a, ridge, cutoff), t),), (a, t, ridge, cutoff)


@solution_p.defvjp
def _(residuals, cotangents, needs):
    a, t, ridge, cutoff = residuals
    return solution_vjp(spectrum(a, ridge, cutoff), ridge, t, cotangents[0])


@Primitive
def densities_p(means, covariances, points):
    found = densities(means, covariances, points)
    return (found.values,), found


@densities_p.defvjp
def _(found, cotangents, needs):
    return densities_vjp(found, cotangents[0])


# --- the solution as a function of A and t ------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 4), (4, 4), (4, 7), (1, 3), (3, 1)])
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_the_solution_has_the_gradient_of_finite_differences(shape, ridge):
    rng = np.random.default_rng(1)
    a, t = rng.standard_normal((2, *shape)), rng.standard_normal((2, shape[0]))
    check_vjp(lambda a, t: solution_p(a, t, ridge=ridge, cutoff=np.full((2, 1), 1e-12))[0], a, t, rng=2)


@pytest.mark.parametrize("shape", [(9, 6), (6, 6), (6, 9)])
def test_the_gradient_is_right_where_singular_values_that_are_not_zero_are_dropped(shape):
    rng = np.random.default_rng(3)
    a, t = rng.standard_normal((2, *shape)), rng.standard_normal((2, shape[0]))
    s = np.linalg.svd(a, compute_uv=False)
    cutoff = np.sqrt(s[:, 2:3] * s[:, 3:4]) / s[:, :1]  # between the third and the fourth
    check_vjp(lambda a, t: solution_p(a, t, ridge=0.0, cutoff=cutoff)[0], a, t, rng=4)


@pytest.mark.parametrize("shape", [(9, 6), (6, 9)])
def test_in_constant_rank_the_gradient_is_that_of_golub_and_pereyra(shape):
    rng = np.random.default_rng(5)
    a = rng.standard_normal((shape[0], 3)) @ rng.standard_normal((3, shape[1]))
    t, g = rng.standard_normal(shape[0]), rng.standard_normal(shape[1])
    inverse = np.linalg.pinv(a)
    y, z = inverse @ t, inverse.T @ g
    want = -np.outer(z, y) + np.outer(t - a @ y, inverse @ z) + np.outer(inverse.T @ y, g - inverse @ (a @ g))
    decomposed = spectrum(a[None], 0.0, np.full((1, 1), 1e-12))
    got, got_t = solution_vjp(decomposed, 0.0, t[None], g[None])
    assert_close("gradient", got[0], want, size=9, condition=100.0)
    assert_close("gradient", got_t[0], z, size=9, condition=100.0)


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_densities_have_the_gradient_of_finite_differences(dim):
    m = gms.random_mixture(6, (2,), 4, dim)
    check_vjp(lambda m, x: densities_p(*m.arrays[1:], x)[0], m, near_the_means(m, 6), rng=7)


# --- the fit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, 1e-2])
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_the_gradient_is_that_of_finite_differences(dim, ridge):
    m = gms.random_mixture(8, (3,), 5, dim, absent=0.2)
    check_vjp(fit_at(m, "means", ridge=ridge), m, BIAS, rng=9)
    check_vjp(fit_at(m, near_the_means(m, 12), ridge=ridge), m, BIAS, rng=10)


@pytest.mark.parametrize("ridge", [0.0, 1e-2])
@pytest.mark.parametrize("points", ["means+random", "random"])
def test_random_points_are_constants_and_means_are_not(points, ridge):
    m = gms.random_mixture(11, (3,), 6, 2, absent=0.2)
    check_vjp(fit_at(m, points, ridge=ridge), m, BIAS, rng=12)


@pytest.mark.parametrize("ridge", [0.0, 1e-2])
def test_fewer_points_than_components_have_the_gradient_of_the_shortest_solution(ridge):
    m = gms.random_mixture(30, (3,), 6, 2)
    check_vjp(fit_at(m, near_the_means(m, 4), ridge=ridge), m, BIAS, rng=31)


@pytest.mark.parametrize("points", ["means", "means+random", "random"])
@pytest.mark.parametrize("ridge", [0.0, 1e-2])
def test_the_active_set_of_non_negative_weights_is_held(points, ridge):
    m = gms.random_mixture(13, (3,), 8, 2, absent=0.2)
    fit = fit_at(m, points, ridge=ridge, non_negative=True)
    assert np.count_nonzero(fit(m, BIAS)) < np.count_nonzero(m.weights)
    check_vjp(fit, m, BIAS, rng=14)


def test_dropped_singular_values_of_overlapping_components_are_differentiated_right():
    m = gms.random_mixture(15, (3,), 8, 1)
    check_vjp(fit_at(m, near_the_means(m, 20), cutoff=0.05), m, BIAS, rng=16, rtol=1e-5)


def test_components_that_stay_duplicates_have_the_gradient_of_constant_rank():
    m = gms.random_mixture(17, (3,), 4, 2)
    x = near_the_means(m, 15)

    def fit(m, bias):
        return relu_lstsq(m + m * 0.5, bias, points=x)

    check_vjp(lambda m, bias: fit(m, bias).weights, m, BIAS, rng=18)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1)])
def test_the_gradient_of_the_bias_sums_over_broadcast_axes(shape):
    m, bias = gms.random_mixture(19, (2, 3), 4, 2), np.random.default_rng(20).uniform(-0.2, 0.2, shape)
    check_vjp(relu_lstsq, m, bias, rng=21)


# --- what is exact ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
@pytest.mark.parametrize("options", [{}, {"ridge": 1e-3}, {"non_negative": True}], ids=str)
def test_absent_components_have_gradient_exactly_zero(garbage, options):
    m = laws.padded(gms.random_mixture(22, (3,), 5, 2), 3, garbage)
    for points in ("means", "random"):
        _, (grads, _) = pull_back(lambda m, c, p=points: relu_lstsq(m, c, p, **options).weights, m, BIAS)
        for g in grads.arrays:
            assert_close("exact", g[:, 5:], np.zeros_like(g[:, 5:]))


@pytest.mark.parametrize("n", [0, 4])
def test_mixtures_without_a_present_component_have_gradient_zero(n):
    m = gms.random_mixture(23, (3,), n, 2, degenerate="all_absent" if n else None)
    for points in ("means", "means+random"):
        _, grads = pull_back(lambda m, c, p=points: relu_lstsq(m, c, p).weights, m, BIAS)
        for g in (*grads[0].arrays, grads[1]):
            assert_close("exact", g, np.zeros_like(g))


def test_covariance_gradients_are_symmetric():
    _, (grads,) = pull_back(lambda m: relu_lstsq(m).weights, gms.random_mixture(24, (2,), 6, 3))
    assert_close("exact", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


@pytest.mark.parametrize("needed", ["weights", "means", "covariances", "bias"])
def test_each_input_can_be_the_only_one_that_needs_a_gradient(needed):
    m, names = gms.random_mixture(25, (3,), 5, 2), ("weights", "means", "covariances")

    def weights(part):
        fields = dict(zip(names, m.arrays, strict=True)) | {"bias": BIAS, needed: part}
        return relu_lstsq(Mixture(*(fields[k] for k in names)), fields["bias"]).weights

    _, (got,) = pull_back(weights, BIAS if needed == "bias" else getattr(m, needed), rng=26)
    _, (of_m, of_bias) = pull_back(lambda m, c: relu_lstsq(m, c).weights, m, BIAS, rng=26)
    assert_close("exact", got, of_bias if needed == "bias" else getattr(of_m, needed))


@pytest.mark.parametrize("options", [{}, {"ridge": 1e-3}, {"non_negative": True}], ids=str)
def test_gradients_in_single_precision_are_those_of_double_precision_rounded(options):
    m, bias = gms.random_mixture(27, (3,), 12, 2), BIAS.astype(np.float32).astype(np.float64)
    ct = np.random.default_rng(28).standard_normal((3, 12)).astype(np.float32)

    def fit(m, c):
        return relu_lstsq(m, c, "random", **options).weights

    _, (want, want_bias) = pull_back(fit, m, bias, cotangent=ct.astype(np.float64))
    _, (got, got_bias) = pull_back(fit, m.astype("float32"), bias.astype(np.float32), cotangent=ct)
    for a, b in zip((*got.arrays, got_bias), (*want.arrays, want_bias), strict=True):
        assert a.dtype == np.float32
        assert_close("elementwise", a, b)


def test_gradients_of_many_chunks_are_those_of_one(monkeypatch):
    m, bias = gms.random_mixture(29, (9,), 6, 2, absent=0.2), np.linspace(-0.2, 0.2, 9)

    def grads():
        _, (of_m, of_bias) = pull_back(lambda m, c: relu_lstsq(m, c, "means+random").weights, m, bias)
        return *of_m.arrays, of_bias

    want = grads()
    monkeypatch.setattr("gmengine.ops.relu_lstsq._CHUNK_ENTRIES", 1)
    for a, b in zip(grads(), want, strict=True):
        assert_close("gradient", a, b, size=12, condition=1e6)


@pytest.mark.parametrize("ridge", [0.0, 1e-2])
def test_arrays_of_any_library_are_served_alike(ridge):
    m = gms.random_mixture(32, (3,), 6, 2, absent=0.2)
    x, ct = near_the_means(m, 9), np.random.default_rng(33).standard_normal((3, 6))

    def fit_and_gradients(xp):
        tape = Tape()
        inputs = [tape.watch(xp.asarray(a)) for a in (*m.arrays, BIAS)]
        options = {"use_means": True, "ridge": ridge, "cutoff": None, "non_negative": False}
        (y,) = relu_lstsq_p(*inputs, constant=xp.asarray(x), **options)
        return [np.asarray(a) for a in (y.value, *tape.pull_back([y], inputs, [xp.asarray(ct)]))]

    for a, b in zip(fit_and_gradients(array_api_strict), fit_and_gradients(np), strict=True):
        assert_close("solve", a, b, size=15, condition=1e4)


def test_non_negative_weights_of_unequal_scale_have_the_gradient_of_their_own_problem():
    means = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    covariances = np.stack([1e-6 * np.eye(3), 1e6 * np.eye(3)])
    m = Mixture(np.array([1e-9, 1e9]), means, covariances)
    _, (slope,) = pull_back(lambda a: relu_lstsq(a, non_negative=True).weights[1:], m, cotangent=np.ones(1))
    eps = 1e3
    up, down = (
        relu_lstsq(Mixture(m.weights + np.array([0.0, d]), means, covariances), non_negative=True).weights[1]
        for d in (eps, -eps)
    )
    assert_close("quadrature", slope.weights[1:], np.array([(up - down) / (2.0 * eps)]))


def test_a_cutoff_has_no_meaning_for_non_negative_weights():
    m = Mixture.isotropic(np.ones(2), np.zeros((2, 1)), 1.0)
    with pytest.raises(ArgumentError, match="no cutoff with non_negative"):
        relu_lstsq(m, non_negative=True, cutoff=0.1)

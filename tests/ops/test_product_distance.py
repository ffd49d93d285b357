"""l2_distance: how far apart two functions are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from product_oracle import inner, magnitude, minus, precise_distance

from gmengine.autograd import check_vjp
from gmengine.mixture import Mixture
from gmengine.ops.affine import scale, translate
from gmengine.ops.product import l2_distance, product
from gmengine.testing import assert_close, laws, oracles, pull_back, tolerance
from gmengine.testing import strategies as gms


def close(got, want, a, b, condition=10.0):
    """Compare squared distances, whose errors are relative to the form of a - b with all signs positive."""
    c = minus(a, b)
    size = c.n_components**2
    assert_close("solve", np.asarray(got), want, size=size, condition=condition, scale=magnitude(c, c))


def changed(m, index, **by):
    """Return a copy of `m` whose component `index` has fields increased."""
    fields = [a.copy() for a in m.arrays]
    for name, increase in by.items():
        fields[("weights", "means", "covariances").index(name)][index] += increase
    return Mixture(*fields)


# --- values -------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_squared_distance_is_that_of_loops_over_pairs(backend, dtype, data):
    options = {"dim": data.draw(gms.dims), "batch": data.draw(gms.batches), "dtype": dtype, "absent": 0.2}
    a, b = (data.draw(gms.mixtures(**options, degenerate=True)) for _ in range(2))
    got = backend.asnumpy(l2_distance(backend.asarray(a), backend.asarray(b), squared=True))
    assert got.dtype == np.dtype(dtype)
    close(got, inner(minus(a, b), minus(a, b)), a, b)


@pytest.mark.parametrize("dim", [4, 5, 6])
def test_the_distance_has_the_same_formula_in_more_dimensions(backend, dim):
    a, b = gms.random_mixture(1, (2,), 4, dim, absent=0.2), gms.random_mixture(2, (2,), 3, dim)
    got = backend.asnumpy(l2_distance(backend.asarray(a), backend.asarray(b), squared=True))
    close(got, inner(minus(a, b), minus(a, b)), a, b)


@pytest.mark.parametrize("dim", [1, 2])
def test_the_distance_is_that_of_values_on_a_grid(backend, dim):
    a, b = (gms.random_mixture(seed, (2,), 5, dim) for seed in (3, 4))
    axis = np.linspace(-14, 14, 281)
    x = np.stack(np.meshgrid(*[axis] * dim), axis=-1).reshape(-1, dim)
    gap = oracles.evaluate(*a.arrays, x) - oracles.evaluate(*b.arrays, x)
    want = np.sqrt(np.sum(gap**2, axis=-1) * (axis[1] - axis[0]) ** dim)
    got = backend.asnumpy(l2_distance(backend.asarray(a), backend.asarray(b)))
    assert_close("quadrature", got, want)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (8, 9), (40, 60), (300, 200)])
def test_the_distance_is_made_of_three_products(backend, n, m):
    a, b = gms.random_mixture(5, (2,), n, 2), gms.random_mixture(6, (2,), m, 2)
    x, y = backend.asarray(a), backend.asarray(b)
    want = backend.asnumpy(product(x, x) - 2 * product(x, y) + product(y, y))
    unit = product(_absolute(a), _absolute(a)) + product(_absolute(b), _absolute(b))
    squared = backend.asnumpy(l2_distance(x, y, squared=True))
    assert_close("solve", squared, want, size=n * m, condition=10.0, scale=unit)
    assert_close("elementwise", backend.asnumpy(l2_distance(x, y)), np.sqrt(squared))


def _absolute(m):
    """Return all components, positive and at one place."""
    return Mixture(np.abs(m.weights), np.zeros_like(m.means), m.covariances)


@pytest.mark.parametrize(
    ("left", "right"), [((3,), ()), ((), (3,)), ((2, 1), (3,)), ((2, 3), (1, 3)), ((0,), ()), ((0, 2), (2,))]
)
def test_distances_broadcast_over_batches(backend, left, right):
    a, b = gms.random_mixture(7, left, 4, 2), gms.random_mixture(8, right, 3, 2)
    got = backend.asnumpy(l2_distance(backend.asarray(a), backend.asarray(b), squared=True))
    assert got.shape == np.broadcast_shapes(left, right)
    close(got, inner(minus(a, b), minus(a, b)), a, b)


# --- mixtures that are close --------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gap", [1e-2, 1e-6])
def test_a_change_of_one_weight_is_measured_to_the_last_digit(backend, dim, dtype, gap):
    a = gms.random_mixture(9, (), 20, dim, dtype=dtype)
    b = changed(a, 3, weights=np.array(gap, dtype))
    got = backend.asnumpy(l2_distance(backend.asarray(a), backend.asarray(b)))
    step = abs(float(b.weights[3]) - float(a.weights[3]))  # in float32 not quite `gap`
    want = step * np.sqrt(oracles.density(np.zeros(dim), np.zeros(dim), 2.0 * a.covariances[3].astype(float)))
    assert_close("elementwise", np.asarray(got), np.asarray(want))


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("field", ["means", "covariances"])
@pytest.mark.parametrize("gap", [1e-3, 1e-5])
@pytest.mark.parametrize("moving", [slice(3, 4), slice(None)], ids=["one", "all"])
def test_a_small_motion_is_measured_as_exactly_as_documented(backend, dim, field, gap, moving):
    a = gms.random_mixture(10, (), 6, dim, signed=False)
    b = changed(a, moving, **{field: gap})
    got = float(l2_distance(backend.asarray(a), backend.asarray(b)))
    want = precise_distance(a, b)
    c = minus(*(Mixture(*(x[moving] for x in m.arrays)) for m in (a, b)))
    allowed = tolerance("sum", "float64", c.n_components**2) * float(magnitude(c, c))
    assert abs(got**2 - want**2) <= allowed
    assert abs(got - want) <= allowed / want
    assert allowed < 0.01 * want**2, "the test must see the distance"


def test_close_mixtures_in_single_precision_have_the_distance_of_their_numbers(backend):
    a = gms.random_mixture(11, (), 15, 2, dtype="float32")
    moved = a.means.copy()
    moved[:, 0] = np.nextafter(moved[:, 0], np.float32(np.inf))
    b = Mixture(a.weights, moved, a.covariances)
    got = float(l2_distance(backend.asarray(a), backend.asarray(b)))
    assert (
        0.5 < got / precise_distance(a, b) < 2.0
    )  # a step of the last digit, 1e-7: noise in single precision


@given(st.data())
def test_the_distance_to_itself_is_exactly_zero(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(absent=0.2, degenerate=True)))
    zero = np.zeros(m.batch)
    for squared in (True, False):
        assert_close("exact", np.asarray(backend.asnumpy(l2_distance(m, m, squared=squared))), zero)


@given(st.data())
def test_the_distance_to_a_permuted_copy_is_noise(backend, data):
    m = data.draw(gms.mixtures(batch=(2,), absent=0.2))
    x = backend.asarray(m)
    other = laws.permuted(x, data.draw(st.permutations(range(m.n_components))))
    got = backend.asnumpy(l2_distance(x, other))
    noise = tolerance("solve", "float64", 4 * m.n_components**2, 10.0) * 4.0 * magnitude(m, m)
    assert np.all(got**2 <= noise)
    assert np.all(got >= 0.0)


# --- laws ---------------------------------------------------------------------------------------------------


@given(st.data())
def test_the_distance_is_symmetric_and_obeys_the_triangle_inequality(backend, data):
    dim = data.draw(gms.dims)
    a, b, c = (
        backend.asarray(data.draw(gms.mixtures(dim=dim, batch=(3,), absent=0.2, degenerate=True)))
        for _ in range(3)
    )
    ab, bc, ac, ba = (backend.asnumpy(l2_distance(x, y)) for x, y in ((a, b), (b, c), (a, c), (b, a)))
    assert np.all(ac <= ab + bc + 1e-7)
    assert_close("solve", ab**2, ba**2, size=144, condition=10.0, scale=magnitude(minus(a, b), minus(a, b)))


@given(st.data())
def test_the_distance_follows_factors_motions_and_scale(backend, data):
    dim, factor = data.draw(gms.dims), data.draw(gms.scalars(0.1, 10))
    a, b = (data.draw(gms.mixtures(dim=dim, batch=(2,))) for _ in range(2))
    x, y = backend.asarray(a), backend.asarray(b)
    want = backend.asnumpy(l2_distance(x, y, squared=True))
    close(backend.asnumpy(l2_distance(x * -factor, y * -factor, squared=True)) / factor**2, want, a, b)
    shift = backend.asarray(np.random.default_rng(data.draw(gms.seeds)).uniform(-2, 2, dim))
    moved = l2_distance(translate(x, shift), translate(y, shift), squared=True)
    close(backend.asnumpy(moved), want, a, b, 160.0)
    stretched = l2_distance(scale(x, factor), scale(y, factor), squared=True) * factor**dim
    close(backend.asnumpy(stretched), want, a, b, 40.0)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
def test_absent_components_do_not_change_a_distance(backend, garbage):
    a, b = (backend.asarray(gms.random_mixture(seed, (2,), 5, 2)) for seed in (12, 13))
    want = l2_distance(a, b)
    for x, y in ((laws.padded(a, 3, garbage), b), (a, laws.padded(b, 3, garbage))):
        assert_close("exact", l2_distance(x, y), want)
    assert_close("exact", l2_distance(laws.padded(a, 2, garbage), a), np.zeros(2))


def test_the_distance_to_a_mixture_without_components_is_the_norm(backend):
    a = gms.random_mixture(14, (2,), 5, 2)
    none = Mixture(a.weights[:, :0], a.means[:, :0], a.covariances[:, :0])
    x, y = backend.asarray(a), backend.asarray(none)
    want = np.sqrt(inner(a, a))
    for got in (l2_distance(x, y), l2_distance(y, x)):
        assert_close("sum", backend.asnumpy(got), want, size=25)
    assert_close("exact", backend.asnumpy(l2_distance(y, y)), np.zeros(2))


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_the_gradient_of_the_distance_is_that_of_finite_differences(dim, squared):
    a = gms.random_mixture(15, (2,), 5, dim, absent=0.2)
    b = gms.random_mixture(16, (2,), 4, dim, absent=0.2)
    check_vjp(lambda a, b: l2_distance(a, b, squared=squared), a, b, rng=17)


@pytest.mark.parametrize("squared", [False, True])
def test_components_that_coincide_have_the_gradient_of_finite_differences(squared):
    a = gms.random_mixture(18, (2,), 6, 2)
    b = changed(a, (slice(None), slice(0, 3)), weights=0.25)
    check_vjp(lambda a, b: l2_distance(a, b, squared=squared), a, b, rng=19)


@pytest.mark.parametrize(("left", "right"), [((2, 3), ()), ((), (3,)), ((2, 1), (1, 3)), ((2, 3), (3,))])
def test_the_gradient_of_a_distance_sums_over_broadcast_axes(left, right):
    check_vjp(l2_distance, gms.random_mixture(20, left, 4, 2), gms.random_mixture(21, right, 3, 2), rng=22)


@pytest.mark.parametrize("gap", [1e-6, 1e-12])
def test_a_small_change_of_one_weight_has_the_exact_gradient(gap):
    a = gms.random_mixture(23, (), 8, 2)
    b = changed(a, 3, weights=gap)
    _, (of_a, of_b) = pull_back(l2_distance, a, b, cotangent=1.0)
    norm = np.sqrt(oracles.density(np.zeros(2), np.zeros(2), 2.0 * a.covariances[3]))
    assert_close("elementwise", of_a.weights[3], np.asarray(-norm))
    assert_close("elementwise", of_b.weights[3], np.asarray(norm))
    assert_close("exact", of_a.means, -of_b.means)


@pytest.mark.parametrize("squared", [False, True])
def test_the_gradient_at_distance_zero_is_zero(squared):
    m = gms.random_mixture(24, (2,), 5, 2, absent=0.2)
    value, grads = pull_back(lambda a, b: l2_distance(a, b, squared=squared), m, m)
    assert_close("exact", value, np.zeros(2))
    for g in grads:
        for x in g.arrays:
            assert_close("exact", x, np.zeros_like(x))


def test_one_mixture_at_zero_leaves_the_gradients_of_the_others_alone():
    a, b = gms.random_mixture(25, (3,), 5, 2), gms.random_mixture(26, (3,), 5, 2)
    for x, y in zip(a.arrays, b.arrays, strict=True):
        y[1] = x[1]
    _, (got, _) = pull_back(l2_distance, a, b, cotangent=np.ones(3))
    for i in (0, 2):
        _, (want, _) = pull_back(l2_distance, a[i], b[i], cotangent=1.0)
        for x, y in zip(got[i].arrays, want.arrays, strict=True):
            assert_close("exact", x, y)
    for x in got[1].arrays:
        assert_close("exact", x, np.zeros_like(x))

"""evaluate: values of mixtures at points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.evaluate import evaluate
from gmengine.testing import assert_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

DATA = Path(__file__).parents[1] / "data"


def close_to_oracle(m, x, got, condition=10.0):
    scale = np.broadcast_to(laws.spread(m), got.shape)
    want = oracles.evaluate(*m.arrays, x)
    assert_close("solve", got, want, size=m.n_components, condition=condition, scale=scale)


# --- values -------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_of_scipy(backend, dtype, data):
    m = data.draw(gms.mixtures(dim=gms.dims_of(dtype), dtype=dtype, absent=0.2, degenerate=True))
    x = data.draw(gms.points(dim=m.dim, batch=m.batch, dtype=dtype))
    got = backend.asnumpy(evaluate(backend.asarray(m), backend.asarray(x)))
    assert got.dtype == np.dtype(dtype)
    close_to_oracle(m, x, got)


def test_four_dimensions_work_like_three(backend):
    m = gms.random_mixture(1, (2,), 5, 4, absent=0.2)
    x = np.random.default_rng(2).uniform(-2, 2, (2, 7, 4))
    close_to_oracle(m, x, backend.asnumpy(evaluate(backend.asarray(m), backend.asarray(x))))


@pytest.mark.parametrize("n_points", [1, 16, 17, 257, 321, 1000])
def test_any_number_of_points_fills_the_lanes(backend, n_points):
    m = gms.random_mixture(3, (), 600, 2)
    x = np.random.default_rng(4).uniform(-2, 2, (n_points, 2))
    close_to_oracle(m, x, backend.asnumpy(evaluate(backend.asarray(m), backend.asarray(x))))


@pytest.mark.parametrize(
    ("batch", "points_batch"),
    [
        ((), ()),
        ((3,), ()),
        ((), (3,)),
        ((2, 3), (1, 1)),
        ((2, 3), (3,)),
        ((2, 1), (1, 3)),
        ((0,), ()),
        ((0, 2), (2,)),
    ],
)
def test_batches_broadcast(backend, batch, points_batch):
    m = gms.random_mixture(5, batch, 4, 2)
    x = np.random.default_rng(6).uniform(-2, 2, (*points_batch, 5, 2))
    got = backend.asnumpy(evaluate(backend.asarray(m), backend.asarray(x)))
    assert got.shape == (*np.broadcast_shapes(batch, points_batch), 5)
    close_to_oracle(m, x, got)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_hard_conditioning_agrees_with_sixty_digits(backend, dim):
    m = gms.random_mixture(7, (), 6, dim, condition=1e6)
    x = np.concatenate([m.means, m.means + 0.01, np.random.default_rng(8).uniform(-2, 2, (4, dim))])
    got = backend.asnumpy(evaluate(backend.asarray(m), backend.asarray(x)))
    want = oracles.evaluate_precise(*m.arrays, x)
    assert_close("solve", got, want, size=6, condition=1e6, scale=laws.spread(m))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_points_are_zero_without_a_warning(backend, dtype):
    m = gms.random_mixture(9, (), 4, 2, dtype=dtype)
    x = np.array([[1e3, 0.0], [-1e10, 1e10], [0.0, 1e15]], dtype)
    assert_close(
        "exact", backend.asnumpy(evaluate(backend.asarray(m), backend.asarray(x))), np.zeros(3, dtype)
    )


def test_the_integral_over_a_grid_is_the_sum_of_weights(backend):
    m = gms.random_mixture(10, (2,), 5, 2)
    axis = np.linspace(-10, 10, 161)
    x = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    values = backend.asnumpy(evaluate(backend.asarray(m), backend.asarray(x)))
    cell = (axis[1] - axis[0]) ** 2
    assert_close("quadrature", values.sum(-1) * cell, oracles.integrate(m.weights), scale=1.0)


@pytest.mark.parametrize("case", ["", "shared_", "centroid_"])
@pytest.mark.parametrize("dim", [2, 3])
def test_values_and_gradients_match_the_original_code(dim, case):
    with np.load(DATA / f"evaluate_k{dim}_f64.npz") as file:
        golden = dict(file)
    m = Mixture(golden["weights"], golden["positions"], golden["covariances"])
    ct = golden[f"{case}cotangent"]
    if case == "centroid_":
        (values, (grads,)) = pull_back(lambda m: evaluate(m, m.means), m, cotangent=ct)
    else:
        values, (grads, grad_points) = pull_back(evaluate, m, golden[f"{case}points"], cotangent=ct)
        assert_close("golden", grad_points, golden[f"{case}grad_points"])
    assert_close("golden", values, golden[f"{case}values"])
    assert_close("golden", grads.weights, golden[f"{case}grad_weights"])
    assert_close("golden", grads.means, golden[f"{case}grad_positions"])
    assert_close("golden", grads.covariances, golden[f"{case}grad_covariances"])


# --- laws ---------------------------------------------------------------------------------------------------


@given(st.data())
def test_the_value_is_linear_in_the_function(backend, data):
    dim = data.draw(gms.dims)
    a, b = (backend.asarray(data.draw(gms.mixtures(dim=dim, batch=(2,), absent=0.2))) for _ in range(2))
    x = backend.asarray(data.draw(gms.points(dim=dim)))
    laws.evaluation_is_linear(a, b, x, data.draw(gms.scalars(-3, 3)))


@given(st.data())
def test_the_value_ignores_the_order_of_components(backend, data):
    m = data.draw(gms.mixtures(degenerate=True))
    x = data.draw(gms.points(dim=m.dim))
    order = data.draw(st.permutations(range(m.n_components)))
    laws.evaluation_ignores_order(backend.asarray(m), order, backend.asarray(x))


@given(st.data())
def test_the_value_follows_translation_scale_and_rotation(backend, data):
    dim = data.draw(gms.dims)
    m = backend.asarray(data.draw(gms.mixtures(dim=dim)))
    x, shift = (backend.asarray(data.draw(gms.points(dim=dim, n_points=n))) for n in (4, 1))
    rotation, _ = np.linalg.qr(np.random.default_rng(data.draw(gms.seeds)).standard_normal((dim, dim)))
    laws.evaluation_follows_translation(m, shift[0], x)
    laws.evaluation_follows_scale(m, data.draw(gms.scalars(0.1, 10)), x)
    laws.evaluation_follows_rotation(m, rotation, x)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
def test_absent_components_are_never_read(backend, garbage):
    m = gms.random_mixture(11, (2,), 5, 2)
    x = backend.asarray(np.random.default_rng(12).uniform(-2, 2, (6, 2)))
    got = evaluate(laws.padded(backend.asarray(m), 3, garbage), x)
    assert_close("exact", got, evaluate(backend.asarray(m), x))


def test_a_mixture_of_absent_components_is_zero(backend):
    m = gms.random_mixture(13, (2,), 3, 2, degenerate="all_absent")
    got = backend.asnumpy(evaluate(backend.asarray(m), backend.asarray(np.zeros((4, 2)))))
    assert_close("exact", got, np.zeros((2, 4)))


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_the_gradient_is_that_of_finite_differences(dim):
    m = gms.random_mixture(14, (2,), 5, dim, absent=0.2)
    x = np.random.default_rng(15).uniform(-2, 2, (2, 6, dim))
    check_vjp(evaluate, m, x, rng=16)


@pytest.mark.parametrize(
    ("batch", "points_batch"), [((2, 3), ()), ((), (3,)), ((2, 1), (1, 3)), ((2, 3), (3,))]
)
def test_the_gradient_sums_over_broadcast_axes(batch, points_batch):
    m = gms.random_mixture(17, batch, 4, 2)
    x = np.random.default_rng(18).uniform(-2, 2, (*points_batch, 5, 2))
    check_vjp(evaluate, m, x, rng=19)


def test_the_gradient_of_evaluation_at_the_own_means_has_both_parts():
    check_vjp(lambda m: evaluate(m, m.means), gms.random_mixture(20, (2,), 6, 3), rng=21)


def test_many_points_and_components_have_the_gradient_of_finite_differences():
    x = np.random.default_rng(41).uniform(-2, 2, (1000, 2))
    check_vjp(evaluate, gms.random_mixture(42, (), 600, 2), x, rng=43)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_points_have_gradient_zero(dtype):
    m = gms.random_mixture(44, (), 4, 2, dtype=dtype)
    x = np.array([[1e3, 0.0], [-1e10, 1e10], [0.0, 1e20], [1e30, -1e30]], dtype)
    _, (grads, grad_points) = pull_back(evaluate, m, x)
    for g in (*grads.arrays, grad_points):
        assert_close("exact", g, np.zeros_like(g))


def test_each_input_can_be_the_only_one_that_needs_a_gradient():
    m = gms.random_mixture(22, (2,), 5, 2)
    x = np.random.default_rng(23).uniform(-2, 2, (2, 6, 2))
    _, (all_of_m, of_x) = pull_back(evaluate, m, x, rng=24)
    for k, name in enumerate(("weights", "means", "covariances")):
        parts = list(m.arrays)

        def only(part, parts=parts, k=k):
            return evaluate(Mixture(*parts[:k], part, *parts[k + 1 :]), x)

        _, (got,) = pull_back(only, parts[k], rng=24)
        assert_close("sum", got, getattr(all_of_m, name), name=name)
    _, (got,) = pull_back(lambda x: evaluate(m, x), x, rng=24)
    assert_close("sum", got, of_x)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e3])
def test_absent_components_have_gradient_exactly_zero(garbage):
    m = laws.padded(gms.random_mixture(25, (2,), 5, 2), 3, garbage)
    x = np.random.default_rng(26).uniform(-2, 2, (6, 2))
    _, (grads, _) = pull_back(evaluate, m, x)
    for g in grads.arrays:
        assert_close("exact", g[:, 5:], np.zeros_like(g[:, 5:]))


def test_covariance_gradients_are_symmetric():
    m, x = gms.random_mixture(27, (), 5, 3), np.random.default_rng(28).uniform(-2, 2, (6, 3))
    _, (grads, _) = pull_back(evaluate, m, x)
    assert_close("exact", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


@pytest.mark.parametrize("condition", [1e1, 1e4])
@pytest.mark.parametrize("dim", [2, 3])
def test_single_precision_agrees_with_double(dim, condition):
    m = gms.random_mixture(29, (2,), 40, dim, condition=condition)
    x = np.random.default_rng(30).uniform(-2, 2, (2, 50, dim)).astype(np.float32).astype(np.float64)
    want, wants = pull_back(evaluate, m, x, rng=31)
    got, gots = pull_back(evaluate, m.astype("float32"), x.astype(np.float32), rng=31)
    assert_close("solve", got, want, size=40, condition=condition, scale=laws.spread(m))
    for name in ("weights", "means", "covariances"):
        g, w = getattr(gots[0], name), getattr(wants[0], name)
        assert_close("gradient", g, w, size=50, condition=condition, name=name)
    assert_close("gradient", gots[1], wants[1], size=40, condition=condition, name="points")


# --- contract -----------------------------------------------------------------------------------------------


def test_inputs_are_not_changed_and_need_not_be_contiguous():
    m = gms.random_mixture(32, (3,), 5, 2)
    x = np.random.default_rng(33).uniform(-2, 2, (3, 6, 2))
    strided = Mixture(*(np.asfortranarray(a) for a in m.arrays))
    x_strided = np.asfortranarray(x)
    before = [a.copy() for a in (*strided.arrays, x_strided)]
    got, gots = pull_back(evaluate, strided, x_strided)
    want, wants = pull_back(evaluate, m, x)
    assert_close("exact", got, want)
    for a, b in zip((*gots[0].arrays, gots[1]), (*wants[0].arrays, wants[1]), strict=True):
        assert_close("exact", a, b)
    for a, b in zip((*strided.arrays, x_strided), before, strict=True):
        assert_close("exact", a, b)


def test_read_only_inputs_are_accepted():
    m, x = gms.random_mixture(34, (2,), 3, 2), np.zeros((1, 2))
    for a in (*m.arrays, x):
        a.flags.writeable = False
    pull_back(evaluate, m, x)


def test_repeated_calls_give_the_same_bits():
    m, x = gms.random_mixture(35, (2,), 40, 3), np.random.default_rng(36).uniform(-2, 2, (300, 3))
    (a, (ga, gxa)), (b, (gb, gxb)) = pull_back(evaluate, m, x), pull_back(evaluate, m, x)
    for p, q in zip((a, gxa, *ga.arrays), (b, gxb, *gb.arrays), strict=True):
        assert_close("exact", p, q)


def test_wrong_shapes_are_named():
    m = gms.random_mixture(37, (2,), 3, 2)
    for x in (np.zeros((4, 3)), np.zeros(2), np.zeros((3, 4, 2))):
        with pytest.raises(ShapeError, match="evaluate"):
            evaluate(m, x)


def test_mixed_dtypes_are_refused():
    with pytest.raises(DTypeError, match=r"evaluate.*float32"):
        evaluate(gms.random_mixture(38, (), 3, 2), np.zeros((4, 2), np.float32))


@pytest.mark.parametrize("field", ["weights", "means", "covariances"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_an_error_that_names_the_component(field, value):
    m = gms.random_mixture(39, (2, 2), 3, 2)
    getattr(m, field)[1, 0, 2] = value
    with pytest.raises(NonFiniteError, match=r"evaluate.*\[1, 0, 2\]"):
        evaluate(m, np.zeros((4, 2)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_covariance_that_is_not_positive_definite_is_an_error_with_its_eigenvalue(dim, dtype):
    m = gms.random_mixture(40, (2, 2), 3, dim, dtype=dtype)
    m.covariances[1, 0, 2] = np.diag([1.0, 2.0, -0.25][-dim:])
    with pytest.raises(NotPositiveDefinite, match=r"evaluate.*\[1, 0, 2\].*-0\.25"):
        evaluate(m, np.zeros((4, dim), dtype))

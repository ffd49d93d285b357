"""density_gradient and density_hessian: slopes and curvatures of mixtures at points."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.cpu import _threads
from gmengine.errors import DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.affine import scale, translate
from gmengine.ops.derivatives import density_gradient, density_hessian
from gmengine.ops.evaluate import evaluate
from gmengine.testing import assert_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

OPS = [density_gradient, density_hessian]
ORDER = {density_gradient: 1, density_hessian: 2}


def unit(m, op):
    """Return what errors are relative to: the sum of the peaks, over the smallest deviation to the order's power."""
    present = m.weights != 0
    smallest = np.linalg.eigvalsh(m.covariances[present].astype(np.float64)).min(initial=1e30)
    return laws.spread(m).reshape((*m.batch, 1, *(1,) * ORDER[op])) / smallest ** (ORDER[op] / 2)


def close(op, m, got, want, kind="gradient", condition=10.0):
    broadcast = np.broadcast_to(unit(m, op), want.shape)
    assert_close(kind, got, want, size=m.n_components, condition=condition, scale=broadcast)


def by_loops(op, m, x):
    """Return the formula's result; batches broadcast."""
    batch = np.broadcast_shapes(m.batch, x.shape[:-2])
    m, x = m.broadcast_to(batch), np.broadcast_to(x, (*batch, *x.shape[-2:]))
    want = np.zeros((*x.shape, *(m.dim,) * (ORDER[op] - 1)))
    for b in np.ndindex(*batch):
        want[b] = oracles.derivatives(*m[b].arrays, x[b])[ORDER[op] - 1]
    return want


def at(seed, shape, dtype="float64"):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(np.float32).astype(dtype)


# --- values -------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", OPS)
def test_values_are_those_of_the_formula(backend, op, dtype, data):
    m = data.draw(gms.mixtures(dim=gms.dims_of(dtype), dtype=dtype, absent=0.2, degenerate=True))
    x = data.draw(gms.points(dim=m.dim, batch=m.batch, dtype=dtype))
    got = backend.asnumpy(op(backend.asarray(m), backend.asarray(x)))
    assert got.dtype == np.dtype(dtype)
    close(op, m, got, by_loops(op, m, x))


@pytest.mark.parametrize("dim", [4, 5, 6])
@pytest.mark.parametrize("op", OPS)
def test_more_dimensions_work_like_three(backend, op, dim):
    m, x = gms.random_mixture(1, (2,), 5, dim, absent=0.2), at(2, (2, 7, dim))
    close(op, m, backend.asnumpy(op(backend.asarray(m), backend.asarray(x))), by_loops(op, m, x))


@given(gms.mixtures(batch=(), absent=0.2), gms.seeds)
def test_values_are_those_of_central_differences(m, seed):
    x = at(seed, (4, m.dim))
    laws.slopes_are_those_of_differences(m, x)
    laws.curvatures_are_those_of_differences(m, x)


@pytest.mark.parametrize("n_points", [1, 17, 321, 1000])
@pytest.mark.parametrize("op", OPS)
def test_any_number_of_points_fills_the_lanes(backend, op, n_points):
    m, x = gms.random_mixture(3, (), 600, 2), at(4, (n_points, 2))
    got = backend.asnumpy(op(backend.asarray(m), backend.asarray(x)))
    some = np.random.default_rng(5).choice(n_points, min(n_points, 3), replace=False)
    close(op, m, got[some], by_loops(op, m, x[some]))
    close(op, m, got, sum(op(m_part, x) for m_part in parts(m, 6)))


def parts(m, n):
    return [Mixture(*(a[..., i::n, *(slice(None),) * d] for d, a in enumerate(m.arrays))) for i in range(n)]


@pytest.mark.parametrize(
    ("batch", "points_batch"),
    [((), ()), ((3,), ()), ((), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((0,), ()), ((0, 2), (2,))],
)
@pytest.mark.parametrize("op", OPS)
def test_batches_broadcast(backend, op, batch, points_batch):
    m, x = gms.random_mixture(6, batch, 4, 2), at(7, (*points_batch, 5, 2))
    got = backend.asnumpy(op(backend.asarray(m), backend.asarray(x)))
    assert got.shape == (*np.broadcast_shapes(batch, points_batch), 5, *(2,) * ORDER[op])
    close(op, m, got, by_loops(op, m, x))


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("op", OPS)
def test_hard_conditioning_agrees_with_sixty_digits(backend, op, dim):
    m = gms.random_mixture(8, (), 6, dim, condition=1e6)
    x = np.concatenate([m.means, m.means + 0.01, at(9, (4, dim))])
    got = backend.asnumpy(op(backend.asarray(m), backend.asarray(x)))
    close(op, m, got, in_sixty_digits(op, m, x), condition=1e6)


def in_sixty_digits(op, m, x):
    values = np.zeros((*x.shape, *(m.dim,) * (ORDER[op] - 1)))
    with mpmath.workdps(60):
        for p, i in np.ndindex(len(x), m.n_components):
            c = mpmath.matrix(m.covariances[i].tolist())
            d = mpmath.matrix(x[p].tolist()) - mpmath.matrix(m.means[i].tolist())
            precision = c**-1
            q = precision * d
            norm = mpmath.sqrt((2 * mpmath.pi) ** m.dim * mpmath.det(c))
            density = mpmath.mpf(float(m.weights[i])) * mpmath.exp(-(d.T * q)[0] / 2) / norm
            term = -density * q if ORDER[op] == 1 else density * (q * q.T - precision)
            values[p] += np.array(term.tolist(), float).reshape(values[p].shape)
    return values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", OPS)
def test_far_points_are_zero_without_a_warning(backend, op, dtype):
    m = gms.random_mixture(10, (), 4, 2, dtype=dtype)
    x = np.array([[1e3, 0.0], [-1e10, 1e10], [0.0, 1e25], [1e30, -1e30]], dtype)
    got = backend.asnumpy(op(backend.asarray(m), backend.asarray(x)))
    assert_close("exact", got, np.zeros_like(got))


@pytest.mark.parametrize("op", OPS)
def test_no_points_and_no_components_are_no_special_case(backend, op):
    m, x = gms.random_mixture(11, (2,), 3, 2), np.zeros((2, 4, 2))
    shape = (2,) * ORDER[op]
    assert backend.asnumpy(op(backend.asarray(m), backend.asarray(x[:, :0]))).shape == (2, 0, *shape)
    none = Mixture(m.weights[:, :0], m.means[:, :0], m.covariances[:, :0])
    assert_close(
        "exact", backend.asnumpy(op(backend.asarray(none), backend.asarray(x))), np.zeros((2, 4, *shape))
    )


# --- laws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_slope_is_the_gradient_of_evaluation_with_respect_to_the_points(dim):
    m, x = gms.random_mixture(12, (2,), 30, dim, absent=0.2), at(13, (2, 40, dim))
    _, (want,) = pull_back(lambda x: evaluate(m, x), x, cotangent=np.ones((2, 40)))
    close(density_gradient, m, density_gradient(m, x), want, "sum")


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_curvature_is_the_jacobian_of_the_slope(dim):
    m, x = gms.random_mixture(14, (2,), 20, dim, absent=0.2), at(15, (2, 30, dim))
    got = density_hessian(m, x)
    for k in range(dim):
        cotangent = np.broadcast_to(np.eye(dim)[k], x.shape)
        _, (want,) = pull_back(lambda x: density_gradient(m, x), x, cotangent=cotangent)
        size = np.broadcast_to(unit(m, density_hessian)[..., 0], want.shape)
        assert_close("solve", got[..., k], want, size=20, condition=10, scale=size)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_values_follow_the_heat_equation(dim):
    """Blurring by the covariance t I changes a value by half its Laplacian, the trace of the Hessian, times t."""
    m, x = gms.random_mixture(16, (), 20, dim), at(17, (30, dim))
    cotangent = np.random.default_rng(18).standard_normal(30)
    _, (grads,) = pull_back(lambda m: evaluate(m, x), m, cotangent=cotangent)
    laplacian = np.trace(density_hessian(m, x), axis1=-2, axis2=-1)
    got = np.trace(grads.covariances, axis1=-2, axis2=-1).sum()
    size = float(unit(m, density_hessian).item()) * np.abs(cotangent).sum()
    assert_close("gradient", np.asarray(got), np.asarray(laplacian @ cotangent / 2), size=600, scale=size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_curvatures_are_exactly_symmetric(backend, dim, dtype):
    m, x = gms.random_mixture(19, (), 9, dim, dtype=dtype), at(20, (30, dim), dtype)
    got = backend.asnumpy(density_hessian(backend.asarray(m), backend.asarray(x)))
    assert_close("exact", got, np.swapaxes(got, -1, -2))


@given(st.data())
@pytest.mark.parametrize("op", OPS)
def test_values_are_linear_in_the_function_and_ignore_the_order_of_components(backend, op, data):
    dim = data.draw(gms.dims)
    a, b = (data.draw(gms.mixtures(dim=dim, batch=(2,), absent=0.2)) for _ in range(2))
    x, factor = at(data.draw(gms.seeds), (4, dim)), data.draw(gms.scalars(-3, 3))
    order = data.draw(st.permutations(range(a.n_components + b.n_components)))
    together = laws.permuted(a * factor + b, order)
    got = backend.asnumpy(op(backend.asarray(together), backend.asarray(x)))
    size = np.broadcast_to(abs(factor) * unit(a, op) + unit(b, op), got.shape)
    assert_close("gradient", got, op(a, x) * factor + op(b, x), size=12, condition=10, scale=size)


@given(st.data())
@pytest.mark.parametrize("op", OPS)
def test_values_follow_translation_scale_and_rotation(backend, op, data):
    dim, order = data.draw(gms.dims), ORDER[op]
    m = data.draw(gms.mixtures(dim=dim, batch=()))
    x, shift = (at(data.draw(gms.seeds), (n, dim)) for n in (4, 1))
    factor = data.draw(gms.scalars(0.1, 10))
    rotation, _ = np.linalg.qr(np.random.default_rng(data.draw(gms.seeds)).standard_normal((dim, dim)))
    want = op(m, x)
    close(op, m, op(translate(m, shift[0]), x + shift), want, condition=160)
    close(op, m, op(scale(m, factor), x * factor) * factor ** (dim + order), want, condition=160)
    turned = rotation @ m.covariances @ rotation.T
    turned = Mixture(m.weights, m.means @ rotation.T, (turned + np.swapaxes(turned, -1, -2)) / 2)
    axes = ("pi,ki->pk", "pij,ki,lj->pkl")[order - 1]
    close(op, m, op(turned, x @ rotation.T), np.einsum(axes, want, *[rotation] * order), condition=160)


def test_integrals_of_derivatives_over_the_plane_vanish_and_their_moments_are_integrals(backend):
    """By parts: the integral of x_k d_l f is -delta_kl times that of f; d_k f and d_k d_l f integrate to 0."""
    m = gms.random_mixture(21, (2,), 5, 2)
    axis = np.linspace(-10, 10, 161)
    x = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    cell = (axis[1] - axis[0]) ** 2
    slopes, curvatures = (backend.asnumpy(op(backend.asarray(m), backend.asarray(x))) for op in OPS)
    assert_close("quadrature", slopes.sum(1) * cell, np.zeros((2, 2)), scale=1.0)
    assert_close("quadrature", curvatures.sum(1) * cell, np.zeros((2, 2, 2)), scale=1.0)
    want = -m.weights.sum(-1)[:, None, None] * np.eye(2)
    assert_close("quadrature", np.einsum("pk,bpl->bkl", x, slopes) * cell, want, scale=1.0)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
@pytest.mark.parametrize("op", OPS)
def test_absent_components_are_never_read(backend, op, garbage):
    m, x = backend.asarray(gms.random_mixture(22, (2,), 5, 2)), backend.asarray(at(23, (6, 2)))
    assert_close("exact", op(laws.padded(m, 3, garbage), x), op(m, x))


@pytest.mark.parametrize("op", OPS)
def test_a_mixture_of_absent_components_is_flat(backend, op):
    m = gms.random_mixture(24, (2,), 3, 2, degenerate="all_absent")
    got = backend.asnumpy(op(backend.asarray(m), backend.asarray(np.zeros((4, 2)))))
    assert_close("exact", got, np.zeros_like(got))


# --- contract -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1e1, 1e4])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("op", OPS)
def test_single_precision_agrees_with_double(op, dim, condition):
    m, x = gms.random_mixture(25, (2,), 40, dim, condition=condition), at(26, (2, 50, dim))
    got = op(m.astype("float32"), x.astype(np.float32))
    assert got.dtype == np.float32
    close(op, m, got, op(m, x), condition=condition)


@pytest.mark.parametrize("op", OPS)
def test_inputs_are_not_changed_and_may_be_strided_or_read_only(op):
    m, x = gms.random_mixture(27, (3,), 5, 2), at(28, (3, 6, 2))
    for a in (*m.arrays, x):
        a.flags.writeable = False
    want, wants = pull_back(op, m, x)
    strided = Mixture(*(np.asfortranarray(a) for a in m.arrays)), np.asfortranarray(x)
    before = [a.copy() for a in (*strided[0].arrays, strided[1])]
    got, gots = pull_back(op, *strided)
    assert_close("exact", got, want)
    for a, b in zip((*gots[0].arrays, gots[1]), (*wants[0].arrays, wants[1]), strict=True):
        assert_close("exact", a, b)
    for a, b in zip((*strided[0].arrays, strided[1]), before, strict=True):
        assert_close("exact", a, b)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("batch", "n", "n_points"), [((), 60, 3000), ((5,), 40, 700), ((50,), 7, 20)])
def test_no_bit_depends_on_the_number_of_threads(op, batch, n, n_points, monkeypatch):
    m, x = gms.random_mixture(29, batch, n, 2, absent=0.1), at(30, (*batch, n_points, 2))
    results = []
    for count in (1, 2, 3, 7):
        monkeypatch.setattr(_threads, "get_num_threads", lambda count=count: count)
        value, (of_m, of_x) = pull_back(op, m, x)
        results.append((value, *of_m.arrays, of_x))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_close("exact", a, b)


@pytest.mark.parametrize("op", OPS)
def test_wrong_shapes_dtypes_and_points_are_named(op):
    m, name = gms.random_mixture(31, (2,), 3, 2), op.__name__
    for x in (np.zeros((4, 3)), np.zeros(2), np.zeros((3, 4, 2))):
        with pytest.raises(ShapeError, match=name):
            op(m, x)
    with pytest.raises(DTypeError, match=rf"{name}.*float32"):
        op(m, np.zeros((4, 2), np.float32))
    with pytest.raises(NonFiniteError, match=name):
        op(m, np.full((4, 2), np.nan))


@pytest.mark.parametrize("op", OPS)
def test_components_that_are_no_gaussians_are_named(op):
    m = gms.random_mixture(32, (2, 2), 3, 2)
    m.covariances[1, 0, 2] = np.diag([1.0, -0.25])
    with pytest.raises(NotPositiveDefinite, match=rf"{op.__name__}.*\[1, 0, 2\].*-0\.25"):
        op(m, np.zeros((4, 2)))
    for field in ("weights", "means", "covariances"):
        m = gms.random_mixture(33, (2, 2), 3, 2)
        getattr(m, field)[1, 0, 2] = np.nan
        with pytest.raises(NonFiniteError, match=rf"{op.__name__}.*\[1, 0, 2\]"):
            op(m, np.zeros((4, 2)))

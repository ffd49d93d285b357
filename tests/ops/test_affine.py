"""scale and translate: pushing mixtures forward through affine maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.affine import affine, scale, translate
from gmengine.ops.evaluate import evaluate
from gmengine.ops.integrate import integrate
from gmengine.testing import assert_close, assert_mixtures_close, laws, pull_back
from gmengine.testing import strategies as gms


@given(st.data())
def test_scaling_keeps_integrals_and_thins_out_values(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(dim=2, absent=0.2, degenerate=True)))
    x = backend.asarray(data.draw(gms.points(dim=m.dim)))
    factor = data.draw(gms.scalars(0.1, 10.0))
    laws.evaluation_follows_scale(m, factor, x)
    assert_close("exact", integrate(scale(m, factor)), integrate(m))


@given(st.data())
def test_translation_moves_values(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(dim=2, absent=0.2, degenerate=True)))
    x, t = (backend.asarray(data.draw(gms.points(dim=m.dim, n_points=n))) for n in (4, 1))
    laws.evaluation_follows_translation(m, t[0], x)
    assert_close("exact", integrate(translate(m, t[0])), integrate(m))


@given(st.data())
def test_scales_compose_and_invert(backend, data):
    m = backend.asarray(data.draw(gms.mixtures()))
    a, b = data.draw(gms.scalars(0.1, 10.0)), data.draw(gms.scalars(0.1, 10.0))
    assert_mixtures_close("sum", scale(scale(m, a), b), scale(m, a * b))
    assert_mixtures_close("sum", scale(scale(m, a), 1 / a), m)


def test_one_factor_per_axis_is_a_diagonal_matrix(backend):
    m, s = gms.random_mixture(1, (2,), 4, 2), np.array([0.5, -3.0])
    got = backend.asnumpy(scale(backend.asarray(m), backend.asarray(s), per_axis=True))
    d = np.diag(s)
    assert_close("elementwise", got.means, m.means @ d)
    assert_close("elementwise", got.covariances, d @ m.covariances @ d)
    x = np.random.default_rng(2).uniform(-2, 2, (5, 2))
    values = evaluate(backend.asarray(m), backend.asarray(x))
    moved = evaluate(backend.asarray(got), backend.asarray(x * s)) * 1.5
    assert_close("solve", moved, backend.asnumpy(values), size=4, condition=1e3)


@pytest.mark.parametrize(
    ("batch", "given_batch"), [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2,))]
)
def test_factors_and_shifts_broadcast_over_the_batch(backend, batch, given_batch):
    m, rng = gms.random_mixture(3, batch, 4, 2), np.random.default_rng(4)
    s, per_axis, t = (
        rng.uniform(0.5, 2, given_batch),
        rng.uniform(0.5, 2, (*given_batch, 2)),
        rng.normal(size=(*given_batch, 2)),
    )
    full = np.broadcast_shapes(batch, given_batch)
    scaled, stretched, moved = (
        backend.asnumpy(out)
        for out in (
            scale(backend.asarray(m), backend.asarray(s)),
            scale(backend.asarray(m), backend.asarray(per_axis), per_axis=True),
            translate(backend.asarray(m), backend.asarray(t)),
        )
    )
    assert scaled.batch == stretched.batch == moved.batch == full
    m, s = m.broadcast_to(full), np.broadcast_to(s, full)
    per_axis, t = (np.broadcast_to(a, (*full, 2)) for a in (per_axis, t))
    for b in np.ndindex(*full):
        assert_mixtures_close("elementwise", scaled[b], scale(m[b], float(s[b])))
        assert_mixtures_close("elementwise", stretched[b], scale(m[b], per_axis[b], per_axis=True))
        assert_mixtures_close("elementwise", moved[b], translate(m[b], t[b]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [(), (2,), (0,)])
def test_dtype_and_batch_are_kept(backend, batch, dtype):
    m = backend.asarray(gms.random_mixture(5, batch, 4, 2, dtype=dtype))
    for out in (scale(m, 2.0), translate(m, [1.0, 2.0])):
        assert (out.batch, str(out.dtype), out.n_components) == (batch, dtype, 4)


def test_absent_components_stay_absent_and_inputs_unchanged():
    m = laws.padded(gms.random_mixture(6, (2,), 4, 2), 3, 1e30)
    before = [a.copy() for a in m.arrays]
    laws.has_exactly(scale(m, 2.0), 4)
    laws.has_exactly(translate(m, [1.0, 2.0]), 4)
    for a, b in zip(m.arrays, before, strict=True):
        assert_close("exact", a, b)


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_gradients_are_those_of_finite_differences(dim):
    rng = np.random.default_rng(7)
    m = gms.random_mixture(rng, (2,), 4, dim, absent=0.2)
    check_vjp(scale, m, rng.uniform(0.5, 2, (2,)))
    check_vjp(lambda m, s: scale(m, s, per_axis=True), m, rng.uniform(0.5, 2, (3, 1, dim)))
    check_vjp(translate, m, rng.normal(size=(dim,)))
    check_vjp(translate, m, rng.normal(size=(3, 1, dim)))


def test_bad_factors_and_shifts_are_named():
    m = gms.random_mixture(8, (3,), 4, 2)
    for value in (0.0, np.nan, np.inf):
        with pytest.raises(ArgumentError, match=r"scale.*\[1\]"):
            scale(m, np.array([1.0, value, 2.0]))
    with pytest.raises(NonFiniteError, match="translate"):
        translate(m, np.array([np.nan, 0.0]))
    for bad in (np.ones(2), np.ones((2, 3, 4))):
        with pytest.raises(ShapeError, match="scale"):
            scale(m, bad)
    with pytest.raises(ShapeError, match="scale"):
        scale(m, np.ones(3), per_axis=True)
    for bad in (np.ones(3), np.ones((2, 2))):
        with pytest.raises(ShapeError, match="translate"):
            translate(m, bad)
    for op, argument in ((scale, np.ones(3, np.float32)), (translate, np.ones(2, np.float32))):
        with pytest.raises(DTypeError):
            op(m, argument)


@pytest.mark.parametrize(("factor", "variance"), [(1e25, 1e-30), (1e-25, 1e30), (-1e30, 1e-35)])
def test_covariances_do_not_under_or_overflow_on_the_way(factor, variance):
    m = gms.random_mixture(9, (2,), 3, 2)
    m = Mixture(m.weights, m.means * 1e-10, np.eye(2) * variance + np.zeros((2, 3, 2, 2)))
    for s, per_axis in ((factor, False), ([factor, -factor], True)):
        got = scale(m.astype("float32"), s, per_axis=per_axis)
        want = scale(m, s, per_axis=per_axis)
        assert_close("elementwise", got.covariances, want.covariances)
        _, (of_m,) = pull_back(lambda m, s=s, p=per_axis: scale(m, s, per_axis=p).covariances * 1e-10, m)
        assert np.all(np.isfinite(of_m.covariances))


def test_factors_per_axis_leave_covariances_and_their_gradients_symmetric():
    m, s = gms.random_mixture(10, (4,), 5, 3), np.random.default_rng(11).uniform(0.5, 2, (4, 3))
    cotangent = gms.random_mixture(12, (4,), 5, 3)
    got, (grads, _) = pull_back(lambda m, s: scale(m, s, per_axis=True), m, s, cotangent=cotangent)
    for c in (got.covariances, grads.covariances):
        assert_close("exact", c, np.swapaxes(c, -1, -2))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float16, np.float32, np.float64, int])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_number_of_any_kind_is_a_factor(kind, dtype):
    m = gms.random_mixture(12, (2,), 3, 2, dtype=dtype)
    assert_mixtures_close("exact", scale(m, kind(2)), scale(m, 2.0))
    assert_mixtures_close("exact", affine(m, np.eye(2, dtype=dtype), kind(2)), translate(m, [2.0, 2.0]))
    assert scale(m, kind(2)).dtype == m.dtype

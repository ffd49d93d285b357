"""affine and marginal: pushing mixtures forward through matrices, and dropping coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.affine import affine, marginal, scale, translate
from gmengine.ops.evaluate import evaluate
from gmengine.ops.integrate import integrate
from gmengine.testing import assert_close, assert_mixtures_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

AXIS = np.linspace(-12.0, 12.0, 193)
STEP = AXIS[1] - AXIS[0]


def invertible(rng, batch, dim):
    """Return matrices with singular values in [1/2, 2]."""
    u, v = (np.linalg.qr(rng.standard_normal((*batch, dim, dim)))[0] for _ in range(2))
    return u * rng.uniform(0.5, 2.0, (*batch, 1, dim)) @ v


# --- affine -------------------------------------------------------------------------------------------------


@given(st.data())
def test_values_move_along_and_thin_out(backend, data):
    dim = data.draw(gms.dims)
    m = data.draw(gms.mixtures(dim=dim, batch=(2,), absent=0.2, degenerate=True))
    rng = np.random.default_rng(data.draw(gms.seeds))
    a, t, x = invertible(rng, (), dim), rng.uniform(-2, 2, dim), rng.uniform(-4, 4, (5, dim))
    pushed = affine(*(backend.asarray(v) for v in (m, a, t)))
    got = backend.asnumpy(evaluate(pushed, backend.asarray(x @ a.T + t))) * abs(np.linalg.det(a))
    size, scale_ = m.n_components, np.broadcast_to(laws.spread(m), got.shape)
    assert_close("solve", got, oracles.evaluate(*m.arrays, x), size=size, condition=1e4, scale=scale_)
    assert_close("exact", backend.asnumpy(integrate(pushed)), integrate(m))


def test_a_matrix_of_fewer_rows_gives_the_density_of_the_projection(backend):
    m, a = gms.random_mixture(1, (), 4, 2, absent=0.2), np.array([[0.6, -0.8]])
    got = backend.asnumpy(evaluate(affine(backend.asarray(m), backend.asarray(a), 0.5), [[0.3], [-1.0]]))
    # Integrate f over the line A x + t = y: x = (y - t) a + s n, with a and n orthonormal.
    normal = np.array([0.8, 0.6])
    for y, value in zip((0.3, -1.0), got, strict=True):
        line = (y - 0.5) * a + AXIS[:, None] * normal
        assert_close(
            "quadrature", value, oracles.evaluate(*m.arrays, line).sum() * STEP, scale=1.0, name=f"at {y}"
        )


def test_maps_compose():
    rng, m = np.random.default_rng(2), gms.random_mixture(3, (2,), 4, 3, absent=0.2)
    a, b = invertible(rng, (2,), 3), invertible(rng, (), 3)[:2]
    s, t = rng.standard_normal((2, 3)), rng.standard_normal(2)
    at_once = affine(m, b @ a, (b @ s[..., None])[..., 0] + t)
    assert_mixtures_close("sum", affine(affine(m, a, s), b, t), at_once, size=9)


def test_scale_translate_and_marginal_are_special_cases():
    m, t = gms.random_mixture(4, (2,), 4, 3, absent=0.2), np.array([1.0, -2.0, 0.5])
    assert_mixtures_close("elementwise", affine(m, 2.0 * np.eye(3)), scale(m, 2.0))
    assert_mixtures_close("exact", affine(m, np.eye(3), t), translate(m, t))
    assert_mixtures_close("exact", affine(m, np.eye(3)[[2, 0]]), marginal(m, (2, 0)))


@pytest.mark.parametrize(
    ("batch", "of_matrix", "of_shift"),
    [((), (2,), ()), ((2, 3), (), ()), ((2, 3), (3,), (2, 1)), ((2, 1), (1, 3), (3,)), ((0,), (), (1,))],
)
def test_batches_broadcast(backend, batch, of_matrix, of_shift):
    rng, m = np.random.default_rng(5), gms.random_mixture(6, batch, 3, 2)
    a, t = invertible(rng, of_matrix, 2), rng.standard_normal((*of_shift, 2))
    got = backend.asnumpy(affine(*(backend.asarray(v) for v in (m, a, t))))
    full = np.broadcast_shapes(batch, of_matrix, of_shift)
    assert got.batch == full
    m, a, t = m.broadcast_to(full), np.broadcast_to(a, (*full, 2, 2)), np.broadcast_to(t, (*full, 2))
    for b in np.ndindex(*full):
        assert_mixtures_close("elementwise", got[b], affine(m[b], a[b], t[b]))


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_gradients_are_those_of_finite_differences(dim):
    rng = np.random.default_rng(7)
    m, rows = gms.random_mixture(rng, (2,), 3, dim, absent=0.3), max(1, dim - 1)
    check_vjp(affine, m, invertible(rng, (3, 1), dim)[..., :rows, :], rng.standard_normal((2, rows)))
    check_vjp(lambda m: marginal(m, range(dim)[::-2]), m)


def test_covariances_and_their_gradients_are_symmetric():
    rng, m = np.random.default_rng(8), gms.random_mixture(9, (2,), 5, 3)
    a = invertible(rng, (), 3)
    moved, (grads, _) = pull_back(affine, m, a)
    for c in (moved.covariances, grads.covariances):
        assert_close("exact", c, np.swapaxes(c, -1, -2))


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_absent_components_come_out_blank_with_gradient_zero(garbage, dtype):
    m = laws.padded(gms.random_mixture(10, (2,), 4, 2, dtype=dtype), 3, garbage)
    a = np.array([[2.0, 1.0], [0.0, 1.0]], dtype)
    for op in (lambda m: affine(m, a, 1.0), lambda m: marginal(m, [1, 0])):
        got, (grads,) = pull_back(op, m)
        laws.has_exactly(got, 4)
        assert_close("exact", got.means[:, 4:], np.zeros((2, 3, 2), dtype))
        assert_close("exact", got.covariances[:, 4:], np.broadcast_to(np.eye(2, dtype=dtype), (2, 3, 2, 2)))
        for g in grads.arrays:
            assert_close("exact", g[:, 4:], np.zeros_like(g[:, 4:]))


def test_scaled_and_moved_mixtures_give_no_gradient_to_absent_components():
    m, x = (
        laws.padded(gms.random_mixture(19, (2,), 4, 2), 3, 1e30),
        np.random.default_rng(20).uniform(-2, 2, (5, 2)),
    )
    for op in (lambda m: scale(m, 2.0), lambda m: translate(m, [1.0, 2.0])):
        _, (grads,) = pull_back(lambda m, op=op: evaluate(op(m), x), m)
        for g in grads.arrays:
            assert_close("exact", g[:, 4:], np.zeros_like(g[:, 4:]))
            assert np.all(g[:, :4] != 0)


def test_an_absent_component_gives_no_gradient_to_the_map():
    m, a = gms.random_mixture(11, (2,), 3, 2, degenerate="all_absent"), np.array([[2.0, 1.0], [0.0, 1.0]])
    _, (_, of_matrix, of_shift) = pull_back(affine, m, a, np.ones(2))
    for g in (of_matrix, of_shift):
        assert_close("exact", g, np.zeros_like(g))


def test_single_precision_agrees_with_double():
    rng, m = np.random.default_rng(12), gms.random_mixture(13, (2,), 20, 3, condition=1e4)
    a = invertible(rng, (), 3)[:2].astype(np.float32).astype(float)
    want, wants = pull_back(affine, m, a)
    got, gots = pull_back(affine, m.astype("float32"), a.astype(np.float32))
    assert got.dtype == np.float32
    assert_mixtures_close("sum", got, want, size=9)
    for name in ("weights", "means", "covariances"):
        assert_close("sum", getattr(gots[0], name), getattr(wants[0], name), size=9, name=name)
    assert_close("sum", gots[1], wants[1], size=2 * 20 * 3, name="matrix")


def test_dependent_rows_are_named_with_their_singular_values():
    a = np.stack([np.eye(2), [[1.0, 2.0], [2.0, 4.0]], np.zeros((2, 2))])
    m = gms.random_mixture(14, (3,), 2, 2)
    with pytest.raises(ArgumentError, match=r"affine.*matrix \[1\].*singular.*of its largest, 5"):
        affine(m, a)
    with pytest.raises(ArgumentError, match=r"matrix \[0\].*is 0 of its largest, 0"):
        affine(m, a[2:])
    affine(m, np.diag([1.0, 1e-12]))  # ill-conditioned is not dependent


def test_what_does_not_fit_is_named():
    m, eye = gms.random_mixture(15, (3,), 2, 2), np.eye(2)
    for a in (np.ones(2), np.ones((2, 3)), np.ones((3, 2)), np.ones((0, 2)), np.ones((2, 2, 2)) + eye):
        with pytest.raises(ShapeError, match="affine"):
            affine(m, a)
    for t in (np.ones(3), np.ones((2, 2))):
        with pytest.raises(ShapeError, match="affine"):
            affine(m, eye, t)
    with pytest.raises(ShapeError, match="does not broadcast"):
        affine(m[0], np.stack([eye, eye]), np.ones((3, 2)))
    with pytest.raises(NonFiniteError, match="affine: the matrix"):
        affine(m, eye * np.nan)
    with pytest.raises(NonFiniteError, match="affine: t"):
        affine(m, eye, np.inf)
    with pytest.raises(DTypeError, match="affine"):
        affine(m, eye.astype(np.float32))


# --- marginal -----------------------------------------------------------------------------------------------


def test_a_marginal_is_the_integral_over_the_other_coordinates(backend):
    m = gms.random_mixture(16, (2,), 4, 2, absent=0.2)
    for axis, grid in ((0, np.array([0.7])), (-1, np.array([-0.4]))):
        got = backend.asnumpy(evaluate(marginal(backend.asarray(m), [axis]), backend.asarray(grid[None])))
        line = np.zeros((len(AXIS), 2))
        line[:, axis], line[:, -1 - axis] = grid, AXIS
        want = oracles.evaluate(*m.arrays, line).sum(-1, keepdims=True) * STEP
        assert_close("quadrature", got, want, scale=1.0)


def test_a_marginal_keeps_bits_in_the_order_asked_for():
    m = gms.random_mixture(17, (2,), 4, 4, dtype="float32")
    got = marginal(m, (3, -4, 1))
    order = [3, 0, 1]
    want = Mixture(m.weights, m.means[..., order], m.covariances[..., order, :][..., order])
    assert_mixtures_close("exact", got, want)
    assert got.dtype == np.float32


@pytest.mark.parametrize("axes", [(), (0, 0), (0, -2), (2,), (-3,), (0, 1, 0)])
def test_coordinates_that_are_not_distinct_or_do_not_exist_are_refused(axes):
    with pytest.raises(ArgumentError, match="marginal"):
        marginal(gms.random_mixture(18, (), 3, 2), axes)


@pytest.mark.parametrize("axis", [0, -1, np.int32(1), np.array(1)])
def test_one_coordinate_may_be_an_integer(axis):
    m = gms.random_mixture(19, (2,), 3, 3)
    assert_mixtures_close("exact", marginal(m, axis), marginal(m, [int(axis)]))


@pytest.mark.parametrize("axes", [0.5, "x", [0.5], None])
def test_what_is_no_coordinate_is_refused(axes):
    with pytest.raises(ArgumentError, match="marginal"):
        marginal(gms.random_mixture(20, (), 3, 2), axes)

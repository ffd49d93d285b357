"""conditional: mixtures with some coordinates held."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.affine import marginal
from gmengine.ops.conditional import conditional
from gmengine.ops.evaluate import evaluate
from gmengine.ops.integrate import integrate
from gmengine.testing import assert_close, assert_mixtures_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

AXIS = np.linspace(-12.0, 12.0, 193)
STEP = AXIS[1] - AXIS[0]


def joined(free, axes, values, dim):
    """Return points (P, dim) of coordinates `values` along `axes` and `free` (P, .) along the others."""
    points = np.zeros((len(free), dim))
    points[:, axes] = values
    points[:, [a for a in range(dim) if a not in axes]] = free
    return points


def schur(m, axes, values):
    """Return the slice of one mixture by the textbook's formula, which inverts C_bb."""
    rest = [a for a in range(m.dim) if a not in axes]
    w, mu, cov = m.weights.copy(), m.means[:, rest].copy(), m.covariances[:, rest][:, :, rest].copy()
    for i in oracles.present(w):
        c, gap = m.covariances[i], values - m.means[i, axes]
        gain = c[np.ix_(rest, axes)] @ np.linalg.inv(c[np.ix_(axes, axes)])
        w[i] *= oracles.density(values, m.means[i, axes], c[np.ix_(axes, axes)])
        mu[i] += gain @ gap
        cov[i] -= gain @ c[np.ix_(axes, rest)]
    return Mixture(w, mu, cov)


# --- values -------------------------------------------------------------------------------------------------


@given(st.data())
def test_a_slice_has_the_values_of_the_mixture(backend, data):
    dim = data.draw(st.sampled_from([2, 3, 4]))
    m = data.draw(gms.mixtures(dim=dim, batch=(), absent=0.2, degenerate=True))
    axes = data.draw(st.permutations(range(dim)))[: data.draw(st.integers(1, dim - 1))]
    rng = np.random.default_rng(data.draw(gms.seeds))
    values, free = rng.uniform(-3, 3, len(axes)), rng.uniform(-3, 3, (5, dim - len(axes)))
    part = conditional(backend.asarray(m), axes, backend.asarray(values), normalised=False)
    got = backend.asnumpy(evaluate(part, backend.asarray(free)))
    want = oracles.evaluate(*m.arrays, joined(free, axes, values, dim))
    assert_close(
        "solve", got, want, size=m.n_components, condition=1e3, scale=np.broadcast_to(laws.spread(m), 5)
    )


@pytest.mark.parametrize(("dim", "axes"), [(2, [0]), (2, [1]), (3, [2, 0]), (5, [3, 1, 0])])
def test_the_components_are_those_of_the_textbook(backend, dim, axes):
    m = gms.random_mixture(1, (), 6, dim, absent=0.2)
    values = np.random.default_rng(2).uniform(-1, 1, len(axes))
    got = conditional(backend.asarray(m), axes, backend.asarray(values), normalised=False)
    assert_mixtures_close("solve", got, schur(m, axes, values), condition=100.0)


def test_a_conditional_density_is_the_joint_over_the_marginal(backend):
    m, values = gms.random_mixture(3, (), 5, 2, signed=False, absent=0.2), np.array([0.7])
    got = backend.asnumpy(
        evaluate(
            conditional(backend.asarray(m), [1], backend.asarray(values)), backend.asarray(AXIS[:, None])
        )
    )
    joint = oracles.evaluate(*m.arrays, joined(AXIS[:, None], [1], values, 2))
    assert_close("quadrature", got, joint / (joint.sum() * STEP), scale=1.0)
    assert_close("quadrature", got.sum() * STEP, np.array(1.0))


@given(st.data())
def test_a_slice_integrates_to_the_marginal_and_a_conditional_to_one(data):
    dim = data.draw(st.sampled_from([2, 3]))
    m = data.draw(gms.mixtures(dim=dim, batch=(2,), signed=False, n_components=4))
    values = np.random.default_rng(data.draw(gms.seeds)).uniform(-3, 3, (2, 1))
    at = evaluate(marginal(m, [0]), values[:, None])[:, 0]
    scale = np.sum(m.weights * oracles.peaks(m.weights, m.covariances[..., :1, :1]), axis=-1)
    whole = integrate(conditional(m, [0], values, normalised=False))
    assert_close("solve", whole, at, size=4, condition=10.0, scale=scale)
    assert_close("sum", integrate(conditional(m, [0], values)), np.ones(2), size=4)


def test_holding_coordinates_one_after_the_other_is_holding_both():
    m, v = gms.random_mixture(4, (2,), 4, 3, signed=False, absent=0.2), np.array([[0.3, -0.5], [1.0, 0.0]])
    at_once = conditional(m, [2, 0], v)
    assert_mixtures_close(
        "solve", conditional(conditional(m, [2], v[:, :1]), [0], v[:, 1:]), at_once, condition=100.0
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_values_do_not_underflow(dtype):
    m = gms.random_mixture(5, (), 4, 2, signed=False, dtype=dtype)
    for far in (1e2, -1e4):
        got = conditional(m, [0], np.array([far], dtype)).check()
        assert_close("sum", integrate(got), np.ones((), dtype), size=4)
    assert_close("exact", conditional(m, [0], np.array([1e4], dtype), False).weights, np.zeros(4, dtype))


def test_a_factor_of_a_signed_mixture_cancels_also_where_it_is_negative():
    m = gms.random_mixture(6, (), 3, 2)
    m = Mixture(np.array([-0.2, 1.0, 0.5]), m.means, m.covariances)
    got = conditional(m, [0], m.means[1, :1])
    assert_close("sum", integrate(got), np.ones(()), size=3)
    part = conditional(m, [0], m.means[1, :1], normalised=False)
    assert_mixtures_close("sum", got, part * (1.0 / integrate(part)), size=3)


@pytest.mark.parametrize(
    ("batch", "of_values"), [((), (3,)), ((2, 1), (3,)), ((2, 3), ()), ((0,), (1,)), ((2,), (0, 1))]
)
def test_batches_broadcast(backend, batch, of_values):
    m = gms.random_mixture(7, batch, 3, 3, signed=False)
    v = np.random.default_rng(8).uniform(-1, 1, (*of_values, 2))
    for normalised in (True, False):
        got = backend.asnumpy(conditional(backend.asarray(m), [0, 2], backend.asarray(v), normalised))
        full = np.broadcast_shapes(batch, of_values)
        assert (got.batch, got.dim) == (full, 1)
        each, values = m.broadcast_to(full), np.broadcast_to(v, (*full, 2))
        for b in np.ndindex(*full):
            assert_mixtures_close("sum", got[b], conditional(each[b], [0, 2], values[b], normalised), size=4)


@pytest.mark.parametrize("condition", [1e1, 1e4])
def test_single_precision_agrees_with_double_and_stays_positive_definite(condition):
    m = gms.random_mixture(9, (3,), 20, 3, signed=False, condition=condition)
    v = np.random.default_rng(10).uniform(-1, 1, (3, 2)).astype(np.float32)
    got, gots = pull_back(lambda m, v: conditional(m, [0, 2], v), m.astype("float32"), v)
    want, wants = pull_back(lambda m, v: conditional(m, [0, 2], v), m, v.astype(float))
    got.check()
    # A weight carries the rounding of a quadratic form as large as the condition: compare within the mixture.
    assert_close("solve", got.weights, want.weights, size=20, condition=100 * condition, name="weights")
    live = (got.weights > 0) & (want.weights > 0)
    assert_close(
        "solve", got.covariances[live], want.covariances[live], condition=condition, name="covariances"
    )
    assert_close("solve", got.means[live], want.means[live], condition=10 * condition, name="means")
    if condition < 100:
        for name in ("weights", "means", "covariances"):
            g, w = getattr(gots[0], name), getattr(wants[0], name)
            assert_close("gradient", g, w, size=20, condition=10 * condition, name=name)


# --- gradients and absent components ------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [2, 3, 4, 5, 6])
def test_gradients_are_those_of_finite_differences(dim):
    rng, axes = np.random.default_rng(11), [dim - 1, 0][: dim - 1]
    signed, positive = (gms.random_mixture(rng, (2,), 3, dim, signed=s, absent=0.3) for s in (True, False))
    v = rng.uniform(-1, 1, (3, 1, len(axes)))
    check_vjp(lambda m, v: conditional(m, axes, v, normalised=False), signed, v)
    check_vjp(lambda m, v: conditional(m, axes, v), positive, v)
    check_vjp(lambda m, v: conditional(m, axes, v), positive - 0.3 * positive, v)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
@pytest.mark.parametrize("normalised", [True, False])
def test_absent_components_stay_absent_with_gradient_zero(garbage, normalised):
    m, v = gms.random_mixture(12, (2,), 4, 3, signed=False), np.array([0.1])

    def held(m):
        return conditional(m, [1], v, normalised)

    got, (grads,) = pull_back(held, laws.padded(m, 3, garbage))
    assert_mixtures_close("exact", got[:, None], laws.padded(held(m), 3)[:, None])
    for g in grads.arrays:
        assert_close("exact", g[:, 4:], np.zeros_like(g[:, 4:]))


def test_a_component_that_underflows_comes_out_blank_and_moves_nothing():
    m = gms.random_mixture(20, (), 3, 2, signed=False)
    m.means[1] += 1e3

    def held(m, v):
        return conditional(m, [0], v, normalised=False)

    got, (grads, _) = pull_back(held, m, np.array([0.0]))
    assert (got.weights[1], got.means[1, 0], got.covariances[1, 0, 0]) == (0.0, 0.0, 1.0)
    for g in grads.arrays:
        assert_close("exact", g[1], np.zeros_like(g[1]))
    _, (_, of_values) = pull_back(held, m, np.array([-1e4]))
    assert_close("exact", of_values, np.zeros(1))


def test_covariances_and_their_gradients_are_symmetric():
    m = gms.random_mixture(13, (2,), 4, 4, signed=False)
    got, (grads, _) = pull_back(lambda m, v: conditional(m, [1], v), m, np.zeros(1))
    for c in (got.covariances, grads.covariances):
        assert_close("exact", c, np.swapaxes(c, -1, -2))


# --- contract -----------------------------------------------------------------------------------------------


def test_what_cannot_be_normalised_is_named():
    m = gms.random_mixture(14, (3,), 4, 2, signed=False)
    m.weights[1] *= -1
    with pytest.raises(ArgumentError, match=r"conditional.*mixture \[1\].*no positive integral.*-1 times"):
        conditional(m, [0], [0.0])
    m.weights[1] = 0.0
    with pytest.raises(ArgumentError, match=r"mixture \[1\].*it is 0 times"):
        conditional(m, [0], [0.0])
    with pytest.raises(ArgumentError, match="without components"):
        conditional(gms.random_mixture(15, (), 0, 2), [0], [0.0])
    assert conditional(gms.random_mixture(15, (2,), 0, 2), [0], [0.0], normalised=False).n_components == 0
    both = m[0] - m[0]  # nothing but rounding is left
    with pytest.raises(ArgumentError, match="no positive integral"):
        conditional(both, [0], [0.0])


@pytest.mark.parametrize("axes", [(), (0, 1), (1, 1), (2,), (-3,)])
def test_coordinates_that_do_not_leave_one_are_refused(axes):
    with pytest.raises(ArgumentError, match="conditional"):
        conditional(gms.random_mixture(16, (), 3, 2), axes, [0.0] * len(axes))


def test_one_dimension_has_no_coordinate_to_hold():
    with pytest.raises(ArgumentError, match="more coordinates"):
        conditional(gms.random_mixture(17, (), 3, 1), [0], [0.0])


def test_values_that_do_not_fit_are_named():
    m = gms.random_mixture(18, (3,), 3, 2)
    for v in (np.ones(2), np.ones((2, 1)), np.ones((0,))):
        with pytest.raises(ShapeError, match="conditional"):
            conditional(m, [0], v)
    with pytest.raises(ShapeError, match=r"conditional.*2 axes"):
        conditional(gms.random_mixture(18, (), 3, 3), [0, 1], np.ones(()))
    with pytest.raises(NonFiniteError, match="conditional"):
        conditional(m, [0], [np.nan])
    with pytest.raises(DTypeError, match="conditional"):
        conditional(m, [0], np.ones(1, np.float32))
    m.covariances[2, 1] = np.diag([1.0, -1.0])
    with pytest.raises(NotPositiveDefinite, match=r"conditional.*\[2, 1\]"):
        conditional(m, [0], [0.0])


def test_a_number_will_do_for_one_coordinate():
    m = gms.random_mixture(19, (2,), 3, 2, signed=False)
    assert_mixtures_close("exact", conditional(m, [1], 0.5), conditional(m, [1], np.array([0.5])))


@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.float64(0.5), np.array(0.5), np.array(0.5, np.float32)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_of_any_kind_and_one_axis_are_as_good_as_lists(value, dtype):
    m = gms.random_mixture(21, (2,), 3, 2, signed=False, dtype=dtype)
    assert_mixtures_close("exact", conditional(m, 1, value), conditional(m, [1], [0.5]))
    assert_mixtures_close("exact", conditional(m, np.int64(-1), np.int32(2)), conditional(m, [1], [2.0]))


def test_a_number_of_a_tape_gets_its_gradient():
    m, v = gms.random_mixture(22, (2,), 3, 2, signed=False), np.array(0.5)
    check_vjp(lambda m, v: conditional(m, 0, v), m, v)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("n", [0, 3])
def test_an_empty_batch_gives_an_empty_batch(n, normalised):
    got = conditional(gms.random_mixture(23, (0,), n, 3, dtype="float32"), [1], [0.0], normalised=normalised)
    assert (got.batch, got.n_components, got.dim, got.dtype) == ((0,), n, 2, np.float32)

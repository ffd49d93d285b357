"""fit_transfer: values and laws of the dense fit of phi(mixture + bias) - phi(bias)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import arrays
from gmengine.errors import ArgumentError, DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops import transfer
from gmengine.ops.evaluate import evaluate
from gmengine.ops.fit_transfer import fit_transfer
from gmengine.ops.relu import relu
from gmengine.testing import assert_close, assert_mixtures_close, laws, oracles
from gmengine.testing import strategies as gms

SCALAR = {
    "identity": (transfer.identity, lambda z: z),
    "relu": (transfer.relu, lambda z: max(z, 0.0)),
    "leaky_relu": (transfer.leaky_relu(0.1), lambda z: z if z > 0 else 0.1 * z),
    "softplus": (transfer.softplus(2.0), lambda z: math.log1p(math.exp(2.0 * z)) / 2.0),
    "tanh": (transfer.tanh, math.tanh),
    "elu": (transfer.elu(0.5), lambda z: z if z > 0 else 0.5 * math.expm1(z)),
}
"""Transfer, and the same function written for one number."""
EPSILONS = [(0.1, 0.0, 0.05), (0.1, 0.05, 0.05), (0.3, 0.0, 0.2)]


def loops(weights, means, covariances, phi, bias=0.0, epsilons=(0.1, 0.0, 0.05), relative=True):
    """Return the new weights of one mixture, from the formula alone."""
    live = oracles.present(weights)
    w = [float(x) for x in weights]
    g = np.array([[oracles.density(means[i], means[j], covariances[j]) for j in live] for i in live])
    e1, e2, e3 = epsilons
    if relative and live:
        e1 *= sum(abs(w[i]) for i in live) / len(live)
        unit = sum(abs(w[i]) * g[r, r] for r, i in enumerate(live)) / len(live)
        e2, e3 = e2 * unit, e3 * unit
    new, coarse = np.zeros(len(weights)), []
    for r, i in enumerate(live):
        peak = w[i] * g[r, r]
        coarse.append(abs(w[i]) * abs((phi(peak + bias) - phi(bias)) / peak) + e1)
    for r, i in enumerate(live):
        v = sum(w[j] * g[r, s] for s, j in enumerate(live))
        u = sum(coarse[s] * g[r, s] for s, j in enumerate(live))
        new[i] = coarse[r] * (phi(v + bias) - phi(bias) + e2) / (u + e3)
    return new


def follows_the_loops(m, got, phi, bias=0.0, **options):
    """Like `laws.relu_follows_its_formula`: the unit is a value at a mean by the component's own density there."""
    c = np.broadcast_to(bias, m.batch)
    want = np.zeros(m.weights.shape)
    for b in np.ndindex(*m.batch):
        want[b] = loops(*(a[b] for a in m.arrays), phi, float(c[b]), **options)
    unit = (laws.spread(m) + np.abs(c)[..., None] + 1.0) / oracles.peaks(m.weights, m.covariances)
    assert_close("solve", got.weights, want, size=m.n_components, condition=10, scale=unit + np.abs(want))
    present = m.weights != 0
    assert_close("exact", got.means[present], m.means[present], name="means")
    assert_close("exact", got.covariances[present], m.covariances[present], name="covariances")


# --- values -------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SCALAR)
def test_weights_are_those_of_the_loops(backend, name, dtype, data):
    phi, scalar = SCALAR[name]
    m = data.draw(gms.mixtures(dim=2, dtype=dtype, absent=0.2, degenerate=True))
    bias = float(np.float32(data.draw(gms.scalars(-0.5, 0.5))))
    options = {"epsilons": data.draw(st.sampled_from(EPSILONS)), "relative": data.draw(st.booleans())}
    got = backend.asnumpy(fit_transfer(backend.asarray(m), phi, bias, **options))
    assert got.dtype == np.dtype(dtype)
    follows_the_loops(m, got, scalar, bias, **options)


@pytest.mark.parametrize("dim", [1, 3, 4])
def test_weights_in_other_dimensions_are_those_of_the_loops(backend, dim):
    phi, scalar = SCALAR["softplus"]
    m = gms.random_mixture(1, (2,), 6, dim, absent=0.2)
    follows_the_loops(m, backend.asnumpy(fit_transfer(backend.asarray(m), phi, 0.1)), scalar, 0.1)


@pytest.mark.parametrize(
    ("batch", "bias"), [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 1)), ((0,), ()), ((0, 3), (3,))]
)
def test_the_bias_broadcasts_over_the_batch(backend, batch, bias):
    phi, scalar = SCALAR["leaky_relu"]
    m, c = gms.random_mixture(2, batch, 5, 2), np.random.default_rng(3).uniform(-0.3, 0.3, bias)
    got = backend.asnumpy(fit_transfer(backend.asarray(m), phi, backend.asarray(c)))
    assert got.batch == batch
    follows_the_loops(m, got, scalar, c)


def test_mixtures_without_components_stay_so(backend):
    m = backend.asarray(gms.random_mixture(4, (2,), 0, 2))
    assert fit_transfer(m, transfer.tanh, 0.1).weights.shape == (2, 0)


@given(st.data())
@pytest.mark.parametrize("name", SCALAR)
def test_one_component_has_a_closed_form(backend, name, data):
    phi, scalar = SCALAR[name]
    m = data.draw(gms.mixtures(n_components=1, dim=2))
    peaks = oracles.peaks(m.weights, m.covariances)
    e1, e2, e3 = 0.1, 0.05, 0.2
    value = m.weights * peaks
    mapped = np.vectorize(lambda z: scalar(z) - scalar(0.0), otypes=[float])(value)
    coarse = np.abs(m.weights) * np.abs(mapped / value) + e1 * np.abs(m.weights)
    want = coarse * (mapped + e2 * np.abs(value)) / (coarse * peaks + e3 * np.abs(value))
    got = fit_transfer(backend.asarray(m), phi, epsilons=(e1, e2, e3)).weights
    noise = (np.abs(value) + 1.0) / peaks
    assert_close("solve", got, want, condition=10, scale=noise)


@pytest.mark.parametrize("name", SCALAR)
def test_the_fit_is_exact_at_the_centres_of_components_far_apart(backend, name):
    phi, scalar = SCALAR[name]
    near = gms.random_mixture(5, (), 6, 2)
    far = backend.asarray(Mixture(near.weights, near.means + 1e3 * np.arange(6.0)[:, None], near.covariances))
    for bias in (0.0, 0.125):
        got = backend.asnumpy(evaluate(fit_transfer(far, phi, bias, epsilons=(0.1, 0.0, 0.0)), far.means))
        values = backend.asnumpy(evaluate(far, far.means))
        want = np.array([scalar(v + bias) - scalar(bias) for v in values])
        assert_close("solve", got, want, condition=10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_far_below_the_bias_keep_their_digits(backend, dtype):
    weights = np.array([1e-12, -1e-9, 1e-6, 1e-3, 0.1]) * (1.0 if dtype == "float64" else 1e3)
    m = Mixture(weights, 1e3 * np.arange(10.0).reshape(5, 2), np.broadcast_to(0.5 * np.eye(2), (5, 2, 2)))
    m = backend.asarray(m.astype(dtype))
    got = fit_transfer(m, transfer.softplus(1.0), 0.75, epsilons=(0.0, 0.0, 0.0))
    peak = 1.0 / math.pi
    v = backend.asnumpy(m.weights).astype(float) * peak
    rise = np.log1p(np.expm1(v) / (1.0 + math.exp(-0.75)))  # log((1 + e^(v + c)) / (1 + e^c)), by hand
    kind = "golden" if dtype == "float64" else "solve"
    assert_close(kind, got.weights, rise / peak, scale=np.abs(rise / peak))


# --- laws ---------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_relu_is_the_relu(backend, dtype, data):
    m = backend.asarray(data.draw(gms.mixtures(dim=2, dtype=dtype, absent=0.2, degenerate=True)))
    options = {
        "epsilons": data.draw(st.sampled_from([*EPSILONS, (0.0, 0.0, 0.0)])),
        "relative": data.draw(st.booleans()),
    }
    got, want = fit_transfer(m, transfer.relu, **options), relu(m, **options)
    noise = laws.spread(m) / oracles.peaks(*(backend.asnumpy(a) for a in (m.weights, m.covariances)))
    assert_close("solve", got.weights, want.weights, size=m.n_components, condition=10, scale=noise)


@given(st.data())
def test_without_epsilons_the_identity_leaves_a_positive_mixture_as_it_is(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(dim=2, signed=False, absent=0.2, degenerate=True)))
    for phi in (transfer.identity, transfer.relu, lambda x: arrays.multiply(x, 1.0)):
        assert_mixtures_close("elementwise", fit_transfer(m, phi, epsilons=(0.0, 0.0, 0.0)), m)


@given(st.data())
def test_a_transfer_and_the_same_function_of_tensors_agree(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(dim=2, absent=0.2)))
    bias = data.draw(gms.scalars(-0.5, 0.5))
    got, want = fit_transfer(m, arrays.softplus, bias), fit_transfer(m, transfer.softplus(1.0), bias)
    assert_close("solve", got.weights, want.weights, size=m.n_components, condition=10)


@given(st.data())
@pytest.mark.parametrize("name", ["identity", "leaky_relu"])
def test_a_homogeneous_function_gives_a_homogeneous_fit(backend, name, data):
    phi, _ = SCALAR[name]
    m = backend.asarray(data.draw(gms.mixtures(dim=2, absent=0.2)))
    bias, factor = data.draw(gms.scalars(-0.5, 0.5)), data.draw(st.sampled_from([1e-9, 1e-3, 0.25, 3.0, 1e9]))
    got, want = fit_transfer(m * factor, phi, bias * factor), fit_transfer(m, phi, bias) * factor
    at_mean = oracles.peaks(*(backend.asnumpy(a) for a in (m.weights, m.covariances)))
    noise = factor * (laws.spread(m) + abs(bias)) / at_mean
    assert_close("golden", got.weights, want.weights, scale=noise)


@given(st.data())
def test_translation_scale_and_order_pass_through(backend, data):
    m = backend.asarray(data.draw(gms.mixtures(batch=(2,), dim=2, absent=0.2)))
    shift = backend.asarray(data.draw(gms.points(dim=m.dim, n_points=1))[0])
    order = data.draw(st.permutations(range(m.n_components)))

    def leak(m):
        return fit_transfer(m, transfer.leaky_relu(0.2), 0.05)

    laws.map_follows_translation(leak, m, shift)
    laws.map_follows_scale(lambda m: fit_transfer(m, transfer.relu), m, data.draw(gms.scalars(0.1, 10.0)))
    laws.map_ignores_order(leak, m, order)
    laws.map_ignores_absent(leak, m)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
@pytest.mark.parametrize("name", SCALAR)
def test_absent_components_are_never_read_nor_revived(backend, name, garbage):
    m = backend.asarray(gms.random_mixture(6, (2,), 5, 2))
    for relative in (True, False):
        got, want = (
            fit_transfer(x, SCALAR[name][0], 0.1, epsilons=(0.1, 0.1, 0.1), relative=relative)
            for x in (laws.padded(m, 3, garbage), m)
        )
        assert_mixtures_close("sum", got, laws.padded(want, 3), size=m.n_components)


def test_a_mixture_of_absent_components_stays_absent(backend):
    m = gms.random_mixture(7, (2,), 4, 2, degenerate="all_absent")
    for bias in (-0.1, 0.0, 0.1):
        laws.has_exactly(fit_transfer(backend.asarray(m), transfer.softplus(), bias), 0)


def test_the_fit_resembles_the_mapped_function(backend):
    m = gms.random_mixture(8, (), 60, 2)
    x = np.random.default_rng(9).uniform(-3, 3, (200, 2))
    values = oracles.evaluate(*m.arrays, x)
    for name in ("leaky_relu", "softplus", "tanh"):
        phi, scalar = SCALAR[name]
        want = np.array([scalar(v) - scalar(0.0) for v in values])
        got = backend.asnumpy(evaluate(fit_transfer(backend.asarray(m), phi), backend.asarray(x)))
        assert np.corrcoef(got, want)[0, 1] > 0.8, name


# --- contract -----------------------------------------------------------------------------------------------


def test_inputs_are_not_changed_and_need_not_be_contiguous():
    m = gms.random_mixture(10, (3, 2), 5, 2)
    strided = Mixture(*(np.asfortranarray(a) for a in m.arrays))
    before = [a.copy() for a in strided.arrays]
    assert_mixtures_close("exact", fit_transfer(strided, transfer.tanh), fit_transfer(m, transfer.tanh))
    for a, b in zip(strided.arrays, before, strict=True):
        assert_close("exact", a, b)


def test_arguments_that_do_not_fit_are_named():
    m = gms.random_mixture(11, (2,), 4, 2)
    with pytest.raises(ShapeError, match="fit_transfer"):
        fit_transfer(m, transfer.tanh, np.zeros(3))
    with pytest.raises(DTypeError, match="fit_transfer"):
        fit_transfer(m, transfer.tanh, np.zeros(2, np.float32))
    for epsilons in ((0.1, 0.1, -0.1), (np.nan, 0.0, 0.0), (0.1, 0.05)):
        with pytest.raises(ArgumentError, match="fit_transfer"):
            fit_transfer(m, transfer.tanh, epsilons=epsilons)


def test_a_function_that_changes_shape_or_dtype_or_returns_no_array_is_named():
    m = gms.random_mixture(12, (2,), 4, 2)

    def total(x):
        return arrays.sum(x)

    for phi in (total, lambda x: x.astype(np.float32), lambda x: 1.0):
        with pytest.raises(ArgumentError, match=r"fit_transfer: (total|<lambda>) must return"):
            fit_transfer(m, phi)


def test_a_mixture_for_which_the_function_is_not_finite_is_named():
    m = gms.random_mixture(13, (2, 3), 4, 2, signed=False)
    m.weights[1, 2] *= 100.0
    cut = transfer.Transfer(lambda x: np.where(x > 5.0, np.inf, x), np.ones_like, "cut")
    with pytest.raises(NonFiniteError, match=r"fit_transfer: cut .*\[1, 2\]"):
        fit_transfer(m, cut)


def test_invalid_components_are_named():
    m = gms.random_mixture(14, (2, 2), 3, 2)
    m.weights[1, 0, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"fit_transfer.*\[1, 0, 2\]"):
        fit_transfer(m, transfer.tanh)
    m = gms.random_mixture(15, (2, 2), 3, 2)
    m.covariances[1, 0, 2] = np.diag([1.0, -0.25])
    with pytest.raises(NotPositiveDefinite, match=r"fit_transfer.*\[1, 0, 2\].*-0\.25"):
        fit_transfer(m, transfer.tanh)


def test_phi_is_not_asked_about_absent_components():
    height = 0.85 * np.sqrt(2.0 * np.pi)
    m = Mixture.isotropic(np.array([-height, -height]), np.array([[-1.0], [1.0]]), 1.0)
    nothing = Mixture.isotropic(np.zeros(1), np.zeros((1, 1)), 1.0)
    want = fit_transfer(m, arrays.sqrt, bias=1.0)
    got = fit_transfer(m + nothing, arrays.sqrt, bias=1.0)  # 1 + m(0) < 0, where nobody is
    assert_mixtures_close("elementwise", got, want + nothing)

"""convolve: the exact convolution of mixtures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.errors import DTypeError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.convolve import convolve
from gmengine.testing import assert_close, assert_mixtures_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

DATA = Path(__file__).parents[1] / "data"


def unpack(packed, dim):
    """Return the golden files' rows (weight, position, covariance) as a Mixture."""
    return Mixture(
        packed[..., 0], packed[..., 1 : 1 + dim], packed[..., 1 + dim :].reshape(*packed.shape[:-1], dim, dim)
    )


def by_loops(data, kernel):
    if data.batch[:-1] == ():
        return Mixture(*oracles.convolve(data.arrays, kernel.arrays))
    flat = data.reshape((-1, data.batch[-1]))
    parts = [oracles.convolve(flat[b].arrays, kernel.arrays) for b in range(flat.batch[0])]
    stacked = Mixture(*(np.stack(p) for p in zip(*parts, strict=True)))
    return stacked.reshape((*data.batch[:-1], kernel.batch[0]))


# --- values -------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_components_are_those_of_the_loops_in_the_same_order(backend, dtype, data):
    channels, dim = data.draw(st.integers(1, 3)), data.draw(gms.dims)
    batch = data.draw(gms.batches)
    d = data.draw(gms.mixtures(batch=(*batch, channels), dim=dim, dtype=dtype, absent=0.2, degenerate=True))
    k = data.draw(gms.kernels(inputs=channels, dim=dim, dtype=dtype, absent=0.2))
    got = backend.asnumpy(convolve(backend.asarray(d), backend.asarray(k)))
    assert got.dtype == np.dtype(dtype)
    assert_mixtures_close("elementwise", got, by_loops(d, k).astype(dtype))


def test_four_dimensions_work_like_three(backend):
    d, k = gms.random_mixture(1, (2, 2), 3, 4), gms.random_mixture(2, (3, 2), 2, 4)
    assert_mixtures_close("elementwise", convolve(backend.asarray(d), backend.asarray(k)), by_loops(d, k))


@pytest.mark.parametrize("batch", [(), (1,), (2, 2), (0,)])
def test_every_batch_shape_is_kept(backend, batch):
    d, k = gms.random_mixture(3, (*batch, 2), 3, 2), gms.random_mixture(4, (4, 2), 5, 2)
    got = backend.asnumpy(convolve(backend.asarray(d), backend.asarray(k)))
    assert got.batch == (*batch, 4)
    assert got.n_components == 2 * 3 * 5


@pytest.mark.parametrize(("dim", "radius", "n"), [(1, 24.0, 600), (2, 16.0, 80)])
def test_values_are_those_of_an_fft_on_a_grid(backend, dim, radius, n):
    d, k = (gms.random_mixture(seed, (), 3, dim, condition=4.0) for seed in (5, 6))
    points, want = oracles.convolve_on_grid(d.arrays, k.arrays, radius, n)
    near = np.all(np.abs(points) < radius / 3, axis=-1)
    c = convolve(backend.asarray(d[None]), backend.asarray(k[None, None]))
    got = oracles.evaluate(*backend.asnumpy(c).arrays, points[near])[0]
    assert_close("quadrature", got, want[near])


@pytest.mark.parametrize("dim", [2, 3])
def test_values_and_gradients_match_the_original_code(dim):
    with np.load(DATA / f"convolution_k{dim}_f64.npz") as file:
        golden = {name: unpack(file[name], dim) for name in file.files}
    out, (grad_data, grad_kernels) = pull_back(
        convolve, golden["data"], golden["kernels"], cotangent=golden["cotangent"]
    )
    for got, name in ((out, "out"), (grad_data, "grad_data"), (grad_kernels, "grad_kernels")):
        for a, b in zip(got.arrays, golden[name].arrays, strict=True):
            assert_close("golden", a, b, name=name)


# --- laws ---------------------------------------------------------------------------------------------------


@given(st.data())
def test_integrals_multiply_and_sum_over_input_channels(backend, data):
    channels, dim = data.draw(st.integers(1, 3)), data.draw(gms.dims)
    d = data.draw(gms.mixtures(batch=(2, channels), dim=dim, absent=0.2))
    k = data.draw(gms.kernels(inputs=channels, dim=dim))
    laws.convolution_multiplies_integrals(backend.asarray(d), backend.asarray(k))


@given(st.data())
def test_convolution_commutes_and_associates(backend, data):
    dim = data.draw(gms.dims)
    a, b, c = (backend.asarray(data.draw(gms.mixtures(batch=(), dim=dim, n_components=n))) for n in (3, 2, 2))
    laws.convolution_commutes(a, b)
    laws.convolution_associates(a, b, c)


@given(st.data())
def test_convolution_follows_translation(backend, data):
    dim = data.draw(gms.dims)
    d = data.draw(gms.mixtures(batch=(2, 2), dim=dim))
    k = data.draw(gms.kernels(inputs=2, dim=dim))
    shift = data.draw(gms.points(dim=dim, n_points=1))[0]
    laws.convolution_follows_translation(backend.asarray(d), backend.asarray(k), backend.asarray(shift))


def test_means_and_covariances_add(backend):
    d, k = (gms.random_mixture(seed, (), 4, 3, signed=False) for seed in (7, 8))
    c = backend.asnumpy(convolve(backend.asarray(d[None]), backend.asarray(k[None, None])))[0]
    (w, mu, second), *parts = (oracles.moments(*x.arrays) for x in (c, d, k))
    means = [m1 / m0 for m0, m1, _ in parts]
    spreads = [m2 / m0 - np.outer(m1, m1) / m0**2 for m0, m1, m2 in parts]
    assert_close("sum", mu / w, means[0] + means[1], size=16)
    assert_close("sum", second / w - np.outer(mu, mu) / w**2, spreads[0] + spreads[1], size=16, condition=4)


def test_a_kernel_like_a_point_translates(backend):
    d = gms.random_mixture(9, (2, 1), 5, 2)
    shift = np.array([0.7, -1.3])
    k = Mixture(np.ones((1, 1, 1)), shift[None, None, None], 1e-30 * np.eye(2)[None, None, None])
    moved = Mixture(d.weights, d.means + shift, d.covariances)
    assert_mixtures_close("exact", convolve(backend.asarray(d), backend.asarray(k)), moved)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e3])
def test_absent_components_stay_absent(backend, garbage):
    d, k = gms.random_mixture(10, (2, 2), 3, 2), gms.random_mixture(11, (3, 2), 2, 2)
    got = convolve(laws.padded(backend.asarray(d), 2, garbage), laws.padded(backend.asarray(k), 1, garbage))
    laws.has_exactly(got, 2 * 3 * 2)
    assert_mixtures_close("exact", got, convolve(backend.asarray(d), backend.asarray(k)), any_order=True)


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_the_gradient_is_that_of_finite_differences(dim):
    d = gms.random_mixture(12, (2, 2), 3, dim, absent=0.2)
    k = gms.random_mixture(13, (3, 2), 2, dim, absent=0.2)

    def functionals(d, k):  # to which absent components contribute nothing
        c = convolve(d, k)
        return c.weights, c.weights[..., None] * c.means, c.weights[..., None, None] * c.covariances

    check_vjp(functionals, d, k, rng=14)


def test_every_field_of_the_result_has_a_gradient():
    check_vjp(convolve, gms.random_mixture(15, (2, 2), 3, 2), gms.random_mixture(16, (3, 2), 2, 2), rng=17)


@pytest.mark.parametrize("batch", [(), (2, 2)])
def test_the_gradient_of_the_kernel_sums_over_the_batch(batch):
    check_vjp(
        convolve, gms.random_mixture(18, (*batch, 2), 3, 2), gms.random_mixture(19, (3, 2), 2, 2), rng=20
    )


def test_each_input_can_be_the_only_one_that_needs_a_gradient():
    d, k = gms.random_mixture(21, (2, 2), 3, 2), gms.random_mixture(22, (3, 2), 2, 2)
    _, (of_d, of_k) = pull_back(convolve, d, k)
    _, (d_alone,) = pull_back(lambda d: convolve(d, k), d)
    _, (k_alone,) = pull_back(lambda k: convolve(d, k), k)
    for a, b in zip((*d_alone.arrays, *k_alone.arrays), (*of_d.arrays, *of_k.arrays), strict=True):
        assert_close("exact", a, b)


def test_absent_components_have_gradient_exactly_zero():
    d, k = (laws.padded(gms.random_mixture(s, b, 3, 2), 2, 7.0) for s, b in ((23, (2, 2)), (24, (3, 2))))
    _, grads = pull_back(convolve, d, k)
    for g in grads:
        for a in g.arrays:
            assert_close("exact", a[:, :, 3:], np.zeros_like(a[:, :, 3:]))


@pytest.mark.parametrize("dim", [2, 3])
def test_single_precision_agrees_with_double(dim):
    d, k = gms.random_mixture(25, (2, 3), 16, dim, condition=1e4), gms.random_mixture(26, (4, 3), 5, dim)
    want, wants = pull_back(convolve, d, k)
    got, gots = pull_back(convolve, d.astype("float32"), k.astype("float32"))
    assert_mixtures_close("elementwise", got, want)
    for g, w in zip(gots, wants, strict=True):
        for a, b in zip(g.arrays, w.arrays, strict=True):
            assert_close("sum", a, b, size=100)


# --- contract -----------------------------------------------------------------------------------------------


def test_inputs_are_not_changed_and_need_not_be_contiguous():
    d, k = gms.random_mixture(27, (2, 2), 3, 2), gms.random_mixture(28, (3, 2), 2, 2)
    strided = [Mixture(*(np.asfortranarray(a) for a in m.arrays)) for m in (d, k)]
    before = [a.copy() for m in strided for a in m.arrays]
    (got, gots), (want, wants) = pull_back(convolve, *strided), pull_back(convolve, d, k)
    assert_mixtures_close("exact", got, want)
    for g, w in zip(gots, wants, strict=True):
        assert_mixtures_close("exact", g, w)
    for a, b in zip([a for m in strided for a in m.arrays], before, strict=True):
        assert_close("exact", a, b)


def test_repeated_calls_give_the_same_bits():
    d, k = gms.random_mixture(29, (8, 4), 16, 3), gms.random_mixture(30, (8, 4), 5, 3)
    (a, grads_a), (b, grads_b) = pull_back(convolve, d, k), pull_back(convolve, d, k)
    assert_mixtures_close("exact", a, b)
    for g, w in zip(grads_a, grads_b, strict=True):
        assert_mixtures_close("exact", g, w)


def test_channels_and_dimensions_that_do_not_fit_are_named():
    d = gms.random_mixture(31, (2, 3), 4, 2)
    for batch, dim in (((4, 2), 2), ((4, 3), 3), ((3,), 2), ((1, 4, 3), 2)):
        with pytest.raises(ShapeError, match="convolve"):
            convolve(d, gms.random_mixture(32, batch, 4, dim))
    with pytest.raises(ShapeError, match="convolve"):
        convolve(gms.random_mixture(33, (), 4, 2), gms.random_mixture(34, (4, 3), 4, 2))


def test_mixed_dtypes_are_refused():
    d, k = gms.random_mixture(35, (2,), 3, 2), gms.random_mixture(36, (3, 2), 2, 2, dtype="float32")
    with pytest.raises(DTypeError, match="convolve"):
        convolve(d, k)

"""The value type: construction, arithmetic, checks, files."""

import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

import gmengine as gm
from gmengine import backend
from gmengine.errors import (
    ArgumentError,
    BackendError,
    DTypeError,
    NonFiniteError,
    NotPositiveDefinite,
    ShapeError,
)


def mixture(batch=(2, 3), n=4, dim=2, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((*batch, n, dim, dim))
    cov = a @ np.swapaxes(a, -1, -2) + np.eye(dim)
    return gm.Mixture(rng.standard_normal((*batch, n)), rng.standard_normal((*batch, n, dim)), cov).astype(
        dtype
    )


def test_properties_and_repr_say_what_it_is():
    m = mixture(dtype="float32")
    assert (m.batch, m.n_components, m.dim, len(m)) == ((2, 3), 4, 2, 2)
    assert m.dtype == np.float32
    assert repr(m) == "Mixture(batch=(2, 3), components=4, dim=2, float32, cpu)"
    with pytest.raises(TypeError):
        len(m[0, 0])


def test_repr_of_a_single_mixture_says_its_integral():
    m = gm.Mixture([0.5, -1.25], [[0.0], [1.0]], [[[1.0]], [[2.0]]])
    assert repr(m) == "Mixture(batch=(), components=2, dim=1, integral=-0.75, float64, cpu)"
    assert "integral=nan" in repr(gm.Mixture([np.nan, 1.0], m.means, m.covariances))
    assert "integral=nan" in repr(gm.Mixture([np.inf, -np.inf], m.means, m.covariances))
    assert "components=0, dim=2, integral=0," in repr(mixture(batch=(), n=0))


def test_repr_says_how_many_components_are_present():
    m = mixture()
    m.weights[:] = 1.0
    m.weights[..., 3] = 0.0
    assert "components=4 (3 present)" in repr(m)
    m.weights[0, 1, :3] = 0.0
    assert "components=4 (0..3 present)" in repr(m)
    assert "components=4," in repr(mixture(batch=(0,)))


def test_repr_of_a_recorded_mixture_says_so():
    reprs = []

    def f(m):
        reprs.append(repr(m))
        return gm.integrate(m)

    gm.grad(f)(mixture(batch=()))
    assert reprs[0].startswith("Mixture(batch=(), components=4, dim=2, integral=")
    assert reprs[0].endswith(", float64, cpu, on a tape)")


def test_repr_does_not_fail_in_other_array_libraries():
    xp = import_module("array_api_strict")
    m = gm.Mixture(*(xp.asarray(a) for a in mixture(batch=()).arrays))
    assert repr(m).startswith("Mixture(batch=(), components=4, dim=2, integral=")


def test_lists_become_float64_arrays():
    m = gm.Mixture([1, -2], [[0, 0], [1, 1]], [[[1, 0], [0, 1]]] * 2)
    assert m.dtype == np.float64
    assert m.batch == ()


@pytest.mark.parametrize(
    ("weights", "means", "covariances"),
    [
        ((2,), (3, 2), (2, 2, 2)),
        ((2,), (2, 2), (2, 2, 3)),
        ((), (2,), (2, 2)),
        ((2,), (2, 0), (2, 0, 0)),
        ((2,), (2,), (2,)),
    ],
)
def test_shapes_that_do_not_fit_are_named(weights, means, covariances):
    with pytest.raises(ShapeError, match="expected weights"):
        gm.Mixture(np.ones(weights), np.ones(means), np.ones(covariances))


def test_mixed_or_integer_dtypes_are_refused():
    m = mixture()
    with pytest.raises(DTypeError, match="means float32"):
        gm.Mixture(m.weights, m.means.astype(np.float32), m.covariances)
    with pytest.raises(DTypeError, match="int64"):
        gm.Mixture(np.ones(2, int), np.ones((2, 1), int), np.ones((2, 1, 1), int))


def test_what_is_no_array_is_refused():
    m = mixture()
    with pytest.raises(BackendError, match="got str"):
        gm.Mixture("weights", m.means, m.covariances)


@pytest.mark.parametrize(
    "key", [0, -1, slice(0, 1), (1, 2), (slice(None), 0), Ellipsis, (Ellipsis, 1), (None, 0)]
)
def test_indexing_acts_on_the_batch_axes(key):
    m = mixture()
    got = m[key]
    batch_of_ones = np.ones(m.batch)[key]
    assert got.batch == batch_of_ones.shape
    assert got.n_components == m.n_components
    full = key if isinstance(key, tuple) else (key,)
    if Ellipsis not in full:
        full = (*full, Ellipsis)
    np.testing.assert_array_equal(got.means, m.means[(*full, slice(None), slice(None))])


def test_the_component_axis_cannot_be_indexed_by_accident():
    with pytest.raises(IndexError):
        mixture()[0, 0, 0]


def test_a_sum_of_mixtures_is_the_sum_of_functions():
    a, b = mixture(seed=1), mixture(batch=(3,), n=2, seed=2)
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 2))
    np.testing.assert_allclose(gm.evaluate(a + b, x), gm.evaluate(a, x) + gm.evaluate(b, x), rtol=1e-12)
    np.testing.assert_allclose(gm.evaluate(a - b, x), gm.evaluate(a, x) - gm.evaluate(b, x), rtol=1e-12)
    np.testing.assert_allclose(gm.evaluate(-(2.0 * a), x), -2 * gm.evaluate(a, x), rtol=1e-12)


def test_a_factor_broadcasts_over_the_batch():
    m, factor = mixture(), np.arange(3.0)
    for product in (m * factor, factor * m):
        np.testing.assert_array_equal(product.weights, m.weights * factor[:, None])


@pytest.mark.parametrize(("batch", "shape"), [((), (3,)), ((1, 3), (2, 1)), ((3,), (2, 3)), ((2, 3), ())])
def test_a_factor_and_the_batch_broadcast_both_ways(batch, shape):
    m, factor = mixture(batch), np.random.default_rng(1).uniform(1, 2, shape)
    full = np.broadcast_shapes(batch, shape)
    want = m.broadcast_to(full)
    for product in (m * factor, factor * m, m * factor.tolist(), factor.tolist() * m):
        np.testing.assert_array_equal(product.weights, want.weights * factor[..., None])
        np.testing.assert_array_equal(product.covariances, want.covariances)
    np.testing.assert_array_equal((m / factor).weights, want.weights / factor[..., None])
    gm.check_vjp(lambda m, s: (m * s, m / s), m, factor)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float16, np.float32, np.float64, int, float])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_number_of_any_kind_is_a_factor_and_leaves_the_dtype(kind, dtype):
    m = mixture(dtype=dtype)
    for product in (m * kind(2), kind(2) * m, m / (1 / kind(2))):
        np.testing.assert_array_equal(product.weights, m.weights * 2)
        assert product.dtype == m.dtype


def test_factors_that_do_not_fit_are_named():
    m = mixture()
    for combine in (lambda m, s: m * s, lambda m, s: s * m, lambda m, s: m / s):
        with pytest.raises(ShapeError, match=r"Mixture . .*\(2, 3\) and shape \(2,\)"):
            combine(m, np.ones(2))
        with pytest.raises(DTypeError):
            combine(m, np.ones(3, np.float32))
    for divisor in (0, 0.0, np.float32(0), [1.0, 0.0, 2.0], np.array([0.0, 1.0, 1.0])):
        with pytest.raises(ArgumentError, match="other than 0"):
            m / divisor
    for meaningless in (lambda: m * m, lambda: m / m, lambda: 1.0 / m):
        with pytest.raises(TypeError):
            meaningless()


def test_sum_adds_mixtures():
    m = mixture()
    assert sum([m, m, m]).n_components == 12
    np.testing.assert_array_equal(sum([m, m]).weights, (m + m).weights)
    assert sum([m]) is m
    for other in (1, 0.5, np.ones(3)):
        with pytest.raises(TypeError):
            other + m


def test_iteration_goes_along_the_first_batch_axis():
    m = mixture()
    parts = list(m)
    assert [p.batch for p in parts] == [(3,), (3,)]
    for part, weights in zip(parts, m.weights, strict=True):
        np.testing.assert_array_equal(part.weights, weights)
    assert list(mixture((0,))) == []
    with pytest.raises(TypeError, match="without batch axes"):
        iter(m[0, 0])


def test_sums_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match="2-D and 3-D"):
        mixture() + mixture(dim=3)
    with pytest.raises(ShapeError, match="do not broadcast"):
        mixture() + mixture(batch=(4,))


def test_arithmetic_is_differentiable():
    a, b = mixture(batch=(2,)), mixture(batch=(2,), seed=3)
    gm.check_vjp(lambda p, q: 2.0 * p[0] + q.reshape((2,))[1] - p[1], a, b)


def test_isotropic_covariances_are_round():
    m = gm.Mixture.isotropic(np.ones((2, 3)), np.zeros((2, 3, 2)), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(m.covariances[0, 1], 4 * np.eye(2))
    assert gm.Mixture.isotropic([1.0], [[0.0, 0.0]], 0.5).covariances[0, 0, 0] == 0.25
    with pytest.raises(ArgumentError, match="positive"):
        gm.Mixture.isotropic(np.ones(1), np.zeros((1, 2)), 0.0)


def test_isotropic_refuses_integer_arrays_before_it_looks_at_sigma():
    for weights, means in (
        (np.ones(1, int), np.zeros((1, 2), int)),
        (np.ones(1), np.zeros((1, 2), int)),
        (np.ones(1, np.float32), np.zeros((1, 2))),
    ):
        with pytest.raises(DTypeError, match=r"isotropic.*weights.*means"):
            gm.Mixture.isotropic(weights, means, 0.5)


def test_isotropic_is_differentiable_in_sigma():
    gm.check_vjp(
        lambda s: gm.Mixture.isotropic(np.ones(3), np.zeros((3, 2)), s).covariances, np.array([1.0, 2.0, 0.5])
    )


def test_check_names_the_component_and_its_smallest_eigenvalue():
    m = mixture()
    assert m.check() is m
    cov = m.covariances.copy()
    cov[1, 2, 3] = [[1.0, 2.0], [2.0, 1.0]]
    with pytest.raises(NotPositiveDefinite, match=r"\[1, 2, 3\].*smallest eigenvalue is -1"):
        gm.Mixture(m.weights, m.means, cov).check()
    cov[1, 2, 3] = [[1.0, 0.5], [0.0, 1.0]]
    with pytest.raises(NotPositiveDefinite, match="not symmetric"):
        gm.Mixture(m.weights, m.means, cov).check()
    w = m.weights.copy()
    w[0, 1, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"weight of component \[0, 1, 2\]"):
        gm.Mixture(w, m.means, m.covariances).check()


def test_absent_components_may_hold_anything():
    m = mixture()
    w, mu, cov = (a.copy() for a in m.arrays)
    w[0, 0, 0], mu[0, 0, 0], cov[0, 0, 0] = 0.0, np.nan, 0.0
    gm.Mixture(w, mu, cov).check()


def test_an_empty_mixture_is_valid():
    assert mixture(batch=(0,)).check().batch == (0,)
    assert mixture(n=0).check().n_components == 0


def test_a_file_brings_back_the_same_bits(tmp_path):
    m = mixture(dtype="float32")
    m.save(tmp_path / "m.npz")
    back = gm.Mixture.load(tmp_path / "m.npz")
    for got, want in zip(back.arrays, m.arrays, strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype


def test_moving_to_where_it_is_costs_nothing_and_unknown_devices_are_named():
    m = mixture()
    assert m.to("cpu").weights is m.weights
    with pytest.raises(BackendError, match="'tpu'"):
        m.to("tpu")


def test_without_cupy_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # makes `import cupy` raise ImportError
    with pytest.raises(BackendError, match="pip install 'gmengine"):
        mixture().to("cuda")


def test_a_broken_cupy_and_a_missing_driver_are_named_and_the_cpu_works_on(monkeypatch):
    def no_driver():
        raise RuntimeError("CUDA driver version is insufficient for CUDA runtime version")

    runtime = SimpleNamespace(getDeviceCount=no_driver)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
    with pytest.raises(
        BackendError, match="needs an NVIDIA driver and GPU: CUDA driver version is insufficient"
    ):
        mixture().to("cuda")
    runtime.getDeviceCount = lambda: 0
    with pytest.raises(BackendError, match="none is visible"):
        mixture().to("cuda")
    assert gm.integrate(mixture()).shape == mixture().batch


def test_two_cupys_in_one_environment_are_found_before_they_are_imported(monkeypatch):
    monkeypatch.setattr(backend, "cupy_packages", lambda: {"cupy-cuda12x": "14.2", "cupy-cuda13x": "14.2"})
    with pytest.raises(BackendError, match="pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install"):
        mixture().to("cuda")


@pytest.mark.parametrize("factor", [np.nan, np.inf, np.array([1.0, np.nan])])
def test_a_factor_that_is_not_finite_is_an_error(factor):
    m = gm.Mixture([0.0, 1.0], [[0.0], [1.0]], [[[1.0]], [[2.0]]])
    with pytest.raises(NonFiniteError, match="finite"):
        m * factor
    with pytest.raises(NonFiniteError, match="finite"):
        m / factor

"""product: the inner product of mixtures."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from product_oracle import inner, magnitude, precise_inner, table

from gmengine.cpu import _threads
from gmengine.errors import BackendError, DTypeError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.affine import scale, translate
from gmengine.ops.convolve import convolve
from gmengine.ops.evaluate import evaluate
from gmengine.ops.product import l2_distance, product
from gmengine.testing import assert_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

OPS = (product, l2_distance)


def close(got, want, a, b, condition=10.0, times=1.0):
    size = a.n_components * b.n_components
    unit = times * magnitude(a, b)
    assert_close("solve", np.asarray(got), np.asarray(want), size=size, condition=condition, scale=unit)


def compare(backend, a, b, condition=10.0):
    got = backend.asnumpy(product(backend.asarray(a), backend.asarray(b)))
    assert got.shape == np.broadcast_shapes(a.batch, b.batch)
    assert got.dtype == a.dtype
    close(got, inner(a, b), a, b, condition)


def grid(dim, radius=14.0, n=281):
    """Return points and the volume of a cell."""
    axis = np.linspace(-radius, radius, n)
    return np.stack(np.meshgrid(*[axis] * dim), axis=-1).reshape(-1, dim), (axis[1] - axis[0]) ** dim


def pair(seed, batch=(), n=(5, 4), dim=2, **options):
    """Return two random mixtures of one batch shape."""
    rng = np.random.default_rng(seed)
    return tuple(gms.random_mixture(rng, batch, k, dim, **options) for k in n)


# --- values -------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_those_of_loops_over_pairs(backend, dtype, data):
    dim, batch = data.draw(gms.dims), data.draw(gms.batches)
    options = {"dim": dim, "batch": batch, "dtype": dtype, "absent": 0.2, "degenerate": True}
    compare(backend, data.draw(gms.mixtures(**options)), data.draw(gms.mixtures(**options)))


@pytest.mark.parametrize("dim", [4, 5, 6])
def test_more_dimensions_have_the_same_formula(backend, dim):
    compare(backend, *pair(1, (2,), dim=dim, absent=0.2))


@pytest.mark.parametrize("dim", [1, 2])
def test_the_product_is_the_integral_of_the_product_of_values(backend, dim):
    a, b = pair(2, (2,), dim=dim)
    x, cell = grid(dim)
    want = np.sum(oracles.evaluate(*a.arrays, x) * oracles.evaluate(*b.arrays, x), axis=-1) * cell
    got = backend.asnumpy(product(backend.asarray(a), backend.asarray(b)))
    assert_close("quadrature", got, want, scale=magnitude(a, b))


@pytest.mark.parametrize(
    ("n", "m"), [(1, 1), (1, 70), (70, 1), (7, 8), (9, 63), (64, 65), (129, 130), (400, 300), (30, 2000)]
)
def test_any_number_of_components_fills_the_lanes(backend, n, m):
    a, b = pair(3, (), (n, m), 1)
    got = backend.asnumpy(product(backend.asarray(a), backend.asarray(b)))
    want, unit = table(a, b)
    assert_close("solve", np.asarray(got), want, size=n * m, condition=1.0, scale=unit)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_hard_conditioning_agrees_with_sixty_digits_of_the_product(backend, dim):
    a, b = pair(5, (), (5, 4), dim, condition=1e6)
    got = backend.asnumpy(product(backend.asarray(a), backend.asarray(b)))
    close(got, float(precise_inner(a, b)), a, b, condition=1e6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_far_apart_have_the_product_zero(backend, dtype):
    a, b = pair(6, dtype=dtype)
    for distance in (1e3, 1e18):
        far = translate(b, np.array([distance, -distance], dtype))
        got = backend.asnumpy(product(backend.asarray(a), backend.asarray(far)))
        assert_close("exact", np.asarray(got), np.zeros((), dtype))


def test_single_precision_is_double_precision_rounded(backend):
    a, b = pair(7, (3,), (40, 30), 3, condition=1e4)
    want = backend.asnumpy(product(backend.asarray(a), backend.asarray(b)))
    got = backend.asnumpy(product(*(backend.asarray(m.astype("float32")) for m in (a, b))))
    assert_close("exact", got, want.astype(np.float32))


# --- laws ---------------------------------------------------------------------------------------------------


@given(st.data())
def test_the_product_is_symmetric_and_bilinear(backend, data):
    dim = data.draw(gms.dims)
    a, b, c = (data.draw(gms.mixtures(dim=dim, batch=(2,), absent=0.2)) for _ in range(3))
    factor = data.draw(gms.scalars(-3, 3))
    x, y, z = (backend.asarray(m) for m in (a, b, c))
    close(backend.asnumpy(product(x, y)), backend.asnumpy(product(y, x)), a, b)
    both = a * factor + b
    want = factor * product(x, z) + product(y, z)
    close(backend.asnumpy(product(x * factor + y, z)), backend.asnumpy(want), both, c)


@given(st.data())
def test_the_product_obeys_cauchy_and_schwarz(backend, data):
    dim = data.draw(gms.dims)
    a, b = (data.draw(gms.mixtures(dim=dim, batch=(3,), absent=0.2, degenerate=True)) for _ in range(2))
    x, y = backend.asarray(a), backend.asarray(b)
    aa, ab, bb = (backend.asnumpy(p) for p in (product(x, x), product(x, y), product(y, y)))
    slack = 1e-14 * magnitude(a, a) * magnitude(b, b)
    assert np.all(aa >= -1e-14 * magnitude(a, a))
    assert np.all(ab**2 <= aa * bb + slack)


@given(st.data())
def test_the_product_ignores_order_and_a_common_motion(backend, data):
    dim = data.draw(gms.dims)
    a, b = (data.draw(gms.mixtures(dim=dim, batch=(2,))) for _ in range(2))
    x, y = backend.asarray(a), backend.asarray(b)
    want = backend.asnumpy(product(x, y))
    order = data.draw(st.permutations(range(a.n_components)))
    close(backend.asnumpy(product(laws.permuted(x, order), y)), want, a, b)
    rng = np.random.default_rng(data.draw(gms.seeds))
    shift = backend.asarray(rng.uniform(-2, 2, dim))
    close(backend.asnumpy(product(translate(x, shift), translate(y, shift))), want, a, b, 160.0)
    rotation, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    close(
        backend.asnumpy(product(*(backend.asarray(_rotated(m, rotation)) for m in (a, b)))), want, a, b, 160.0
    )


def _rotated(m, q):
    covariances = q @ m.covariances @ q.T
    return Mixture(m.weights, m.means @ q.T, (covariances + np.swapaxes(covariances, -1, -2)) / 2)


@given(st.data())
def test_stretching_space_divides_the_product_by_the_volume(backend, data):
    dim, factor = data.draw(gms.dims), data.draw(gms.scalars(0.1, 10))
    a, b = (data.draw(gms.mixtures(dim=dim, batch=(2,))) for _ in range(2))
    x, y = backend.asarray(a), backend.asarray(b)
    got = product(scale(x, factor), scale(y, factor)) * factor**dim
    close(backend.asnumpy(got), backend.asnumpy(product(x, y)), a, b, 40.0)


@given(st.data())
def test_the_product_is_the_correlation_at_zero(backend, data):
    dim = data.draw(gms.dims)
    a, b = (data.draw(gms.mixtures(dim=dim, batch=(), absent=0.2)) for _ in range(2))
    x, y = backend.asarray(a), backend.asarray(b)
    correlation = convolve(x[None], scale(y, -1.0)[None, None])[0]
    want = backend.asnumpy(evaluate(correlation, backend.asarray(np.zeros((1, dim)))))[0]
    close(backend.asnumpy(product(x, y)), want, a, b, 40.0)


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
def test_absent_components_of_either_operand_are_never_read(backend, garbage):
    a, b = (backend.asarray(m) for m in pair(8, (2,)))
    want = product(a, b)
    for x, y in ((laws.padded(a, 3, garbage), b), (a, laws.padded(b, 3, garbage))):
        assert_close("exact", product(x, y), want)


def test_a_mixture_without_components_has_the_product_zero(backend):
    a, b = pair(9, (2,))
    gone = gms.random_mixture(10, (2,), 3, 2, degenerate="all_absent")
    none = Mixture(a.weights[:, :0], a.means[:, :0], a.covariances[:, :0])
    for x, y in ((a, gone), (gone, b), (a, none), (none, b), (none, none)):
        got = backend.asnumpy(product(backend.asarray(x), backend.asarray(y)))
        assert_close("exact", got, np.zeros(2))


# --- contract -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [((), ()), ((3,), ()), ((), (3,)), ((2, 1), (3,)), ((2, 3), (1, 3)), ((0,), ()), ((0, 2), (2,))],
)
def test_batches_of_operands_broadcast(backend, left, right):
    compare(backend, gms.random_mixture(11, left, 4, 2), gms.random_mixture(12, right, 3, 2))


@pytest.mark.parametrize("op", OPS)
def test_operands_are_not_changed_and_need_not_be_contiguous(op):
    operands = pair(13, (3,))
    strided = [Mixture(*(np.asfortranarray(x) for x in m.arrays)) for m in operands]
    before = [x.copy() for m in strided for x in m.arrays]
    got, gots = pull_back(op, *strided)
    want, wants = pull_back(op, *operands)
    assert_close("exact", got, want)
    for g, w in zip(gots, wants, strict=True):
        for x, y in zip(g.arrays, w.arrays, strict=True):
            assert_close("exact", x, y)
    for x, y in zip((x for m in strided for x in m.arrays), before, strict=True):
        assert_close("exact", x, y)


@pytest.mark.parametrize("op", OPS)
def test_read_only_operands_are_accepted(op):
    a, b = pair(14)
    for x in (*a.arrays, *b.arrays):
        x.flags.writeable = False
    pull_back(op, a, b)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("batch", "n"), [((), (700, 300)), ((5,), (90, 40)), ((50,), (9, 20))])
def test_no_bit_depends_on_the_number_of_threads(op, batch, n, monkeypatch):
    a, b = pair(15, batch, n, absent=0.1)
    results = []
    for count in (1, 2, 3, 7):
        monkeypatch.setattr(_threads, "get_num_threads", lambda count=count: count)
        value, (of_a, of_b) = pull_back(op, a, b)
        results.append((value, *of_a.arrays, *of_b.arrays))
    for other in results[1:]:
        for x, y in zip(results[0], other, strict=True):
            assert_close("exact", x, y)


def test_memory_does_not_grow_with_the_number_of_pairs():
    a, b = pair(16, (), (3000, 3000), dtype="float32")
    pull_back(product, *pair(16, dtype="float32"))  # compiles
    tracemalloc.start()
    pull_back(product, a, b)
    pull_back(l2_distance, a, b)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6e6  # the pairs would be 72 MB; a mixture in float64 is 0.17 MB


GROWTH = """
import resource, sys
from gmengine.ops.product import l2_distance, product
from gmengine.testing import pull_back
from gmengine.testing.strategies import random_mixture

def peak(n):
    for op in (product, l2_distance):
        pull_back(op, random_mixture(1, (), n, 2), random_mixture(2, (), n, 2))
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size

small = peak(200)
print(peak(3000) - small)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no module `resource`")
def test_kernels_keep_no_pairs_either():
    out = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True).stdout
    assert int(out) < 36e6  # half of what the pairs of one product would be


@pytest.mark.parametrize("op", OPS)
def test_operands_that_do_not_fit_are_named(op):
    a = gms.random_mixture(17, (2,), 3, 2)
    for b in (gms.random_mixture(18, (2,), 3, 3), gms.random_mixture(18, (3,), 3, 2)):
        with pytest.raises(ShapeError, match=op.__name__):
            op(a, b)
    with pytest.raises(DTypeError, match=rf"{op.__name__}.*float32"):
        op(a, a.astype("float32"))


@pytest.mark.parametrize("op", OPS)
def test_arrays_of_different_libraries_are_refused(op):
    a = gms.random_mixture(19, (2,), 3, 2)
    with pytest.raises(BackendError):
        op(a, Mixture(*(array_api_strict.asarray(x) for x in a.arrays)))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize("field", ["weights", "means", "covariances"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_an_error_that_names_operand_and_component(op, operand, field, value):
    operands = pair(20, (2, 2), (3, 3))
    getattr(operands[operand], field)[1, 0, 2] = value
    with pytest.raises(NonFiniteError, match=rf"{op.__name__} \({'ab'[operand]}\).*\[1, 0, 2\]"):
        op(*operands)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_an_operand_that_is_not_positive_definite_is_an_error_with_its_eigenvalue(op, operand, dim):
    operands = pair(21, (2, 2), (3, 3), dim, dtype="float32")
    operands[operand].covariances[1, 0, 2] = np.diag([1.0, 2.0, -0.25][-dim:])
    with pytest.raises(NotPositiveDefinite, match=rf"{op.__name__} \({'ab'[operand]}\).*\[1, 0, 2\].*-0\.25"):
        op(*operands)

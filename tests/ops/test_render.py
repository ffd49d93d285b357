"""render: values on regular grids."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import Tape
from gmengine.cpu import _threads
from gmengine.cpu import render as kernels
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.affine import translate
from gmengine.ops.bounding_box import bounding_box
from gmengine.ops.evaluate import evaluate
from gmengine.ops.render import render
from gmengine.testing import assert_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

BOX = {k: ([-2.5] * k, [3.0] * k) for k in range(1, 7)}
SHAPE = {1: (700,), 2: (37, 53), 3: (13, 9, 21), 4: (7, 5, 6, 9), 5: (4, 3, 5, 4, 6), 6: (3, 4, 3, 2, 4, 5)}


def centres(box, shape):
    """Return the cell centres, ``(cells, K)``, in the order of the flattened grid."""
    axes = [low + (np.arange(n) + 0.5) * (high - low) / n for low, high, n in zip(*box, shape, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))


def condition_of(m, box):
    """Return the condition of "value at a cell centre": of the covariances, and of coordinates in deviations."""
    c = np.linalg.eigvalsh(m.covariances[m.weights != 0].astype(np.float64))
    if not c.size:
        return 1.0
    reach = max(np.abs(box).max(), np.abs(m.means[m.weights != 0]).max())
    return float((c[:, -1] / c[:, 0]).max() + reach**2 / c.min())


def close_to_oracle(m, box, shape, got):
    want = oracles.evaluate(*m.arrays, centres(box, shape)).reshape(*m.batch, *shape)
    unit = np.broadcast_to(laws.spread(m).reshape(*m.batch, *(1,) * m.dim), want.shape)
    assert_close("solve", got, want, size=m.n_components, condition=condition_of(m, box), scale=unit)


# --- values -------------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_at_the_cell_centres(backend, dtype, data):
    m = data.draw(gms.mixtures(dim=gms.dims_of(dtype), dtype=dtype, absent=0.2, degenerate=True))
    longest = {1: 400, 2: 40, 3: 12}[m.dim]
    shape = tuple(data.draw(st.integers(1, longest)) for _ in range(m.dim))
    low = [data.draw(gms.scalars(-4, 2)) for _ in shape]
    box = low, [x + data.draw(gms.scalars(0.1, 8)) for x in low]
    with pytest.MonkeyPatch.context() as patch:  # small grids have tiles too
        patch.setattr(kernels, "SMALLEST_TILE", data.draw(st.sampled_from([1, 7, 64, 2048])))
        got = backend.asnumpy(render(backend.asarray(m), box, shape))
    assert got.dtype == np.dtype(dtype)
    close_to_oracle(m, box, shape, got)


@pytest.mark.parametrize("dim", [4, 5, 6])
def test_more_dimensions_work_like_three(backend, dim):
    m = gms.random_mixture(1, (2,), 5, dim, absent=0.2)
    got = backend.asnumpy(render(backend.asarray(m), BOX[dim], SHAPE[dim]))
    close_to_oracle(m, BOX[dim], SHAPE[dim], got)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [2, 3])
def test_thin_rotated_components_are_complete(backend, dim, dtype):
    m = gms.random_mixture(2, (2,), 9, dim, condition=1e4, dtype=dtype)
    got = backend.asnumpy(render(backend.asarray(m), BOX[dim], SHAPE[dim]))
    close_to_oracle(m, BOX[dim], SHAPE[dim], got)


@pytest.mark.parametrize("deviation", [1e-6, 0.01, 0.2, 1.0])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_components_smaller_than_a_cell_are_seen_by_the_centres_that_they_cover(backend, dim, deviation):
    shape, box = (8,) * dim, ([0.0] * dim, [8.0] * dim)
    means = np.random.default_rng(3).integers(0, 8, (6, dim)) + 0.5
    means[3:] += 2.0 * deviation / np.sqrt(dim)
    m = Mixture(np.ones(6), means, np.broadcast_to(deviation**2 * np.eye(dim), (6, dim, dim)).copy())
    got = backend.asnumpy(render(backend.asarray(m), box, shape))
    assert np.count_nonzero(got) >= len(np.unique(means[:3], axis=0))
    close_to_oracle(m, box, shape, got)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40000), (40000, 1), (3, 70000), (300, 300)])
def test_grids_of_any_proportion_are_cut_into_tiles(backend, shape):
    m = gms.random_mixture(4, (), 30, 2)
    got = backend.asnumpy(render(backend.asarray(m), BOX[2], shape))
    want = evaluate(m, centres(BOX[2], shape)).reshape(shape)
    assert_close("solve", got, want, size=30, condition=condition_of(m, BOX[2]), scale=laws.spread(m))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_array_axes_are_coordinates_in_their_order(backend, dim):
    where = (7, 2, 5)[:dim]
    m = Mixture([1.0], [[i + 0.6 for i in where]], [(0.1 * np.eye(dim)).tolist()])
    shape = (12, 6, 9)[:dim]
    got = backend.asnumpy(render(backend.asarray(m), ([0.0] * dim, list(shape)), shape))
    assert np.unravel_index(got.argmax(), got.shape) == where


@pytest.mark.parametrize(("dtype", "cutoff"), [("float32", 30.0), ("float64", 60.0)])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_component_ends_where_it_cannot_change_the_sum_of_peaks(backend, dim, dtype, cutoff):
    m = gms.random_mixture(5, (), 1, dim, dtype=dtype)
    box = ([-12.0] * dim, [12.0] * dim)
    shape = {1: (999,), 2: (99, 98), 3: (29, 28, 27)}[dim]
    got = backend.asnumpy(render(backend.asarray(m), box, shape))
    want = oracles.evaluate(*m.arrays, centres(box, shape)).reshape(shape)
    peak = laws.spread(m).item()
    left_out = np.abs(want) < peak * 2.0 ** (-cutoff - 1e-3)
    assert 0 < np.count_nonzero(left_out) < want.size
    assert_close("exact", got[left_out], np.zeros_like(got[left_out]))
    assert np.all(got[np.abs(want) > peak * 2.0 ** (-cutoff + 1e-3)] != 0)
    assert_close("solve", got, want, condition=condition_of(m, box), scale=peak)


def test_components_beyond_the_box_leave_zeros(backend):
    m = gms.random_mixture(6, (2,), 5, 3)
    got = backend.asnumpy(render(backend.asarray(m), ([90.0, 0.0, 0.0], [99.0, 1.0, 1.0]), (5, 6, 7)))
    assert_close("exact", got, np.zeros((2, 5, 6, 7)))


@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 2), (0,), (2, 0)])
def test_every_mixture_of_a_batch_has_its_own_grid(backend, batch):
    m = gms.random_mixture(7, batch, 5, 2, absent=0.2)
    got = backend.asnumpy(render(backend.asarray(m), BOX[2], SHAPE[2]))
    assert got.shape == (*batch, *SHAPE[2])
    for b in np.ndindex(*batch):
        one = backend.asnumpy(render(backend.asarray(m[b]), BOX[2], SHAPE[2]))
        assert_close("exact", got[b], one)


def test_a_mixture_of_no_components_is_zero(backend):
    m = gms.random_mixture(8, (2,), 0, 2)
    assert_close("exact", backend.asnumpy(render(backend.asarray(m), BOX[2], (3, 4))), np.zeros((2, 3, 4)))


# --- laws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_sum_over_cells_is_the_integral(backend, dim):
    m = gms.random_mixture(9, (2,), 5, dim)
    shape = (60,) * dim
    got = backend.asnumpy(render(backend.asarray(m), ([-10.0] * dim, [10.0] * dim), shape))
    cells = got.reshape(2, -1).sum(-1) * (20 / 60) ** dim
    assert_close("quadrature", cells, oracles.integrate(m.weights), scale=1.0)


@given(st.data())
def test_a_part_of_the_box_shows_the_same_as_the_whole(backend, data):
    m = data.draw(gms.mixtures(dim=2, batch=(), absent=0.2))
    first = np.array([data.draw(st.integers(0, 40)) for _ in range(2)])
    count = np.array([data.draw(st.integers(1, 24)) for _ in range(2)])
    step, low = np.array([0.125, 0.0625]), np.array([-3.0, -2.0])
    whole = backend.asnumpy(render(backend.asarray(m), (low, low + 64 * step), (64, 64)))
    box = low + first * step, low + (first + count) * step
    part = backend.asnumpy(render(backend.asarray(m), box, count))
    window = tuple(slice(a, a + n) for a, n in zip(first, count, strict=True))
    limits = condition_of(m, (low, low + 64 * step))
    assert_close("solve", part, whole[window], size=m.n_components, condition=limits, scale=laws.spread(m))


@given(st.data())
def test_values_are_linear_and_follow_translation(backend, data):
    dim = data.draw(gms.dims)
    a, b = (data.draw(gms.mixtures(dim=dim, batch=(), absent=0.2)) for _ in range(2))
    factor, shift = data.draw(gms.scalars(-3, 3)), data.draw(gms.points(dim=dim, n_points=1))[0]
    shape, (low, high) = SHAPE[dim], (np.array(side) for side in BOX[dim])
    both = translate(a * factor + b, shift)
    got = backend.asnumpy(render(backend.asarray(both), (low + shift, high + shift), shape))
    want = factor * render(a, (low, high), shape) + render(b, (low, high), shape)
    unit = abs(factor) * laws.spread(a) + laws.spread(b)
    limits = condition_of(both, (low + shift, high + shift)) + condition_of(a + b, (low, high))
    assert_close("solve", got, want, size=12, condition=limits, scale=unit.item())


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
def test_absent_components_are_never_read(backend, garbage):
    m = backend.asarray(gms.random_mixture(10, (2,), 5, 2))
    got = render(laws.padded(m, 3, garbage), BOX[2], SHAPE[2])
    assert_close("exact", got, render(m, BOX[2], SHAPE[2]))


# --- contract -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1e1, 1e4])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_single_precision_agrees_with_double(dim, condition):
    m = gms.random_mixture(11, (2,), 40, dim, condition=condition)
    got, want = (render(x, BOX[dim], SHAPE[dim]) for x in (m.astype("float32"), m))
    unit = laws.spread(m).reshape(2, *(1,) * dim)
    assert_close("solve", got, want, size=40, condition=condition_of(m, BOX[dim]), scale=unit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("batch", "n", "shape"),
    [((), 50, (90, 70)), ((), 1, (90, 70)), ((3,), 9, (40, 61)), ((), 40, (9000,)), ((2,), 20, (20, 21, 22))],
)
def test_no_bit_depends_on_the_number_of_threads(batch, n, shape, dtype, monkeypatch):
    m = gms.random_mixture(12, batch, n, len(shape), absent=0.1, dtype=dtype)
    results = []
    for count in (1, 2, 3, 7):
        monkeypatch.setattr(_threads, "get_num_threads", lambda count=count: count)
        value, (grads,) = pull_back(lambda m: render(m, BOX[m.dim], shape), m)
        results.append((value, *grads.arrays))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_close("exact", a, b)


def test_inputs_are_not_changed_and_may_be_strided_or_read_only():
    m = gms.random_mixture(13, (3,), 5, 2)
    for a in m.arrays:
        a.flags.writeable = False
    want, (wants,) = pull_back(lambda m: render(m, BOX[2], SHAPE[2]), m)
    strided = Mixture(*(np.asfortranarray(a) for a in m.arrays))
    got, (gots,) = pull_back(lambda m: render(m, BOX[2], SHAPE[2]), strided)
    for a, b in zip((got, *gots.arrays), (want, *wants.arrays), strict=True):
        assert_close("exact", a, b)
    for a, b in zip(strided.arrays, m.arrays, strict=True):
        assert_close("exact", a, b)


def test_box_and_shape_may_be_arrays():
    m = gms.random_mixture(14, (), 5, 2)
    box = tuple(np.array(side, np.float32) for side in BOX[2])
    got = render(m, np.array(box), np.array(SHAPE[2]))
    assert_close("exact", got, render(m, BOX[2], SHAPE[2]))
    assert_close("exact", got, render(m, box, list(SHAPE[2])))
    assert render(m, bounding_box(m), (4, 5)).shape == (4, 5)


@pytest.mark.parametrize("shape", [(4,), (4, 5, 6)])
def test_a_shape_of_the_wrong_length_is_named(shape):
    with pytest.raises(ShapeError, match=r"render.*2 integers.*4"):
        render(gms.random_mixture(15, (), 3, 2), BOX[2], shape)


@pytest.mark.parametrize("shape", [(4, 0), (-1, 4), (4.0, 4.0), 4, None])
def test_a_shape_without_cells_is_named(shape):
    with pytest.raises(ArgumentError, match="render"):
        render(gms.random_mixture(15, (), 3, 2), BOX[2], shape)


@pytest.mark.parametrize(
    "box",
    [
        ([0.0], [1.0]),
        ([0.0] * 3, [1.0] * 3),
        (0.0, 1.0),
        ([0.0, 0.0],),
        (0, 0, 1, 1),
        3.0,
        None,
        (["a", "b"],) * 2,
    ],
)
def test_a_box_that_does_not_fit_is_named(box):
    with pytest.raises(ShapeError, match=r"render.*2 numbers"):
        render(gms.random_mixture(16, (), 3, 2), box, (4, 4))


@pytest.mark.parametrize("high", [[1.0, 0.0], [1.0, -1.0]])
def test_a_box_without_volume_is_named_with_its_axis(high):
    with pytest.raises(ArgumentError, match=r"render.*axis 1.*low < high"):
        render(gms.random_mixture(17, (), 3, 2), ([0.0, 0.0], high), (4, 4))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_not_finite_is_an_error(value):
    with pytest.raises(NonFiniteError, match=r"render.*box"):
        render(gms.random_mixture(18, (), 3, 2), ([0.0, 0.0], [1.0, value]), (4, 4))


def test_a_box_is_no_variable():
    m, tape = gms.random_mixture(19, (), 3, 2), Tape()
    with pytest.raises(ArgumentError, match=r"render.*constant"):
        render(m, (np.zeros(2), tape.watch(np.ones(2))), (4, 4))


@pytest.mark.parametrize("side", [2**26, 2**31])
def test_a_grid_that_does_not_fit_into_memory_is_named_with_its_size(side):
    with pytest.raises(MemoryError, match=rf"render.*{side}.*bytes"):
        render(gms.random_mixture(20, (), 3, 2), BOX[2], (side, side))


def test_an_empty_batch_of_a_grid_beyond_any_array_is_a_memory_error():
    m = gms.random_mixture(23, (0,), 3, 2)
    assert render(m, BOX[2], (8, 4)).shape == (0, 8, 4)
    with pytest.raises(
        MemoryError, match=rf"render.*\(0, {2**40}, {2**40}\).*bytes, its empty axes left out"
    ):
        render(m, BOX[2], (2**40, 2**40))


@pytest.mark.parametrize("box", [([0.0, 0.0], [1.0, 1e-310]), ([0.0, -1.7e308], [1.0, 1.7e308])])
def test_cells_without_a_size_that_counts_are_named_with_their_axis(box):
    with pytest.raises(ArgumentError, match=r"render: along axis 1 a cell's side"):
        render(gms.random_mixture(24, (), 3, 2), box, (4, 1))


def test_a_box_whose_side_overflows_has_cells():
    got = render(gms.random_mixture(25, (), 3, 1), ([-1.7e308], [1.7e308]), (5,))
    assert_close("exact", got[[0, 1, 3, 4]], np.zeros(4))
    assert got[2] != 0


def test_components_that_are_no_gaussians_are_named():
    m = gms.random_mixture(21, (2, 2), 3, 2)
    m.covariances[1, 0, 2] = np.diag([1.0, -0.25])
    with pytest.raises(NotPositiveDefinite, match=r"render.*\[1, 0, 2\].*-0\.25"):
        render(m, BOX[2], (4, 4))
    for field in ("weights", "means", "covariances"):
        m = gms.random_mixture(22, (2, 2), 3, 2)
        getattr(m, field)[1, 0, 2] = np.nan
        with pytest.raises(NonFiniteError, match=r"render.*\[1, 0, 2\]"):
            render(m, BOX[2], (4, 4))


GROWTH = """
import resource, sys
from gmengine.ops.render import render
from gmengine.testing import pull_back
from gmengine.testing.strategies import random_mixture

def peak(n):
    pull_back(lambda m: render(m, ([-9.0] * 2, [9.0] * 2), (200, 200)), random_mixture(1, (), n, 2))
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size

small = peak(20)
print(peak(2000) - small)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no module `resource`")
def test_memory_does_not_grow_with_components_times_cells():
    out = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True).stdout
    assert int(out) < 32e6  # one number for each would be 640 MB

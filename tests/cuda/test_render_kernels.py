"""render of gmengine.cuda, run on the CPU, beside its twin."""

from __future__ import annotations

import numpy as np
import pytest
from twins import compare, mixtures, on_cpu, on_gpu

from gmengine.cpu import render as twin
from gmengine.errors import NonFiniteError, NotPositiveDefinite
from gmengine.testing import assert_close

DTYPES = ["float32", "float64"]


def grid(shape, low=-2.5, high=3.0):
    """Return the options of a grid of a cube; cells are oblong."""
    return {
        "shape": tuple(shape),
        "low": (low,) * len(shape),
        "step": tuple((high - low) / n for n in shape),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("mixture", "shape"),
    [
        ((3, 5), (1,)),
        ((2, 9), (129,)),
        ((1, 1), (1000,)),
        ((2, 5), (1, 1)),
        ((2, 70), (17, 9)),
        ((1, 3), (1, 300)),
        ((1, 3), (300, 1)),
        ((2, 5), (5, 9, 11)),
        ((1, 30), (8, 3, 17)),
        ((2, 4), (3, 5, 4, 9)),
        ((1, 2), (2, 3, 2, 3, 2)),
        ((2, 0), (5, 3)),
        ((0, 4), (5, 3)),
    ],
)
def test_pictures_and_their_gradients_agree_with_the_cpu(cuda, mixture, shape, dtype):
    rng = np.random.default_rng(len(shape))
    inputs = mixtures(*mixture, len(shape), dtype, rng)
    compare(cuda("render"), inputs, rng, size=max(mixture[1], max(shape)), **grid(shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1200,), (33, 40), (12, 9, 33), (3, 5, 6, 17)])
def test_four_cells_per_thread_draw_the_same_picture(cuda, monkeypatch, shape, dtype):
    house = cuda("render")
    monkeypatch.setattr(house, "LARGE", 1)
    rng = np.random.default_rng(len(shape))
    inputs = mixtures(2, 6, len(shape), dtype, rng)
    compare(house, inputs, rng, size=max(shape), **grid(shape))
    assert cuda("_launch").launches["render_forward_4"] == 1


@pytest.mark.parametrize(
    "shape", [(), (1,), (7,), (500,), (1, 1), (1, 10**6), (70, 3), (512, 512), (9, 9, 9)]
)
def test_tiles_have_the_cells_of_a_block_and_no_side_longer_than_needed(cuda, shape):
    each, bits = cuda("render")._tiling((*shape, 40))
    assert 2 ** sum(bits) == each * cuda("_launch").BLOCK
    assert all(2**b < 2 * n for b, n in zip(bits, shape, strict=False))


@pytest.mark.parametrize("n", [500, 512, 513, 1300])
def test_many_tiny_components_are_sifted_and_drawn_in_more_than_one_turn(cuda, n):
    rng = np.random.default_rng(0)
    weights, means, covariances = mixtures(1, n, 2, "float32", rng)
    means[0, 200:900] = 0.3 + 0.1 * rng.normal(
        size=means[0, 200:900].shape
    )  # more than a turn draws, in one tile
    inputs, options = (weights, means, covariances * np.float32(1e-2)), grid((9, 20))
    want, _ = twin.forward(*inputs, **options)
    got, _ = cuda("render").forward(*on_gpu(inputs), **options)
    assert_close("solve", on_cpu(got), want, size=n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_boxes_are_cut_into_slices_along_their_longest_side(cuda, dtype):
    rng = np.random.default_rng(1)
    for shape in ((9000,), (70, 61), (2, 4100), (17, 16, 19)):
        inputs = mixtures(1, 3, len(shape), dtype, rng, absent=0.0)
        compare(cuda("render"), inputs, rng, size=max(shape), **grid(shape))


def test_a_mixture_has_the_same_bits_alone_and_in_company(cuda):
    rng = np.random.default_rng(2)
    inputs = mixtures(3, 40, 2, "float32", rng)
    options = grid((21, 30))
    together, _ = cuda("render").forward(*on_gpu(inputs), **options)
    for m in range(3):
        alone, _ = cuda("render").forward(*on_gpu(tuple(a[m : m + 1] for a in inputs)), **options)
        assert_close("exact", on_cpu(alone)[0], on_cpu(together)[m])


@pytest.mark.parametrize(("dtype", "cutoff"), [("float32", 30.0), ("float64", 60.0)])
@pytest.mark.parametrize("shape", [(999,), (61, 60), (17, 16, 19)])
def test_a_component_ends_at_the_cells_where_it_ends_on_the_cpu(cuda, shape, dtype, cutoff):
    rng = np.random.default_rng(3)
    weights, means, covariances = mixtures(1, 1, len(shape), dtype, rng, absent=0.0)
    options = grid(shape, -8.0, 8.0)
    got, _ = cuda("render").forward(*on_gpu((weights, means, covariances)), **options)
    want, _ = twin.forward(weights, means, covariances, **options)
    inverse, double = np.linalg.inv(covariances[0, 0].astype(np.float64)), np.float64
    axes = [(np.arange(n) + 0.5) * 16.0 / n - 8.0 for n in shape]
    d = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) - means[0, 0].astype(double)
    fall = 0.5 * np.log2(np.e) * np.einsum("...k,kl,...l", d, inverse, d)
    edge = np.abs(fall - cutoff) < 1e3 * cutoff * np.finfo(dtype).eps  # decided by rounding
    assert np.mean(edge) < 0.01
    assert 0 < np.count_nonzero(on_cpu(got)) < got.size
    assert_close("exact", (on_cpu(got) != 0)[~edge[None]], (want != 0)[~edge[None]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("deviation", [1e-12, 1e-5, 0.3])
def test_components_smaller_than_a_cell_far_from_the_origin_are_seen(cuda, dim, deviation, dtype):
    rng = np.random.default_rng(4)
    shape = (37, 21, 9)[:dim]
    centres = np.stack([rng.integers(0, n, 6) for n in shape], axis=-1)
    means = (centres + 64.5 + np.array([0, 0, 0, 1, 1, 1])[:, None] * deviation / np.sqrt(dim)).astype(dtype)
    covariances = np.broadcast_to(deviation**2 * np.eye(dim), (1, 6, dim, dim)).astype(dtype)
    inputs = np.full((1, 6), deviation**dim, dtype), means[None], np.ascontiguousarray(covariances)
    options = {"shape": shape, "low": (64.0,) * dim, "step": (1.0,) * dim}
    got, _ = cuda("render").forward(*on_gpu(inputs), **options)
    want, _ = twin.forward(*inputs, **options)
    assert np.count_nonzero(want) >= 1
    assert_close("solve", on_cpu(got), want, size=6)


def test_values_beyond_float32_at_the_mean_alone_are_drawn_where_float32_has_them(cuda):
    covariances = (1e-28 * np.eye(3, dtype=np.float32))[None, None]
    inputs = np.ones((1, 1), "float32"), np.full((1, 1, 3), 0.5, "float32"), covariances
    for offset in (0.0, 4.5e-14):
        options = {"shape": (1, 1, 1), "low": (offset, 0.0, 0.0), "step": (1.0, 1.0, 1.0)}
        with np.errstate(over="ignore"):
            want, _ = twin.forward(*inputs, **options)
        got, _ = cuda("render").forward(*on_gpu(inputs), **options)
        assert np.isinf(want) == (offset == 0.0)
        np.testing.assert_array_equal(np.isinf(on_cpu(got)), np.isinf(want))
        if offset:
            assert_close("solve", on_cpu(got), want, condition=1e2)


def test_boxes_of_any_size_have_pictures(cuda):
    rng = np.random.default_rng(5)
    inputs = mixtures(1, 3, 2, "float64", rng, absent=0.0)
    for low, step in (
        ((-1e300, -1e300), (1e300, 1e300)),
        ((0.0, 0.0), (1e-300, 1e-300)),
        ((9e9, 0.0), (1.0, 1.0)),
    ):
        options = {"shape": (3, 4), "low": low, "step": step}
        want, residuals = twin.forward(*inputs, **options)
        got, own = cuda("render").forward(*on_gpu(inputs), **options)
        assert_close("solve", on_cpu(got), want, size=3)
        g = rng.normal(size=want.shape)
        for a, b in zip(
            cuda("render").vjp(own, on_gpu(g), (True,) * 3), twin.vjp(residuals, g, (True,) * 3), strict=True
        ):
            assert_close("gradient", on_cpu(a), b, size=12)


def test_components_beyond_the_grid_leave_zeros_and_take_no_gradient(cuda):
    rng = np.random.default_rng(6)
    weights, means, covariances = mixtures(2, 40, 3, "float32", rng)
    values, residuals = cuda("render").forward(*on_gpu((weights, means + 90, covariances)), **grid((5, 6, 7)))
    assert_close("exact", on_cpu(values), np.zeros_like(on_cpu(values)))
    for grad in cuda("render").vjp(residuals, values + 1, (True,) * 3):
        assert_close("exact", on_cpu(grad), np.zeros_like(on_cpu(grad)))


def test_the_first_component_that_cannot_be_drawn_is_named(cuda):
    rng = np.random.default_rng(7)
    weights, means, covariances = mixtures(3, 70, 2, "float32", rng, absent=0.0)
    covariances[1, 66], covariances[2, 0] = -np.eye(2), np.nan
    with pytest.raises(NotPositiveDefinite, match=r"render: covariance of component \[1, 66\]"):
        cuda("render").forward(*on_gpu((weights, means, covariances)), **grid((5, 6)))
    means[0, 3, 1] = np.inf
    with pytest.raises(NonFiniteError, match=r"render: component \[0, 3\]"):
        cuda("render").forward(*on_gpu((weights, means, covariances)), **grid((5, 6)))

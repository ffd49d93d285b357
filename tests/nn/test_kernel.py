"""The learned kernel: where it starts, that it stays valid, its gradient, its decay."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.autograd import check_vjp, grad
from gmengine.nn import Kernel, kernel_decay
from gmengine.nn.kernel import initial_positions
from gmengine.testing import assert_close


def test_a_plane_kernel_starts_as_an_exact_cross():
    params = Kernel(outputs=3, inputs=2).init(rng=0, dtype="float64")
    cross = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
    np.testing.assert_array_equal(params["means"], np.broadcast_to(cross, (3, 2, 5, 2)))
    assert not np.signbit(params["means"][params["means"] == 0]).any()
    assert_close("exact", Kernel(3, 2, radius=1.5).mixture(params).means, 1.5 * params["means"])


def test_other_counts_spread_evenly_on_the_circle():
    p = initial_positions(np.random.default_rng(0), (4,), 2)
    assert_close("elementwise", np.linalg.norm(p[1:], axis=-1), np.ones(3))
    assert_close("elementwise", p.sum(axis=0), np.zeros(2), scale=1.0)
    np.testing.assert_array_equal(p[:2], [[0, 0], [0, 1]])


def test_a_line_kernel_starts_at_the_origin_and_both_ends_then_fills_in():
    p = initial_positions(np.random.default_rng(0), (9,), 1)
    np.testing.assert_array_equal(p[:, 0], [0, 1, -1, 0.5, -0.5, 0.25, -0.25, 0.75, -0.75])


@pytest.mark.parametrize("dim", [3, 5])
def test_in_more_dimensions_components_start_anywhere_on_the_sphere(dim):
    p = initial_positions(np.random.default_rng(0), (200, 2, 5), dim)
    assert_close("exact", p[..., 0, :], np.zeros((200, 2, dim)))
    assert_close("elementwise", np.linalg.norm(p[..., 1:, :], axis=-1), np.ones((200, 2, 4)))
    # 1600 uniform directions: the mean of each coordinate is 0 +- 1 / sqrt(1600 dim)
    assert np.abs(p[..., 1:, :].mean(axis=(0, 1, 2))).max() < 5 / np.sqrt(1600 * dim)


def test_starting_numbers_have_the_published_distribution():
    kernel = Kernel(outputs=40, inputs=20)
    m = kernel.mixture(kernel.init(rng=1, dtype="float64"))
    assert m.batch == (40, 20)
    assert abs(m.weights.mean() - 0.1) < 5 / np.sqrt(m.weights.size)
    assert abs(m.weights.std() - 1.0) < 0.1
    # (A A^T + 0.05 I) 0.694 with A = I + 0.05 U[-1, 1]
    diagonal = np.diagonal(m.covariances, axis1=-2, axis2=-1) / (2.5 / 3) ** 2
    assert abs(diagonal.mean() - 1.05) < 0.01
    assert 0.9 < diagonal.min() < diagonal.max() < 1.2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_repeat_and_keep_their_dtype(dtype):
    kernel = Kernel(2, 3, components=4, dim=3)
    a, b = kernel.init(rng=7, dtype=dtype), kernel.init(rng=np.random.default_rng(7), dtype=dtype)
    assert {name: x.shape for name, x in a.items()} == {
        "weights": (2, 3, 4),
        "means": (2, 3, 4, 3),
        "factors": (2, 3, 4, 3, 3),
    }
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].dtype == np.dtype(dtype)
    assert kernel.mixture(a).dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_factor_makes_an_invalid_covariance(dtype):
    rng, kernel = np.random.default_rng(2), Kernel(4, 5, dim=3)
    params = kernel.init(rng, dtype)
    params["factors"] = rng.standard_normal(params["factors"].shape).astype(dtype)
    params["factors"][0] = 0.0
    params["factors"][1, :, :, 1] = params["factors"][1, :, :, 0]
    m = kernel.mixture(params).check()
    floor = 0.05 * (2.5 / 3) ** 2
    assert np.linalg.eigvalsh(m.covariances.astype(np.float64)).min() > floor * (1 - 1e-4)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gradients_of_kernel_and_decay_are_those_of_finite_differences(dim):
    kernel = Kernel(2, 3, dim=dim)
    params = kernel.init(rng=3, dtype="float64")
    check_vjp(kernel.mixture, params)
    check_vjp(kernel_decay, {name: params[name] for name in ("weights", "factors")})


def test_decay_is_equation_8_of_the_raw_parameters():
    params = Kernel(2, 3).init(rng=4, dtype="float64")
    want = 0.0
    for w, a in zip(params["weights"].reshape(-1), params["factors"].reshape(-1, 2, 2), strict=True):
        want += (w**2 + np.mean((a @ a.T - np.eye(2)) ** 2)) / params["weights"].size
    assert_close("sum", kernel_decay(params), np.asarray(want), size=60)


def test_decay_is_zero_only_at_rest():
    rest = {"weights": np.zeros((1, 1, 2)), "factors": np.broadcast_to(np.eye(2), (1, 1, 2, 2, 2)).copy()}
    assert kernel_decay(rest) == 0.0
    pull = grad(kernel_decay)({"weights": rest["weights"] + 0.5, "factors": rest["factors"] * 2.0})
    assert (pull["weights"] > 0).all()
    assert (np.diagonal(pull["factors"], axis1=-2, axis2=-1) > 0).all()

"""evaluate and relu of gmengine.cuda, run on the CPU, beside their twins."""

import numpy as np
import pytest
from twins import SHAPES, compare, mixtures, on_gpu

from gmengine.deferred import deferred_checks
from gmengine.errors import BackendError, NonFiniteError, NotPositiveDefinite

DIMS = [1, 2, 3, 4]
DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_relu_and_its_gradients_agree_with_the_cpu(cuda, shape, dim, dtype):
    rng = np.random.default_rng(dim)
    bias = rng.normal(size=shape[0]).astype(dtype)
    for relative in (True, False):
        options = {"epsilons": (0.1, 0.05, 0.05), "relative": relative}
        compare(cuda("relu"), (*mixtures(*shape, dim, dtype, rng), bias), rng, size=shape[1], **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize(
    ("shape", "n_points"),
    [((3, 5), 7), ((1, 1), 1), ((2, 64), 64), ((1, 65), 129), ((1, 130), 1300), ((2, 0), 3), ((2, 3), 0)],
)
def test_evaluate_and_its_gradients_agree_with_the_cpu(cuda, shape, n_points, dim, dtype):
    rng = np.random.default_rng(dim)
    points = rng.normal(size=(shape[0], n_points, dim)).astype(dtype)
    compare(cuda("evaluate"), (*mixtures(*shape, dim, dtype, rng), points), rng, size=max(shape[1], n_points))


def test_many_mixtures_take_four_points_per_thread_and_give_the_same_bits(cuda):
    rng = np.random.default_rng(0)
    one = mixtures(1, 5, 2, "float32", rng)
    points = rng.normal(size=(1, 9, 2)).astype("float32")
    alone, _ = cuda("evaluate").forward(*on_gpu((*one, points)))
    many = tuple(np.repeat(a, 264, axis=0) for a in (*one, points))
    together, _ = cuda("evaluate").forward(*on_gpu(many))
    assert cuda("_launch").launches["evaluate_forward_4"] == 1
    np.testing.assert_array_equal(together, np.repeat(alone, 264, axis=0))


def test_many_mixtures_take_two_points_per_thread_backwards_and_give_the_same_bits(cuda):
    rng = np.random.default_rng(0)
    one = (*mixtures(1, 9, 2, "float32", rng), np.zeros(1, "float32"))
    options = {"epsilons": (0.1, 0.05, 0.05), "relative": True}
    g = rng.normal(size=(1, 9)).astype("float32")
    grads = []
    for repeats in (1, 264):
        _, residuals = cuda("relu").forward(
            *on_gpu(tuple(np.repeat(a, repeats, axis=0) for a in one)), **options
        )
        grads.append(cuda("relu").vjp(residuals, *on_gpu((np.repeat(g, repeats, axis=0),)), (True,) * 4))
    assert cuda("_launch").launches["relu_vjp_points_2"] == 1
    for alone, together in zip(*grads, strict=True):
        np.testing.assert_array_equal(together, np.repeat(alone, 264, axis=0))


@pytest.mark.parametrize(("op", "error"), [("relu", NotPositiveDefinite), ("evaluate", NotPositiveDefinite)])
def test_the_first_component_without_a_density_is_named(cuda, op, error):
    rng = np.random.default_rng(0)
    weights, means, covariances = mixtures(3, 70, 2, "float32", rng, absent=0.0)
    covariances[1, 66] = -np.eye(2)
    covariances[2, 0] = np.nan
    extra = np.zeros(3, "float32") if op == "relu" else np.zeros((3, 1, 2), "float32")
    options = {"epsilons": (0.1, 0.05, 0.05), "relative": True} if op == "relu" else {}
    args = on_gpu((weights, means, covariances, extra))
    with pytest.raises(error, match=rf"{op}: covariance of component \[1, 66\] is not positive"):
        cuda(op).forward(*args, **options)
    finished = []

    def block():
        with deferred_checks():
            finished.append(cuda(op).forward(*args, **options))

    with pytest.raises(error, match=r"component \[1, 66\]"):
        block()
    assert len(finished) == 1  # nobody looked before the end


def test_a_component_too_narrow_for_its_dtype_is_refused(cuda):
    weights, means = np.ones((1, 2), "float32"), np.zeros((1, 2, 3), "float32")
    covariances = np.stack([np.eye(3), 1e-28 * np.eye(3)])[None].astype("float32")
    with pytest.raises(NonFiniteError, match=r"component \[0, 1\] is too narrow"):
        cuda("evaluate").forward(*on_gpu((weights, means, covariances, means)))


def test_arrays_of_two_devices_are_refused(cuda):
    args = on_gpu((*mixtures(1, 2, 2, "float32", np.random.default_rng(0)), np.zeros((1, 1, 2), "float32")))
    args[3].id_of_device = 1
    with pytest.raises(
        BackendError, match=r"evaluate.forward: expected arrays of one device, got cuda \[0, 1\]"
    ):
        cuda("evaluate").forward(*args)

"""derivatives of gmengine.cuda, run on the CPU, beside its twin."""

import numpy as np
import pytest
from twins import compare, cotangent, mixtures, on_cpu, on_gpu

from gmengine.cpu import derivatives as twin
from gmengine.deferred import deferred_checks
from gmengine.errors import NonFiniteError, NotPositiveDefinite
from gmengine.testing import assert_close

DIMS = [1, 2, 3, 4]
DTYPES = ["float32", "float64"]
ORDERS = [1, 2]


def check(cuda, shape, n_points, dim, dtype, order):
    rng = np.random.default_rng(dim)
    points = rng.normal(size=(shape[0], n_points, dim)).astype(dtype)
    size = max(shape[1], n_points)
    compare(cuda("derivatives"), (*mixtures(*shape, dim, dtype, rng), points), rng, size=size, order=order)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize(("shape", "n_points"), [((3, 5), 7), ((1, 65), 129)])
@pytest.mark.parametrize("order", ORDERS)
def test_derivatives_and_their_gradients_agree_with_the_cpu(cuda, order, shape, n_points, dim, dtype):
    check(cuda, shape, n_points, dim, dtype, order)


@pytest.mark.parametrize(
    ("shape", "n_points"),
    [((1, 1), 1), ((2, 64), 64), ((1, 130), 1300), ((2, 0), 3), ((2, 3), 0), ((0, 4), 5)],
)
@pytest.mark.parametrize("order", ORDERS)
def test_derivatives_of_any_number_of_components_and_points_agree_with_the_cpu(cuda, order, shape, n_points):
    check(cuda, shape, n_points, 2, "float64", order)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_where_a_density_underflows_its_derivatives_and_their_gradients_are_zero(cuda, order, dtype):
    rng = np.random.default_rng(0)
    weights, means, covariances = mixtures(2, 5, 3, dtype, rng)
    far = 1e4 if dtype == "float32" else 1e160  # the square of the second is infinite
    points = np.full((2, 3, 3), far, dtype)
    points[1] = far * far if dtype == "float32" else far  # and so is that of 1e8 times a large precision
    value, residuals = cuda("derivatives").forward(
        *on_gpu((weights, means, covariances, points)), order=order
    )
    assert_close("exact", on_cpu(value), np.zeros(value.shape, dtype))
    for grad in cuda("derivatives").vjp(residuals, on_gpu(cotangent(on_cpu(value), rng)), (True,) * 4):
        assert_close("exact", on_cpu(grad), np.zeros(grad.shape, dtype))


@pytest.mark.parametrize("order", ORDERS)
def test_gradients_are_the_differences_of_the_gpus_own_derivatives(cuda, order):
    rng = np.random.default_rng(3)
    inputs = (*mixtures(2, 4, 3, "float64", rng), rng.normal(size=(2, 5, 3)))
    house = cuda("derivatives")
    value, residuals = house.forward(*on_gpu(inputs), order=order)
    g = cotangent(on_cpu(value), rng)
    grads = on_cpu(house.vjp(residuals, on_gpu(g), (True,) * 4))
    present = inputs[0] != 0
    for i, x in enumerate(inputs):
        tangent = rng.normal(size=x.shape)
        if i < 3:
            tangent *= present.reshape(*x.shape[:2], *(1,) * i)
        if i == 2:
            tangent += np.swapaxes(tangent, -1, -2)

        def along(t, i=i, x=x, tangent=tangent):
            moved = [x + t * tangent if k == i else y for k, y in enumerate(inputs)]
            return np.sum(g * on_cpu(house.forward(*on_gpu(moved), order=order)[0]))

        h = 1e-4  # of the fourth order: truncation and rounding stay near 1e-10
        want = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
        unit = np.sum(np.abs(grads[i] * tangent))
        assert_close("quadrature", np.sum(grads[i] * tangent), np.asarray(want), scale=unit)


@pytest.mark.parametrize(("order", "op"), [(1, "density_gradient"), (2, "density_hessian")])
def test_the_operation_and_its_first_component_without_a_density_are_named(cuda, order, op):
    rng = np.random.default_rng(4)
    weights, means, covariances = mixtures(3, 70, 2, "float32", rng, absent=0.0)
    covariances[1, 66], covariances[2, 0] = -np.eye(2), np.nan
    inputs, finished = (weights, means, covariances, np.zeros((3, 1, 2), "float32")), []
    for house, args in ((cuda("derivatives"), on_gpu(inputs)), (twin, inputs)):
        with pytest.raises(NotPositiveDefinite, match=rf"{op}: covariance of component \[1, 66\] is not pos"):
            house.forward(*args, order=order)
    means[0, 69, 1] = np.inf

    def block():
        with deferred_checks():
            finished.append(cuda("derivatives").forward(*on_gpu(inputs), order=order))

    with pytest.raises(NonFiniteError, match=rf"{op}: component \[0, 69\] has a number"):
        block()
    assert len(finished) == 1  # nobody looked before the end


@pytest.mark.parametrize("order", ORDERS)
def test_a_component_whose_slopes_are_beyond_its_dtype_is_refused(cuda, order):
    weights, means = np.ones((1, 2), "float32"), np.zeros((1, 2, 3), "float32")
    covariances = np.stack([np.eye(3), 1e-28 * np.eye(3)])[None].astype("float32")
    with pytest.raises(NonFiniteError, match=r"component \[0, 1\] is too narrow"):
        cuda("derivatives").forward(*on_gpu((weights, means, covariances, means)), order=order)


@pytest.mark.parametrize("order", ORDERS)
def test_kernels_of_derivatives_are_launched_only_for_gradients_that_are_needed(cuda, order):
    rng = np.random.default_rng(7)
    inputs = on_gpu((*mixtures(2, 3, 2, "float32", rng), rng.normal(size=(2, 4, 2)).astype("float32")))
    value, residuals = cuda("derivatives").forward(*inputs, order=order)
    launches = cuda("_launch").launches
    assert dict(launches) == {f"derivatives_{what}_{order}": 1 for what in ("prepare", "forward")}
    launches.clear()
    cuda("derivatives").vjp(residuals, value, (False, False, False, True))
    assert dict(launches) == {f"derivatives_{what}_{order}": 1 for what in ("prepare", "vjp_points")}
    launches.clear()
    cuda("derivatives").vjp(residuals, value, (False, True, False, False))
    names = ("prepare", "vjp_components", "finish")
    assert dict(launches) == {f"derivatives_{what}_{order}": 1 for what in names}

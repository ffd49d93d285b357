"""convolve of gmengine.cuda, run on the CPU, beside its twin."""

import numpy as np
import pytest
from twins import agree, compare, cotangent, mixtures, on_cpu, on_gpu

from gmengine.cpu import convolve as twin

DTYPES = ["float32", "float64"]
# (B, I, N) and (O, I, M): one component, full and broken blocks, several tiles of pairs and slices, nothing at all.
SHAPES = [
    ((2, 3, 5), (2, 3), 3),
    ((1, 1, 1), (1, 1), 1),
    ((3, 1, 33), (1, 1), 2),
    ((9, 2, 32), (2, 2), 3),
    ((1, 2, 7), (2, 2), 9),
    ((2, 3, 0), (2, 3), 2),
    ((0, 3, 4), (2, 3), 2),
    ((2, 3, 4), (0, 3), 2),
    ((2, 3, 4), (2, 3), 0),
    ((2, 0, 4), (2, 0), 3),
]


def factors(shape, outputs, M, K, dtype, rng):
    """Data (B, I, N) and kernels (O, I, M), both with absent components."""
    (B, I, N), (O, _) = shape, outputs
    data = mixtures(B * I, N, K, dtype, rng)
    kern = mixtures(O * I, M, K, dtype, rng)
    of_data = (a.reshape(B, I, *a.shape[1:]) for a in data)
    of_kernel = (a.reshape(O, I, *a.shape[1:]) for a in kern)
    return (*of_data, *of_kernel)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
@pytest.mark.parametrize(("shape", "outputs", "M"), SHAPES)
def test_convolve_and_its_gradients_agree_with_the_cpu(cuda, shape, outputs, M, dim, dtype):
    rng = np.random.default_rng(dim)
    size = max(shape[0] * shape[2], outputs[0] * M, 1)
    compare(cuda("convolve"), factors(shape, outputs, M, dim, dtype, rng), rng, size=size)


@pytest.mark.parametrize("dim", [6])
def test_blocks_of_fewer_components_serve_more_dimensions(cuda, dim):
    rng = np.random.default_rng(dim)
    compare(cuda("convolve"), factors((2, 2, 19), (2, 2), 2, dim, "float32", rng), rng, size=38)


def test_a_product_has_the_bits_of_the_cpu(cuda):
    inputs = factors((2, 2, 9), (3, 2), 4, 3, "float32", np.random.default_rng(0))
    want, _ = twin.forward(*inputs)
    got, _ = cuda("convolve").forward(*on_gpu(inputs))
    agree("exact", got, want, size=1)


def test_every_gradient_comes_in_one_pass_whichever_are_needed(cuda):
    rng = np.random.default_rng(1)
    inputs = factors((3, 2, 40), (5, 2), 4, 2, "float32", rng)
    out, residuals = cuda("convolve").forward(*on_gpu(inputs))
    g = on_gpu(cotangent(on_cpu(out), rng))
    launches = cuda("_launch").launches
    everything = on_cpu(cuda("convolve").vjp(residuals, *g, (True,) * 6))
    assert launches["convolve_vjp"] == 1
    for needs in [
        (True,) * 3 + (False,) * 3,
        (False,) * 3 + (True,) * 3,
        (False, True, False, False, False, True),
    ]:
        some = cuda("convolve").vjp(residuals, *g, needs)
        for got, want, need in zip(some, everything, needs, strict=True):
            assert (got is not None) == need
            if need:
                agree("sum", got, want, size=120)
    assert launches["convolve_vjp"] == 4
    assert cuda("convolve").vjp(residuals, *g, (False,) * 6) == (None,) * 6


def test_what_reaches_an_absent_product_goes_no_further(cuda):
    rng = np.random.default_rng(2)
    inputs = factors((2, 2, 11), (3, 2), 3, 2, "float32", rng)
    inputs[0][:, :, 4], inputs[3][1, :, 2] = 0.0, 0.0
    out, residuals = cuda("convolve").forward(*on_gpu(inputs))
    g = cotangent(on_cpu(out), rng)
    absent = on_cpu(out)[0] == 0
    for array in g:
        array[absent] = np.nan
    grads = on_cpu(cuda("convolve").vjp(residuals, *on_gpu(g), (True,) * 6))
    for grad in grads:
        assert np.isfinite(grad).all()
    for weights, of_factor in ((inputs[0], grads[:3]), (inputs[3], grads[3:])):
        for grad in of_factor:
            assert not grad[weights == 0].any()
    for covariances in (grads[2], grads[5]):
        np.testing.assert_array_equal(covariances, np.swapaxes(covariances, -1, -2))


def test_cotangents_may_be_views_of_any_strides(cuda):
    rng = np.random.default_rng(3)
    inputs = factors((2, 1, 6), (2, 1), 3, 2, "float64", rng)
    out, residuals = cuda("convolve").forward(*on_gpu(inputs))
    g = on_gpu(cotangent(on_cpu(out), rng))
    want = cuda("convolve").vjp(residuals, *g, (True,) * 6)
    skewed = tuple(on_gpu(np.repeat(on_cpu(a), 2, axis=0))[::2] for a in g)
    agree("exact", cuda("convolve").vjp(residuals, *skewed, (True,) * 6), on_cpu(want), size=1)

"""Convolve mixtures with mixtures, exactly."""

from __future__ import annotations

from math import prod
from typing import Any

from gmengine.autograd import Primitive
from gmengine.autograd.arrays import reshape
from gmengine.backend import Array, float_dtype, kernels
from gmengine.errors import ShapeError
from gmengine.mixture import Mixture


def convolve(data: Mixture, kernel: Mixture) -> Mixture:
    """Return the convolution of every channel with its kernel, summed over input channels (paper eq. 3-4).

    The convolution of two Gaussians is a Gaussian: weights (integrals) multiply, means and covariances add. The
    sum over input channels I is a mixture of all their components:

        out[b, o] = sum_i data[b, i] * kernel[o, i]

    Parameters
    ----------
    data : Mixture, shape (*batch, I, N)
    kernel : Mixture, shape (O, I, M)
        In the units of `data`.

    Returns
    -------
    Mixture, shape (*batch, O, I * N * M)
        The product of data component n, input channel i and kernel component m is component
        ``n + N * (i + I * m)``. It is absent if one of its factors is (or if their weights' product underflows).

    Raises
    ------
    ShapeError
        If input channels or dimensions differ, `data` has no channel axis, or `kernel` is not (O, I, M).
    DTypeError, BackendError
        If dtypes, libraries or devices differ.
    """
    _check(data, kernel)
    *batch, channels = data.batch
    (outputs, _), n = kernel.batch, data.n_components
    flattened = data.reshape((prod(batch), channels))
    out = convolve_p(*flattened.arrays, *kernel.arrays)
    shape = (*batch, outputs, channels * n * kernel.n_components)
    return Mixture(*(reshape(x, (*shape, *x.shape[3:])) for x in out))


def _check(data: Mixture, kernel: Mixture) -> None:
    if not data.batch or len(kernel.batch) != 2:
        raise ShapeError(
            "convolve: expected data (*batch, channels, N) and kernel (outputs, channels, M), "
            f"got {(*data.batch, data.n_components)} and {(*kernel.batch, kernel.n_components)}"
        )
    if data.batch[-1] != kernel.batch[1] or data.dim != kernel.dim:
        raise ShapeError(
            f"convolve: data has {data.batch[-1]} channels in {data.dim}-D, "
            f"kernel has {kernel.batch[1]} in {kernel.dim}-D"
        )
    float_dtype("convolve", data=data.weights, kernel=kernel.weights)


@Primitive
def convolve_p(
    weights: Array,
    means: Array,
    covariances: Array,
    kernel_weights: Array,
    kernel_means: Array,
    kernel_covariances: Array,
) -> Any:
    return kernels("convolve", weights, kernel_weights).forward(
        weights, means, covariances, kernel_weights, kernel_means, kernel_covariances
    )


@convolve_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> Any:
    return kernels("convolve", residuals[0]).vjp(residuals, *cotangents, needs)

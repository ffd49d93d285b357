"""The learned kernels of a convolution: a mixture per pair of channels, kept valid by construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gmengine.autograd import arrays, value_of
from gmengine.backend import Array, namespace
from gmengine.mixture import Mixture


@dataclass(frozen=True)
class Kernel:
    """A mixture of shape (outputs, inputs, components), computed from unconstrained parameters.

    With raw parameters w, p, A the kernel's weights are ``w + weight_mean``, its means ``radius p``, and its
    covariances ``(A A^T + eps I) (radius / 3)^2``, positive definite whatever A is (paper eq. 9 and section
    5; the published code puts the 0.7 of the paper on the covariance, not on its factor).

    Parameters
    ----------
    outputs, inputs, components, dim : int
        O, I, M, K.
    radius : float
        Distance of the outer components from the origin at the start; the unit of p.
    eps : float
        Floor of the covariance's eigenvalues, in units of (radius / 3)^2.
    weight_mean : float
        Where the raw weight 0 lies: weights start as N(weight_mean, 1) and decay towards it.
    """

    outputs: int
    inputs: int
    components: int = 5
    dim: int = 2
    radius: float = 2.5
    eps: float = 0.05
    weight_mean: float = 0.1

    def init(self, rng: int | np.random.Generator | None, dtype: str = "float32") -> dict[str, Array]:
        """Return "weights" (O, I, M), "means" (O, I, M, K), "factors" (O, I, M, K, K), drawn on the host."""
        rng = np.random.default_rng(rng)
        shape = (self.outputs, self.inputs, self.components)
        weights = rng.standard_normal(shape)
        means = initial_positions(rng, shape, self.dim)
        factors = np.eye(self.dim) + 0.05 * rng.uniform(-1.0, 1.0, (*shape, self.dim, self.dim))
        drawn = {"weights": weights, "means": means, "factors": factors}
        return {name: array.astype(dtype) for name, array in drawn.items()}

    def mixture(self, params: Mapping[str, Any]) -> Mixture:
        """Return the kernel of `params`, batch shape (O, I). Differentiable."""
        factors = params["factors"]
        value = value_of(factors)
        floor = self.eps * namespace(value).eye(self.dim, dtype=value.dtype)
        squares = arrays.matmul(factors, arrays.matrix_transpose(factors))
        return Mixture(
            arrays.add(params["weights"], self.weight_mean),
            arrays.multiply(params["means"], self.radius),
            arrays.multiply(arrays.add(squares, floor), (self.radius / 3.0) ** 2),
        )


def initial_positions(rng: np.random.Generator, shape: tuple[int, ...], dim: int) -> np.ndarray:
    """Return where kernel components start, in units of the radius: shape (*shape, dim), float64.

    The first component is at the origin. In one dimension the others are at 1, -1, then at pairs +-1/2,
    +-1/4, +-3/4, ...; in two they are evenly spaced on the unit circle, from (0, 1) over (1, 0) clockwise
    (for five components an exact cross); in more dimensions they are uniform on the unit sphere, drawn from
    `rng` for every kernel. One and two dimensions draw nothing.
    """
    n = shape[-1]
    if dim > 2:
        directions = rng.standard_normal((*shape, dim))
        positions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        positions[..., 0, :] = 0.0
        return positions
    fixed = np.zeros((n, dim))
    if dim == 2 and n > 1:
        angles = 2.0 * np.pi * np.arange(n - 1) / (n - 1)
        # rounding makes the cross exact: cos(pi / 2) is 6e-17; adding 0.0 turns -0.0 into 0.0
        fixed[1:] = np.round(np.stack([np.sin(angles), np.cos(angles)], axis=-1), 15) + 0.0
    if dim == 1:
        for i in range(1, n):
            fixed[i, 0] = (1.0 if i % 2 else -1.0) * _radical_inverse((i + 1) // 2 - 1)
    return np.broadcast_to(fixed, (*shape, dim)).copy()


def _radical_inverse(i: int) -> float:
    """Return 1, 1/2, 1/4, 3/4, 1/8, ...: for i > 0 the binary digits of i mirrored at the point."""
    if i == 0:
        return 1.0
    value, unit = 0.0, 0.5
    while i:
        value += unit * (i & 1)
        i, unit = i >> 1, unit / 2
    return value

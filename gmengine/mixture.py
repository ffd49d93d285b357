"""The value type: a batch of signed Gaussian mixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from gmengine import conversions
from gmengine._components import check_components as check_components
from gmengine.autograd import Tensor, arrays, value_of
from gmengine.backend import Array, float_dtype, namespace, to_device
from gmengine.errors import ArgumentError, ShapeError
from gmengine.files import read_npz, write_npz

_FILE_KIND, _FILE_VERSION = "gmengine.Mixture", 1


@dataclass(frozen=True, eq=False)
class Mixture:
    """Signed sums of normalised Gaussians, f(x) = sum_i w_i N(x; mu_i, C_i) (paper eq. 1-2).

    A weight is the integral of its component and may be negative. A component whose weight is exactly zero
    is absent: it is padding, contributes nothing to any result, and its mean and covariance are never read.

    Parameters
    ----------
    weights : array, shape (*batch, N)
    means : array, shape (*batch, N, K)
    covariances : array, shape (*batch, N, K, K)
        Symmetric positive definite, in squared units of the means.

    All three share one library (NumPy or CuPy) and one dtype, float32 or float64. Lists become float64 NumPy
    arrays. Inside a differentiated function the fields are Tensors.

    Raises
    ------
    ShapeError, DTypeError, BackendError
        If shapes, dtypes or libraries do not fit. Values are checked by `check`.

    Examples
    --------
    >>> Mixture([0.5, -1.0], [[0.0], [1.0]], [[[1.0]], [[2.0]]])
    Mixture(batch=(), components=2, dim=1, integral=-0.5, float64, cpu)
    """

    weights: Any
    means: Any
    covariances: Any

    def __post_init__(self) -> None:
        for name in ("weights", "means", "covariances"):
            if isinstance(getattr(self, name), list | tuple):
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        w, mu, cov = self.weights, self.means, self.covariances
        namespace(*(value_of(a) for a in self.arrays))
        float_dtype("Mixture", weights=w, means=mu, covariances=cov)
        n = tuple(w.shape)
        k = mu.shape[-1] if len(mu.shape) else 0
        if not n or k < 1 or tuple(mu.shape) != (*n, k) or tuple(cov.shape) != (*n, k, k):
            raise ShapeError(
                "Mixture: expected weights (*batch, N), means (*batch, N, K) and covariances (*batch, N, K, K), "
                f"got {n}, {tuple(mu.shape)} and {tuple(cov.shape)}"
            )

    @property
    def arrays(self) -> tuple[Any, Any, Any]:
        """The three fields: weights, means, covariances."""
        return self.weights, self.means, self.covariances

    @property
    def batch(self) -> tuple[int, ...]:
        """The leading shape."""
        return tuple(self.weights.shape[:-1])

    @property
    def n_components(self) -> int:
        """N, absent components included."""
        return int(self.weights.shape[-1])

    @property
    def dim(self) -> int:
        """K, the number of spatial dimensions."""
        return int(self.means.shape[-1])

    @property
    def dtype(self) -> Any:
        return self.weights.dtype

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda:<index>"``."""
        device = getattr(value_of(self.weights), "device", "cpu")
        return f"cuda:{device.id}" if hasattr(device, "id") else str(device)

    @property
    def amplitudes(self) -> Any:
        """The peak values w_i N(mu_i; mu_i, C_i) = w_i / sqrt((2 pi)^K det C_i), shape (*batch, N).

        In units of weight per volume; 0 for absent components. Differentiable in weights and covariances.

        Raises
        ------
        NotPositiveDefinite, NonFiniteError
            If a component that is present is no Gaussian; names it.
        """
        return conversions.to_amplitudes("Mixture.amplitudes", *self.arrays)

    def __repr__(self) -> str:
        """Say what it is: components present where some are absent, the integral of a single mixture."""
        integral = "" if self.batch else f"integral={conversions.total(self.weights):.4g}, "
        recorded = ", on a tape" if any(isinstance(a, Tensor) for a in self.arrays) else ""
        return (
            f"Mixture(batch={self.batch}, components={conversions.presence(self.weights)}, dim={self.dim}, "
            f"{integral}{str(self.dtype).rsplit('.', 1)[-1]}, {self.device}{recorded})"
        )

    def __len__(self) -> int:
        if not self.batch:
            raise TypeError("len() of a Mixture without batch axes")
        return self.batch[0]

    def __iter__(self) -> Iterator[Mixture]:
        """Iterate over the first batch axis."""
        if not self.batch:
            raise TypeError(
                "iteration over a Mixture without batch axes; its components are in its three arrays"
            )
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Mixture:
        """Index the batch axes as one indexes an array of shape `batch`."""
        keys = key if isinstance(key, tuple) else (key,)
        if not any(k is Ellipsis for k in keys):
            keys = (*keys, Ellipsis)
        full = slice(None)
        tails: tuple[tuple[slice, ...], ...] = ((full,), (full, full), (full, full, full))
        return Mixture(*(a[(*keys, *tail)] for a, tail in zip(self.arrays, tails, strict=True)))

    def __add__(self, other: Mixture) -> Mixture:
        """Return the sum of the two functions: components are concatenated, batches broadcast."""
        if not isinstance(other, Mixture):
            return NotImplemented
        if other.dim != self.dim:
            raise ShapeError(f"Mixture + Mixture: {self.dim}-D and {other.dim}-D")
        try:
            batch = np.broadcast_shapes(self.batch, other.batch)
        except ValueError:
            raise ShapeError(
                f"Mixture + Mixture: batches {self.batch} and {other.batch} do not broadcast"
            ) from None
        parts = zip(self.broadcast_to(batch).arrays, other.broadcast_to(batch).arrays, strict=True)
        return Mixture(*(arrays.concat(list(pair), axis=len(batch)) for pair in parts))

    def __radd__(self, other: Any) -> Mixture:
        """Return the mixture for the integer 0, with which `sum` starts."""
        return self if type(other) is int and other == 0 else NotImplemented

    def __mul__(self, factor: Any) -> Mixture:
        """Return the function times a number, a list or an array; its shape and the batch broadcast."""
        if isinstance(factor, Mixture):
            return NotImplemented
        factor, batch = conversions.checked_factor("Mixture * factor", self.weights, factor)
        m = self.broadcast_to(batch)
        return Mixture(arrays.multiply(m.weights, factor), m.means, m.covariances)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Mixture:
        """Return the function divided as it is multiplied by ``*``; ArgumentError if a divisor is 0."""
        if isinstance(divisor, Mixture):
            return NotImplemented
        divisor, batch = conversions.checked_factor("Mixture / divisor", self.weights, divisor, divides=True)
        m = self.broadcast_to(batch)
        return Mixture(arrays.divide(m.weights, divisor), m.means, m.covariances)

    __array_ufunc__ = None  # an ndarray on the left must come to __rmul__

    def __neg__(self) -> Mixture:
        return self * -1.0

    def __sub__(self, other: Mixture) -> Mixture:
        return self + (-other) if isinstance(other, Mixture) else NotImplemented

    def broadcast_to(self, batch: tuple[int, ...]) -> Mixture:
        """Return the mixture with its batch axes broadcast to the shape `batch`."""
        if tuple(batch) == self.batch:
            return self
        return Mixture(*(arrays.broadcast_to(a, (*batch, *a.shape[len(self.batch) :])) for a in self.arrays))

    def reshape(self, batch: tuple[int, ...]) -> Mixture:
        """Return the mixture with its batch axes reshaped to `batch`."""
        if tuple(batch) == self.batch:
            return self
        if -1 not in batch and prod(batch) != prod(self.batch):
            raise ShapeError(f"Mixture.reshape: batch {self.batch} does not fit into {tuple(batch)}")
        return Mixture(*(arrays.reshape(a, (*batch, *a.shape[len(self.batch) :])) for a in self.arrays))

    def values(self) -> Mixture:
        """Return the mixture of plain arrays, cut off from any tape."""
        return Mixture(*(value_of(a) for a in self.arrays))

    def to(self, device: str) -> Mixture:
        """Return the mixture on ``"cpu"``, ``"cuda"`` or ``"cuda:<index>"``."""
        if any(isinstance(a, Tensor) for a in self.arrays):
            raise ArgumentError("Mixture.to: move plain mixtures, before a tape watches them")
        return Mixture(*(to_device(a, device) for a in self.arrays))

    def astype(self, dtype: Any) -> Mixture:
        """Return the mixture of plain arrays in another dtype, float32 or float64."""
        xp = namespace(value_of(self.weights))
        kind = {"float32": xp.float32, "float64": xp.float64}.get(np.dtype(dtype).name, dtype)
        return Mixture(*(xp.astype(value_of(a), kind) for a in self.arrays))

    def check(self) -> Mixture:
        """Return self if every number of every present component is valid.

        Raises
        ------
        NonFiniteError
            Names the first weight, mean or covariance that is NaN or infinite.
        NotPositiveDefinite
            Names the first component whose covariance is not symmetric (to 1e-4 relative, so that float32
            products pass) or not positive definite, with its smallest eigenvalue.
        """
        check_components("Mixture", *self.values().to("cpu").arrays)
        return self

    def allclose(
        self, other: Mixture, rtol: float = 1e-5, atol: float = 1e-8, any_order: bool = True
    ) -> bool:
        """Return whether two mixtures have the same components up to rounding; absent ones are ignored.

        Parameters
        ----------
        other : Mixture
            Of the same batch shape and K, else the answer is False. N may differ, dtype and device too.
        rtol, atol : float
            Numbers x and y are close if |x - y| <= atol + rtol s, where s is the largest magnitude in that
            field (weight, mean or covariance) of the two components.
        any_order : bool
            Whether the components of a mixture may be paired in any order; every one is used once. If False,
            component i is compared with component i, and N must be the same.
        """
        if (self.batch, self.dim) != (other.batch, other.dim):
            return False
        a, b = (m.values().to("cpu").arrays for m in (self, other))
        return conversions.all_close(a, b, rtol, atol, any_order)

    @staticmethod
    def from_amplitudes(amplitudes: Array, means: Array, covariances: Array) -> Mixture:
        """Return the mixture sum_i a_i exp(-(x - mu_i)^T C_i^-1 (x - mu_i) / 2), given by its peak values a_i.

        Parameters
        ----------
        amplitudes : array, shape (*batch, N)
            In units of the function; 0 for an absent component. Weights are a_i sqrt((2 pi)^K det C_i).
        means, covariances : arrays, shapes (*batch, N, K) and (*batch, N, K, K)

        Raises
        ------
        NotPositiveDefinite, NonFiniteError
            If a component that is present is no Gaussian; names it.
        """
        given = Mixture(amplitudes, means, covariances)
        weights = conversions.to_weights("Mixture.from_amplitudes", *given.arrays)
        return Mixture(weights, given.means, given.covariances)

    @staticmethod
    def from_sklearn(model: Any) -> Mixture:
        """Return the density of a fitted sklearn.mixture.GaussianMixture or BayesianGaussianMixture.

        Of batch shape (), for all four covariance types; float32 if the model is, else float64. ArgumentError
        if `model` is neither of the two, or not fitted.
        """
        return Mixture(*conversions.from_sklearn(model))

    def to_sklearn(self) -> Any:
        """Return a fitted sklearn.mixture.GaussianMixture of the present components, for one density.

        It computes in float64, with full covariances; `predict`, `score_samples` and `sample` work. No data was
        seen: `lower_bound_` is NaN, `n_iter_` 0.

        Raises
        ------
        ShapeError
            If the batch shape is not ().
        ArgumentError
            If a weight is negative, or the integral is not 1 up to rounding.
        BackendError
            If scikit-learn is missing.
        """
        return conversions.to_sklearn(*self.values().to("cpu").arrays)

    @staticmethod
    def isotropic(weights: Array, means: Array, sigma: Array | float) -> Mixture:
        """Return a mixture of round components: the covariance is sigma^2 I.

        Parameters
        ----------
        weights : array, shape (*batch, N)
        means : array, shape (*batch, N, K)
        sigma : float, or array that broadcasts to (*batch, N)
            Standard deviation, in units of the means; positive.
        """
        if isinstance(weights, list | tuple):
            weights = np.asarray(weights, dtype=np.float64)
        if isinstance(means, list | tuple):
            means = np.asarray(means, dtype=np.float64)
        value = value_of(means)
        xp = namespace(value_of(weights), value)
        float_dtype("Mixture.isotropic", weights=weights, means=means)
        sigma_value = xp.asarray(value_of(sigma), dtype=value.dtype)
        if not bool(xp.all(sigma_value > 0)) or not bool(xp.all(xp.isfinite(sigma_value))):
            raise ArgumentError("Mixture.isotropic: sigma must be positive and finite")
        spread = arrays.broadcast_to(
            sigma if isinstance(sigma, Tensor) else sigma_value, tuple(means.shape[:-1])
        )
        variance = arrays.reshape(arrays.square(spread), (*means.shape[:-1], 1, 1))
        return Mixture(weights, means, arrays.multiply(variance, xp.eye(means.shape[-1], dtype=value.dtype)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mixture to one .npz file, atomically and without pickle."""
        names = ("weights", "means", "covariances")
        write_npz(
            path, _FILE_KIND, _FILE_VERSION, {}, dict(zip(names, self.values().to("cpu").arrays, strict=True))
        )

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Mixture:
        """Read and check a mixture that `save` wrote; FileFormatError names the file and what is wrong."""
        _, found = read_npz(path, _FILE_KIND, _FILE_VERSION)
        return Mixture(found["weights"], found["means"], found["covariances"]).check()

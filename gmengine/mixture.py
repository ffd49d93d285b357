"""The value type: a batch of signed Gaussian mixtures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from gmengine.autograd import Tensor, arrays, value_of
from gmengine.backend import Array, float_dtype, namespace, to_device
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite, ShapeError
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
    Mixture(batch=(), components=2, dim=1, float64, cpu)
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
        return device if isinstance(device, str) else f"cuda:{device.id}"

    def __repr__(self) -> str:
        return (
            f"Mixture(batch={self.batch}, components={self.n_components}, dim={self.dim}, "
            f"{str(self.dtype).rsplit('.', 1)[-1]}, {self.device})"
        )

    def __len__(self) -> int:
        if not self.batch:
            raise TypeError("len() of a Mixture without batch axes")
        return self.batch[0]

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

    def __mul__(self, factor: Any) -> Mixture:
        """Return the function times a number (or an array that broadcasts over the batch)."""
        if isinstance(factor, Mixture):
            return NotImplemented
        if len(getattr(factor, "shape", ())):
            factor = arrays.expand_dims(factor, axis=-1)
        return Mixture(arrays.multiply(self.weights, factor), self.means, self.covariances)

    __rmul__ = __mul__
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
        xp = namespace(value)
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


def check_components(op: str, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> None:
    """Raise NonFiniteError or NotPositiveDefinite for the first invalid present component (NumPy arrays).

    `op` begins the message, which names the index of the component and its smallest eigenvalue.
    """
    if weights.size == 0:
        return
    present = weights != 0  # NaN counts as present
    for name, array in (("weight", weights), ("mean", means), ("covariance", covariances)):
        bad = ~np.isfinite(array)
        bad = bad if array.ndim == weights.ndim else bad.any(axis=tuple(range(weights.ndim, array.ndim)))
        bad &= present
        if bad.any():
            index = _first(bad)
            raise NonFiniteError(f"{op}: {name} of component {list(index)} is {array[index]}")
    eye = np.eye(means.shape[-1])
    cov = np.where(present[..., None, None], covariances.astype(np.float64), eye)
    size = np.abs(cov).max(axis=(-1, -2))
    skewed = np.abs(cov - np.swapaxes(cov, -1, -2)).max(axis=(-1, -2)) > 1e-4 * size
    if skewed.any():
        index = _first(skewed)
        raise NotPositiveDefinite(
            f"{op}: covariance of component {list(index)} is not symmetric: {cov[index].tolist()}"
        )
    smallest = np.linalg.eigvalsh(cov)[..., 0]
    bad = smallest <= 0
    if bad.any():
        index = _first(bad)
        raise NotPositiveDefinite(
            f"{op}: covariance of component {list(index)} is not positive definite, "
            f"its smallest eigenvalue is {smallest[index]:.3g}"
        )


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))

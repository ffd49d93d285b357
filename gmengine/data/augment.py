"""Variations of mixtures that cost next to nothing: affine maps move means and covariances, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gmengine.backend import namespace
from gmengine.data._random_maps import random_maps
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a sample before it is learned from; every part is off at first.

    Each sample is pushed forward through its own random map x -> s R F (I + linear G) x + t about the origin, which
    all its channels share and which keeps integrals; then components are dropped and weights jittered.

    Parameters
    ----------
    linear : float
        In [0, 0.3]: G has independent standard normal entries (`random_linear`).
    rotation : float or "full"
        Largest angle of the rotation R, in radians, in [0, pi]; the angle is uniform in [-rotation, rotation].
        "full" is pi; with the axis "all" all rotations are then equally likely. 2-D and 3-D.
    axis : str
        What 3-D mixtures turn about: "x", "y", "z" (whichever points upwards), or "all": a random direction.
    scale : float
        In [0, 1]: log s is uniform in [-log(1 + scale), log(1 + scale)].
    shift : float
        In [0, 1]: every coordinate of t is uniform in [-shift, shift] times the sample's extent, the root mean
        square distance of its mass |w| from its centre, per coordinate.
    reflect : str
        Axes, such as "x" or "xy": F mirrors each of them with probability 1/2.
    drop : float
        In [0, 0.9]: every component is absent with this probability, and those that stay are divided by
        1 - drop, so that integrals stay on average. A mixture that would lose all its components keeps them
        as they are.
    jitter : float
        In [0, 1]: weights are multiplied by exp(jitter g - jitter^2 / 2), g standard normal: positive, 1 on
        average.

    Raises
    ------
    ArgumentError
        Names the field, what was expected and what came.
    """

    linear: float = 0.0
    rotation: float | str = 0.0
    axis: str = "z"
    scale: float = 0.0
    shift: float = 0.0
    reflect: str = ""
    drop: float = 0.0
    jitter: float = 0.0

    LIMITS: ClassVar[dict[str, float]] = {
        "linear": 0.3,
        "rotation": math.pi,
        "scale": 1.0,
        "shift": 1.0,
        "drop": 0.9,
        "jitter": 1.0,
    }
    AXES: ClassVar[tuple[str, ...]] = ("x", "y", "z", "all")

    def __post_init__(self) -> None:
        if self.rotation == "full":
            object.__setattr__(self, "rotation", math.pi)
        for name, most in self.LIMITS.items():
            value = getattr(self, name)
            real = isinstance(value, int | float) and not isinstance(value, bool)
            if not real or not 0.0 <= value <= most:
                full = ", or 'full'" if name == "rotation" else ""
                raise ArgumentError(f"{name}: expected a number in [0, {most:.6g}]{full}, got {value!r}")
            object.__setattr__(self, name, float(value))
        if self.axis not in self.AXES:
            raise ArgumentError(f"axis: expected one of {', '.join(self.AXES)}, got {self.axis!r}")
        mirrored = self.reflect
        if (
            not isinstance(mirrored, str)
            or not set(mirrored) <= set("xyz")
            or len(set(mirrored)) < len(mirrored)
        ):
            raise ArgumentError(f"reflect: expected different ones of x, y and z, got {mirrored!r}")

    @property
    def moves(self) -> bool:
        """Whether there is a map; without one, means and covariances are handed on."""
        return any((self.linear, self.rotation, self.scale, self.shift, self.reflect))

    def check_dim(self, dim: int) -> None:
        """Raise ArgumentError if mixtures of so many dimensions cannot be varied in this way."""
        if self.rotation and dim not in (2, 3):
            raise ArgumentError(f"rotation: expected 2-D or 3-D mixtures, got {dim}-D")
        beyond = [axis for axis in self.reflect if "xyz".index(axis) >= dim]
        if beyond:
            raise ArgumentError(f"reflect: {dim}-D mixtures have no axis {beyond[0]}")


def augmented(
    mixture: Mixture, augmentation: Augmentation, *, rng: int | np.random.Generator | None = None
) -> Mixture:
    """Return each sample of a batch with a random variation of its own.

    Absent components stay absent; covariances stay symmetric; dtype, device and shapes stay.

    Parameters
    ----------
    mixture : Mixture, batch shape (B, ...)
        Plain arrays of any library; the channels of one sample share its map.
    augmentation : Augmentation
        What may happen; with everything off `mixture` itself comes back.
    rng : int, Generator or None
        Draws on the host, in float64, and only for what is on, so that CPU and GPU runs agree.

    Raises
    ------
    ArgumentError
        If the mixture's dimension does not go with the augmentation, or there is no batch axis.
    """
    if not mixture.batch:
        raise ArgumentError("augmented: expected a batch of mixtures, got one; use mixture.reshape((1,))")
    augmentation.check_dim(mixture.dim)
    if augmentation == Augmentation():
        return mixture
    rng = np.random.default_rng(rng)
    if augmentation.moves:
        maps, shifts = random_maps(augmentation, mixture.batch[0], mixture.dim, rng)
        mixture = _pushed(mixture, maps, shifts)
    weights, shape = mixture.weights, tuple(mixture.weights.shape)
    if augmentation.jitter:
        sigma = augmentation.jitter
        weights = weights * _like(weights, np.exp(sigma * rng.standard_normal(shape) - sigma**2 / 2))
    if augmentation.drop:
        weights = _thinned(weights, augmentation.drop, rng.random(shape) >= augmentation.drop)
    return Mixture(weights, mixture.means, mixture.covariances)


def random_linear(
    mixture: Mixture, strength: float, *, rng: int | np.random.Generator | None = None
) -> Mixture:
    """Return each sample pushed forward through its own random map x -> A x, A = I + strength G.

    G has independent standard normal entries, so that A rotates, stretches and shears a little in every
    direction. Integrals stay: means become A mu and covariances A C A^T.

    Parameters
    ----------
    mixture : Mixture, batch shape (B, ...)
        Plain arrays; the channels of one sample share its map.
    strength : float
        Standard deviation of the entries of A about the identity, in [0, 0.3]; 0 returns `mixture` itself.
    rng : int, Generator or None
        Draws G on the host, in float64, so that CPU and GPU runs agree.

    Raises
    ------
    ArgumentError
        If `strength` is out of range.
    """
    if not 0.0 <= strength <= 0.3:
        raise ArgumentError(f"random_linear: expected strength in [0, 0.3], got {strength!r}")
    return augmented(mixture, Augmentation(linear=strength), rng=rng)


def _thinned(weights: Any, drop: float, kept: np.ndarray) -> Any:
    xp = namespace(weights)
    thin = weights * _like(weights, kept / (1.0 - drop))
    return xp.where(xp.any(thin != 0, axis=-1, keepdims=True), thin, weights)


def _pushed(mixture: Mixture, maps: np.ndarray, shifts: np.ndarray | None) -> Mixture:
    """Return the samples pushed forward through x -> A x + extent t, maps (B, K, K) and shifts (B, K)."""
    xp, K = namespace(mixture.weights), mixture.dim
    inner = (1,) * len(mixture.batch)  # the channel axes and the components'
    a = xp.reshape(_like(mixture.weights, maps), (mixture.batch[0], *inner, K, K))
    covariances = a @ mixture.covariances @ xp.matrix_transpose(a)
    symmetric = (covariances + xp.matrix_transpose(covariances)) / 2
    means = (a @ mixture.means[..., None])[..., 0]
    if shifts is not None:
        t = xp.reshape(_like(mixture.weights, shifts), (mixture.batch[0], *inner, K))
        means = means + _extents(mixture) * t
    return Mixture(mixture.weights, means, symmetric)


def _extents(mixture: Mixture) -> Any:
    """Return sqrt(E_|w| |x - c|^2 / K), c the centre of |w|, of every sample, (B, 1, ..., 1) to go with means."""
    xp, K = namespace(mixture.weights), mixture.dim
    size = xp.expand_dims(xp.abs(mixture.weights), axis=-1)
    axes = tuple(range(1, len(size.shape) - 1))
    total = xp.sum(size, axis=axes, keepdims=True)
    share = size / xp.where(total == 0, xp.ones_like(total), total)
    centre = xp.sum(share * mixture.means, axis=axes, keepdims=True)
    eye = xp.eye(K, dtype=mixture.dtype)
    away = xp.where(size != 0, mixture.means - centre, xp.zeros_like(mixture.means))
    variances = xp.sum(mixture.covariances * eye, axis=-1) + away**2
    second = xp.sum(share * variances, axis=axes, keepdims=True)
    return xp.sqrt(xp.sum(second, axis=-1, keepdims=True) / K)


def _like(weights: Any, numbers: np.ndarray) -> Any:
    """Return float64 numbers of the host as an array of the dtype, and where, the weights are."""
    return namespace(weights).asarray(numbers.astype(str(weights.dtype).rsplit(".", 1)[-1]))

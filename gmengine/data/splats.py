"""Gaussian splats: PLY files of 3D Gaussian Splatting (Kerbl et al. 2023) as mixtures, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, isqrt, log, pi
from typing import Any

import numpy as np

from gmengine.data._rotations import principal_axes, quaternions, rotations
from gmengine.data.formats.ply import Ragged, read_ply, write_ply
from gmengine.errors import ArgumentError, FileFormatError, GmengineError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture

_FIRST = 0.5 / pi**0.5  # the spherical harmonic of degree 0
_LOG_VOLUME = 1.5 * log(2.0 * pi)
_SCALES = tuple(f"scale_{i}" for i in range(3))
_SPINS = tuple(f"rot_{i}" for i in range(4))
_NUMBERS = ("x", "y", "z", "opacity", *_SCALES, *_SPINS)
_FARTHEST = 100.0  # the largest logarithm of a scale that is believed
_PEAK = 0.99  # of the highest component, after normalisation
_HIGHEST = 1.0 - 2.0**-24  # the largest opacity that a float32 tells from 1


@dataclass(frozen=True, eq=False)
class Splats:
    """A splat scene: sum_i a_i exp(-(x - mu_i)^T C_i^-1 (x - mu_i) / 2), with colours.

    Parameters
    ----------
    mixture : Mixture, batch (), K = 3
        Its amplitudes are the opacities a_i; its weights, as always, integrals: a_i sqrt((2 pi)^3 det C_i).
    harmonics : array (N, D, 3), or None
        Coefficients of spherical harmonics, D = (degree + 1)^2, of red, green and blue.
    extras : mapping of str to array (N,)
        Further properties of the splats, such as normals nx, ny, nz.

    Raises
    ------
    ShapeError
        If the mixture is not one 3-D mixture, or the others do not fit it.
    ArgumentError
        If a further property has the name of one that the file has already.
    """

    mixture: Mixture
    harmonics: np.ndarray | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        m = self.mixture
        if m.batch != () or m.dim != 3:
            raise ShapeError(f"Splats: expected one 3-D mixture, got the batch {m.batch} in {m.dim}-D")
        if self.harmonics is not None:
            shape = tuple(self.harmonics.shape)
            fits = len(shape) == 3 and (shape[0], shape[2]) == (m.n_components, 3) and shape[1] > 0
            if not fits or isqrt(shape[1]) ** 2 != shape[1]:
                raise ShapeError(
                    f"Splats: expected harmonics ({m.n_components}, 1 or 4 or 9.., 3), got {shape}"
                )
        for name, column in self.extras.items():
            if column.shape != (m.n_components,):
                raise ShapeError(f"Splats: expected {name} ({m.n_components},), got {column.shape}")
            if name in _NUMBERS or name.startswith(("f_dc_", "f_rest_")):
                raise ArgumentError(f"Splats: {name!r} follows from the mixture or the harmonics")

    @property
    def opacity(self) -> Any:
        """The peak values of the components, shape (N,)."""
        return self.mixture.amplitudes

    @property
    def colours(self) -> np.ndarray | None:
        """Red, green and blue as seen from all sides, shape (N, 3), about [0, 1]; None if not known."""
        return None if self.harmonics is None else 0.5 + _FIRST * self.harmonics[:, 0]


def read_splats(path: str | os.PathLike[str], *, thinnest: float = 1e-5) -> Splats:
    """Return the splats of a PLY file of 3D Gaussian Splatting.

    The element ``vertex`` holds x y z; the logit of the opacity; scale_0..2, logarithms of the standard
    deviations s along the splat's axes; rot_0..3, a quaternion w x y z (of any length) of the rotation R from
    these axes to space; and, optionally, f_dc_0..2 and f_rest_*, spherical harmonics of degree 0 and of degrees
    1 and more, red before green before blue. C = R diag(s^2) R^T.

    Parameters
    ----------
    path : path-like
        A file, text or binary, also gzipped.
    thinnest : float
        In (0, 1]: standard deviations below `thinnest` times the longest of the same splat are raised to it,
        the opacity stays. Scenes are full of splats as flat as leaves, whose covariances no floating point
        number can tell from singular ones.

    Returns
    -------
    Splats
        In float64, for the same reason. A splat whose opacity rounds to 0 is absent. Other columns of numbers
        are `extras`; lists and other elements are passed over.

    Raises
    ------
    FileFormatError
        Names the file and the reason: damaged, a property is missing (as in compressed files), a number is not
        finite, a scale is beyond e^100, a rotation is 0.
    ArgumentError
        If `thinnest` is out of range.
    OSError
        If the file is missing or cannot be read.
    """
    if not 0.0 < thinnest <= 1.0:
        raise ArgumentError(f"read_splats: expected thinnest in (0, 1], got {thinnest!r}")
    tables = read_ply(path)
    try:
        return _splats(tables.get("vertex", {}), log(thinnest))
    except GmengineError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from None


def _splats(table: Mapping[str, Any], thinnest: float) -> Splats:
    for name in _NUMBERS:
        if isinstance(table.get(name), Ragged | None):
            raise FileFormatError(f"no splats: a vertex has no number {name!r}")
        finite = np.isfinite(table[name])
        if not finite.all() and name != "opacity":
            index = int(finite.argmin())
            raise FileFormatError(f"{name} of splat {index} is {table[name][index]}")
    means, scales, spins = (
        np.stack([table[name] for name in names], axis=-1, dtype=np.float64)
        for names in ("xyz", _SCALES, _SPINS)
    )
    far = np.abs(scales).max(axis=-1) > _FARTHEST
    if far.any():
        index = int(far.argmax())
        raise FileFormatError(f"the scales of splat {index} are exp({scales[index].tolist()})")
    if not spins.any(axis=-1).all():
        raise FileFormatError(f"the rotation of splat {int(spins.any(axis=-1).argmin())} is 0")
    scales = np.maximum(scales, scales.max(axis=-1, keepdims=True) + thinnest)
    arms = rotations(spins) * np.exp(scales)[:, None, :]
    covariances = arms @ np.swapaxes(arms, -1, -2)
    with np.errstate(over="ignore"):  # a logit of -1000 is an opacity of 0
        opacity = 1.0 / (1.0 + np.exp(-table["opacity"].astype(np.float64)))
    weights = opacity * np.exp(scales.sum(axis=-1) + _LOG_VOLUME)
    mixture = Mixture(weights, means, (covariances + np.swapaxes(covariances, -1, -2)) / 2).check()
    harmonics, names = _harmonics(table)
    used = {*_NUMBERS, *names}
    extras = {name: c for name, c in table.items() if name not in used and not isinstance(c, Ragged)}
    return Splats(mixture, harmonics, extras)


def _harmonics(table: Mapping[str, Any]) -> tuple[np.ndarray | None, list[str]]:
    """Return the harmonics (N, D, 3), and the names of all columns that belong to them."""
    names = [name for name in table if name.startswith(("f_dc_", "f_rest_"))]
    if not names:
        return None, []
    first = [f"f_dc_{i}" for i in range(3)]
    rest = [f"f_rest_{i}" for i in range(len(names) - 3)]
    degrees = 1 + len(rest) // 3
    if set(names) != {*first, *rest} or len(rest) % 3 or isqrt(degrees) ** 2 != degrees:
        raise FileFormatError(
            f"expected f_dc_0..2 and 0, 9, 24 or 45 f_rest_*, got {len(names)} such properties"
        )
    if any(isinstance(table[name], Ragged) for name in names):
        raise FileFormatError("expected numbers as harmonics, got lists")
    columns = np.stack([table[name] for name in first + rest], axis=-1)
    tail = columns[:, 3:].reshape(len(columns), 3, degrees - 1)
    return np.concatenate([columns[:, None, :3], np.swapaxes(tail, 1, 2)], axis=1), names


def write_splats(
    path: str | os.PathLike[str], splats: Splats | Mixture, *, normalise: bool = False, text: bool = False
) -> float:
    """Write splats, or a 3-D mixture, as a PLY file of 3D Gaussian Splatting: whole or not at all.

    Every property but the extras is a float32. The same covariance gives the same scales and rotation, also where
    axes are equally long (`gmengine.data._rotations.principal_axes` states the rule). Absent components are left
    out.

    Parameters
    ----------
    path : path-like
        The file's exact name.
    splats : Splats or Mixture
        The opacity of a component is its amplitude. A mixture, like splats without harmonics, is gray.
    normalise : bool
        Multiply all amplitudes by the one factor that makes the highest 0.99.
    text : bool
        Write text, which is about three times longer.

    Returns
    -------
    float
        The factor by which the amplitudes were multiplied; 1.0 without `normalise`.

    Raises
    ------
    ArgumentError
        If a weight is negative, or an amplitude is above 1 without `normalise`; names the component. What is
        above 1 by rounding alone is written as the largest opacity below it.
    ShapeError
        If the mixture is not one 3-D mixture.
    NonFiniteError, NotPositiveDefinite
        If a component is no Gaussian, or beyond float32.
    OSError
        As `files.atomic_write`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "ball.ply")
    >>> write_splats(file, Mixture.isotropic([3.0], [[0.0, 0.0, 1.0]], sigma=1.0))
    1.0
    >>> read_splats(file).mixture
    Mixture(batch=(), components=1, dim=3, integral=3, float64, cpu)
    """
    scene = Splats(splats) if isinstance(splats, Mixture) else splats
    mixture = scene.mixture.values().to("cpu").check()
    kept = np.flatnonzero(mixture.weights)
    weights, means, covariances = (a[kept].astype(np.float64) for a in mixture.arrays)
    if (weights < 0).any():
        index = int((weights < 0).argmax())
        raise ArgumentError(
            f"write_splats: component {kept[index]} has the weight {weights[index]:.6g}, below 0"
        )
    eps = float(np.finfo(mixture.dtype).eps)
    axes, lengths = principal_axes(covariances, eps)
    logits, factor = _logits(weights, lengths, kept, eps, normalise)
    table = dict(zip("xyz", means.T, strict=True))
    table |= {f"n{axis}": np.zeros(len(kept)) for axis in "xyz"}
    table |= _colour_columns(scene.harmonics, kept)
    table |= {"opacity": logits} | dict(zip(_SCALES, np.log(lengths).T, strict=True))
    table |= dict(zip(_SPINS, quaternions(axes).T, strict=True))
    with np.errstate(over="ignore"):
        columns = {name: column.astype(np.float32) for name, column in table.items()}
    for name, column in columns.items():
        if not np.isfinite(column).all():
            index = int(kept[np.isfinite(column).argmin()])
            raise NonFiniteError(f"write_splats: {name} of component {index} is beyond float32")
    columns |= {name: column[kept] for name, column in scene.extras.items()}
    write_ply(path, {"vertex": columns}, text=text)
    return factor


def _logits(
    weights: np.ndarray, lengths: np.ndarray, kept: np.ndarray, eps: float, normalise: bool
) -> tuple[np.ndarray, float]:
    """Return the logits of the opacities, and what these were multiplied by."""
    peaks = np.log(weights) - _LOG_VOLUME - np.log(lengths).sum(axis=-1)
    shift = log(_PEAK) - float(peaks.max()) if normalise and len(peaks) else 0.0
    peaks = peaks + shift
    # What rounding does to the smallest eigenvalue, and so to the determinant.
    slack = np.minimum(16 * eps * (lengths[:, 0] / lengths[:, 2]) ** 2 + 1e-6, 1e-2)
    if (peaks > slack).any():
        index = int((peaks > slack).argmax())
        raise ArgumentError(
            f"write_splats: component {kept[index]} has the amplitude {np.exp(peaks[index]):.6g}; an opacity is "
            "at most 1: scale the mixture, or let normalise=True do so"
        )
    peaks = np.minimum(peaks, log(_HIGHEST))
    return peaks - np.log(-np.expm1(peaks)), exp(shift)


def _colour_columns(harmonics: np.ndarray | None, kept: np.ndarray) -> dict[str, np.ndarray]:
    chosen = np.zeros((len(kept), 1, 3)) if harmonics is None else np.asarray(harmonics)[kept]
    rest = np.swapaxes(chosen[:, 1:], 1, 2).reshape(len(kept), 3 * (chosen.shape[1] - 1))
    first = {f"f_dc_{i}": chosen[:, 0, i] for i in range(3)}
    return first | {f"f_rest_{i}": column for i, column in enumerate(rest.T)}

"""How good fitted mixtures are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gmengine.backend import Array, to_device
from gmengine.errors import ArgumentError, DTypeError, ShapeError
from gmengine.fitting._checks import check_count, check_masses, require_finite
from gmengine.fitting._component_statistics import ComponentStatistics, component_statistics
from gmengine.fitting._image_error import ImageError, image_error
from gmengine.fitting._likelihood import mean_log_likelihood, pixel_nodes
from gmengine.fitting._reconstruction import Reconstruction, reconstruction
from gmengine.fitting.clouds import Clouds
from gmengine.mixture import Mixture
from gmengine.ops._points import require_non_negative


@dataclass(frozen=True, eq=False)
class Quality:
    """A report on S mixtures; print it for a table, `to_json` for a file.

    log_likelihood : array, shape (S,)
        In nats per unit of mass; see `quality` and `image_quality`. NaN where there is no mass, -inf where there
        is mass but no component: the table counts such samples and leaves them out of its averages.
    components : ComponentStatistics
    image : ImageError, or None if the mixtures stand beside points
    reconstruction : Reconstruction, or None if they stand beside images, or if no samples were asked for
    """

    log_likelihood: np.ndarray
    components: ComponentStatistics
    image: ImageError | None = None
    reconstruction: Reconstruction | None = None

    def __len__(self) -> int:
        return len(self.log_likelihood)

    def measures(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, array (S,)) of every measure, such as ``"reconstruction.rmsd"``."""
        yield "log_likelihood", self.log_likelihood
        for name in ("image", "reconstruction", "components"):
            part = getattr(self, name)
            for field in fields(part) if part is not None else ():
                value = getattr(part, field.name)
                if isinstance(value, np.ndarray) and value.ndim == 1:
                    yield f"{name}.{field.name}", value
                elif isinstance(value, np.ndarray):
                    yield from ((f"{name}.{field.name}[{k}]", value[:, k]) for k in range(value.shape[1]))

    def constants(self) -> dict[str, float]:
        """Return what the measures depend on: ``image.data_range`` or ``reconstruction.samples``."""
        known: dict[str, float] = {}
        if self.image is not None:
            known["image.data_range"] = self.image.data_range
        if self.reconstruction is not None:
            known["reconstruction.samples"] = self.reconstruction.samples
        return known

    def summary(self) -> dict[str, dict[str, float]]:
        """Return mean, median, min and max of every measure over the samples where it is finite.

        ``not_finite`` counts the other samples; if there are no finite ones, the four are NaN.
        """
        return {name: _summary(values) for name, values in self.measures()}

    def __str__(self) -> str:
        """Return a table of `summary`."""
        head = ["", "mean", "median", "min", "max", "not_finite"]
        rows = [
            [name, *(f"{row[key]:.5g}" for key in head[1:5]), str(row["not_finite"] or "")]
            for name, row in self.summary().items()
        ]
        width = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        known = "".join(f", {name} = {value:g}" for name, value in self.constants().items())
        lines = [f"{len(self)} mixtures{known}"]
        for row in [head, *rows]:
            cells = [row[0].ljust(width[0]), *(c.rjust(w) for c, w in zip(row[1:], width[1:], strict=True))]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return one JSON object: constants, `summary`, and all measures sample by sample.

        What JSON has no numbers for stands as the strings "NaN", "Infinity" and "-Infinity".
        """
        measures = {name: [_plain(x) for x in values.tolist()] for name, values in self.measures()}
        summary = {name: {k: _plain(x) for k, x in row.items()} for name, row in self.summary().items()}
        content = {
            "samples": len(self),
            "constants": self.constants(),
            "summary": summary,
            "measures": measures,
        }
        return json.dumps(content, indent=1, allow_nan=False)


def quality(
    mixture: Mixture,
    points: Any,
    weights: Any = None,
    *,
    rng: int | np.random.Generator | None = 0,
    samples: int = 10_000,
) -> Quality:
    """Report how well mixtures stand for weighted points.

    The log-likelihood of a sample of points x_i, masses v_i, under its mixture f(x) = sum_s w_s N(x; mu_s, C_s) is

        sum_i v_i log(f(x_i) / sum_s w_s) / sum_i v_i,

    computed in logarithms, so that nothing underflows; absent components are left out. `Reconstruction` and
    `ComponentStatistics` define the other measures. All are computed in float64.

    Parameters
    ----------
    mixture : Mixture, batch () or (S,)
        Of weights >= 0.
    points : array (P, K) for batch (); array (S, P, K), `Clouds` or a sequence of arrays (P_s, K) for batch (S,)
    weights : masses in the layout of `points`, optional
        (P,), (S, P), (total,) for `Clouds`, or a sequence of arrays (P_s,). Not negative; a point of mass 0 does
        not exist. By default all are equal.
    rng : int, Generator or None
        Draws the samples.
    samples : int
        R, how many points to draw from each mixture for `reconstruction`; 0 leaves it out.

    Returns
    -------
    Quality
        Of S samples, one if the batch is ().

    Raises
    ------
    ShapeError
        If mixtures, points and weights do not fit together.
    ArgumentError
        If a mass or a weight is negative; names it.
    NonFiniteError, NotPositiveDefinite
        If a point, a mass or a present component is invalid; names it.

    Examples
    --------
    >>> m = Mixture.isotropic([1.0], [[0.0, 0.0]], 1.0)
    >>> quality(m, np.array([[0.0, 0.0], [1.0, 0.0]])).log_likelihood.round(4)
    array([-2.0879])
    """
    count = check_count("quality", "samples", samples, 0)
    clouds, masses = _packed(points, weights)
    m = _checked("quality", mixture, len(clouds), clouds.dim)
    likelihoods = [
        mean_log_likelihood("quality", m[s], clouds.one(s), masses[clouds.offsets[s] : clouds.offsets[s + 1]])
        for s in range(len(clouds))
    ]
    drawn = reconstruction(m, clouds, masses, count, np.random.default_rng(rng)) if count else None
    return Quality(np.array(likelihoods), component_statistics(m), reconstruction=drawn)


def image_quality(mixture: Mixture, images: Array, *, data_range: float | None = None) -> Quality:
    """Report how well mixtures stand for gray images, pixel (r, c) being the unit square about x = c, y = r.

    An image is a density that is constant on each pixel, with the intensity v_rc as its mass; its log-likelihood is

        sum_rc v_rc (integral over pixel (r, c) of log(f(x) / sum_s w_s) dx) / sum_rc v_rc,

    each integral by three Gauss-Legendre nodes along x and y. `ImageError` and `ComponentStatistics` define the other
    measures. All are computed in float64.

    Parameters
    ----------
    mixture : Mixture, batch () or (S,), K = 2
        Of weights >= 0, as `fit_images` returns it.
    images : array, shape (H, W) for batch (), (S, H, W) for batch (S,)
        Of booleans, integers or floats, not negative.
    data_range : float, optional
        The intensity that PSNR is relative to; by default the largest of all the images (1 if all are blank).

    Returns
    -------
    Quality

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, NonFiniteError, NotPositiveDefinite
        As `quality`; ArgumentError also if `data_range` is not positive.
    """
    pixels = np.asarray(to_device(images, "cpu"))
    if pixels.dtype.kind not in "biuf":
        raise DTypeError(f"image_quality: expected booleans, integers or floats, got {pixels.dtype}")
    if pixels.ndim != len(mixture.batch) + 2:
        raise ShapeError(f"image_quality: images {pixels.shape} do not fit to the batch {mixture.batch}")
    pixels = pixels.astype(np.float64).reshape(-1, *pixels.shape[-2:])
    check_masses("image_quality", "images", pixels)
    m = _checked("image_quality", mixture, len(pixels), 2)
    largest = float(pixels.max(initial=0.0)) or 1.0
    peak = largest if data_range is None else float(data_range)
    if not 0 < peak < np.inf:
        raise ArgumentError(f"image_quality: expected data_range > 0, got {data_range}")
    likelihoods = [
        mean_log_likelihood("image_quality", one, *pixel_nodes(image))
        for one, image in zip(m, pixels, strict=True)
    ]
    return Quality(np.array(likelihoods), component_statistics(m), image=image_error(m, pixels, peak))


def _checked(op: str, mixture: Mixture, count: int, dim: int) -> Mixture:
    """Return the mixture as float64 of batch (count,) on the CPU."""
    m = mixture.values().to("cpu").astype("float64")
    m = m.reshape((1,)) if not m.batch else m
    if m.batch != (count,) or m.dim != dim:
        raise ShapeError(f"{op}: expected mixtures of batch ({count},) in {dim}-D, got {mixture!r}")
    require_non_negative(op, m)
    return m.check()


def _packed(points: Any, weights: Any) -> tuple[Clouds, np.ndarray]:
    """Return the points as float64 `Clouds`, and their masses (total,)."""
    layout: tuple[int, ...] | None = None
    if isinstance(points, Clouds):
        clouds = Clouds(_float64(points.points), points.offsets)
    elif hasattr(points, "shape"):
        x = _float64(points)
        if x.ndim not in (2, 3):
            raise ShapeError(f"quality: expected points (P, K) or (S, P, K), got {x.shape}")
        layout = x.shape[:-1]
        sets = 1 if x.ndim == 2 else len(x)
        clouds = Clouds(x.reshape(-1, x.shape[-1]), np.arange(sets + 1) * x.shape[-2])
    else:
        clouds = Clouds.pack([_float64(one) for one in points])
    require_finite("quality", "points", clouds.points)
    total = len(clouds.points)
    if weights is None:
        return clouds, np.ones(total)
    if isinstance(weights, Sequence):
        sizes = tuple(len(one) for one in weights)
        if layout is not None or sizes != tuple(clouds.sizes.tolist()):
            raise ShapeError(f"quality: weights of sizes {sizes} do not fit to points of {clouds.sizes}")
        weights = np.concatenate([_float64(one) for one in weights])
    masses = _float64(weights)
    if masses.shape != (layout or (total,)):
        raise ShapeError(f"quality: expected weights {layout or (total,)}, got {masses.shape}")
    check_masses("quality", "weights", masses)
    return clouds, masses.reshape(-1)


def _float64(array: Any) -> np.ndarray:
    return np.asarray(to_device(array, "cpu") if hasattr(array, "shape") else array, np.float64)


def _summary(values: np.ndarray) -> dict[str, float]:
    finite = values[np.isfinite(values)].astype(np.float64)
    some = len(finite) > 0
    numbers = (finite.mean(), np.median(finite), finite.min(), finite.max()) if some else (np.nan,) * 4
    row = dict(zip(("mean", "median", "min", "max"), map(float, numbers), strict=True))
    return row | {"not_finite": len(values) - len(finite)}


def _plain(x: float) -> float | str:
    if np.isfinite(x):
        return x
    return "NaN" if np.isnan(x) else ("Infinity" if x > 0 else "-Infinity")

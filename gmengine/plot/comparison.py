"""Objects beside the mixtures fitted to them (as the paper's figures 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gmengine.errors import ArgumentError, ShapeError
from gmengine.fitting.clouds import Clouds
from gmengine.mixture import Mixture
from gmengine.ops.render import render
from gmengine.plot._matplotlib import matplotlib
from gmengine.plot.flat import ellipses
from gmengine.plot.solid import cloud, ellipsoids

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 1.7  # inches
_FINER = 4  # cells of the density along a pixel


def comparison(
    objects: np.ndarray | Clouds,
    fits: Mapping[str, Mixture],
    *,
    names: Sequence[str] | None = None,
    up: str = "z",
) -> Figure:
    """Return a figure with a row for each object: the source, and what each fit made of it.

    Of an image: the image, and for every fit its ellipses (one standard deviation) and its density, with the image's
    range of grays. Of a point cloud: the points, and for every fit its ellipsoids, coloured by weight.

    Parameters
    ----------
    objects : array (S, H, W), or Clouds of S sets in 3-D
        Pixel (r, c) is the unit square about x = c, y = r.
    fits : mapping of str to Mixture, batch (S,)
        What to write above each, and the mixtures.
    names : sequence of S str, optional
        What to write beside each object.
    up : "x", "y" or "z"
        The axis of point clouds that points upwards.

    Raises
    ------
    ShapeError
        If objects, mixtures and names do not fit together.
    ArgumentError
        If there is nothing to draw.
    BackendError
        If matplotlib is missing.

    Examples
    --------
    >>> images, _ = gm.data.digits_images()
    >>> figure = comparison(images[:3], {"k-means + EM": gm.fitting.fit_images(images[:3], 32)})
    >>> figure.savefig("digits.png")
    """
    solid = isinstance(objects, Clouds)
    count, dim = len(objects), 3 if solid else 2
    if not count or not fits:
        raise ArgumentError("comparison: expected at least one object and one fit")
    if (objects.dim if isinstance(objects, Clouds) else objects.ndim) != 3:
        raise ShapeError("comparison: expected images (S, H, W), or Clouds in 3-D")
    for title, mixture in fits.items():
        if mixture.batch != (count,) or mixture.dim != dim:
            raise ShapeError(
                f"comparison: expected {title!r} of batch ({count},) in {dim}-D, got {mixture!r}"
            )
    if names is not None and len(names) != count:
        raise ShapeError(f"comparison: {len(names)} names for {count} objects")
    columns = 1 + (1 if solid else 2) * len(fits)
    figure: Figure = matplotlib("figure").Figure(figsize=(_CELL * columns, _CELL * count + 0.25))
    kind = {"projection": "3d"} if solid else None
    table = figure.subplots(count, columns, squeeze=False, subplot_kw=kind)
    figure.subplots_adjust(0.03, 0.005, 0.995, 1.0 - 0.25 / (_CELL * count + 0.25), 0.03, 0.03)
    for row in range(count):
        each = {title: mixture[row].values().to("cpu") for title, mixture in fits.items()}
        if isinstance(objects, Clouds):
            _cloud_row(table[row], objects.one(row), each, up, titled=row == 0)
        else:
            _image_row(table[row], objects[row], each, titled=row == 0)
        if names is not None:
            low, high = table[row, 0].get_position().intervaly
            figure.text(0.004, 0.5 * (low + high), names[row], rotation=90, va="center", fontsize=8)
    return figure


def _image_row(row: Any, image: np.ndarray, fits: Mapping[str, Mixture], *, titled: bool) -> None:
    height, width = image.shape
    edges = (-0.5, width - 0.5, height - 0.5, -0.5)
    grays = {"cmap": "gray_r", "vmin": 0.0, "vmax": float(image.max()) or 1.0, "extent": edges}
    row[0].imshow(image, interpolation="nearest", **grays)
    for i, (title, mixture) in enumerate(fits.items()):
        left, right = row[1 + 2 * i : 3 + 2 * i]
        ellipses(left, mixture, (edges[0], edges[1], edges[3], edges[2]))
        box = (edges[0], edges[3]), (edges[1], edges[2])
        values = render(mixture, box, (_FINER * width, _FINER * height))
        right.imshow(values.T, interpolation="nearest", **grays)
        if titled:
            _titled(left, title)
            _titled(right, "its density")
    for axes in row:
        axes.set_axis_off()
    if titled:
        _titled(row[0], "image")


def _cloud_row(row: Any, points: np.ndarray, fits: Mapping[str, Mixture], up: str, *, titled: bool) -> None:
    box = (points.min(0), points.max(0)) if len(points) else None
    cloud(row[0], points, box, up=up)
    for axes, mixture in zip(row[1:], fits.values(), strict=True):
        ellipsoids(axes, mixture, box, up=up)
    for axes, title in zip(row, (f"{len(points)} points", *fits), strict=True):
        if titled:
            _titled(axes, title)


def _titled(axes: Any, title: str) -> None:
    axes.set_title(title, fontsize=8, pad=2)

"""Pictures of two-dimensional mixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gmengine.errors import ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.bounding_box import bounding_box as corners
from gmengine.ops.evaluate import evaluate
from gmengine.plot._matplotlib import matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Box = tuple[float, float, float, float]


def bounding_box(mixture: Mixture, sigmas: float = 3.0) -> Box:
    """Return (left, right, low, high): the corners of `gmengine.bounding_box`, in the order that pictures take.

    A mixture without present components has the box from -1 to 1.
    """
    mixture = _flat(mixture)
    if not np.any(mixture.weights != 0):
        return -1.0, 1.0, -1.0, 1.0
    low, high = corners(mixture, sigmas)
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def density(axes: Axes, mixture: Mixture, box: Box | None = None, *, pixels: int = 160) -> Any:
    """Draw the mixture's values, red above zero and blue below, with y downwards as in images.

    Parameters
    ----------
    axes : matplotlib Axes
    mixture : Mixture without batch axes, K = 2
    box : (left, right, low, high), optional
        What to show; `bounding_box` of the mixture by default.
    pixels : int
        Resolution along x; y follows from the box.
    """
    mixture = _flat(mixture)
    left, right, low, high = box or bounding_box(mixture)
    rows = max(1, round(pixels * (high - low) / (right - left)))
    x, y = np.meshgrid(np.linspace(left, right, pixels), np.linspace(low, high, rows))
    points = np.stack([x, y], axis=-1).reshape(-1, 2).astype(mixture.dtype)
    values = evaluate(mixture, points).reshape(rows, pixels)
    limit = float(np.abs(values).max()) or 1.0
    image = axes.imshow(values, extent=(left, right, high, low), cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_axis_off()
    return image


def ellipses(axes: Axes, mixture: Mixture, box: Box | None = None, *, sigmas: float = 1.0) -> None:
    """Draw each present component as its `sigmas` ellipse, red for positive and blue for negative weights.

    The stronger the weight, relative to the largest, the more opaque the ellipse.
    """
    patches = matplotlib("patches")
    mixture = _flat(mixture)
    left, right, low, high = box or bounding_box(mixture)
    largest = float(np.abs(mixture.weights).max(initial=0.0)) or 1.0
    for weight, mean, covariance in zip(*mixture.arrays, strict=True):
        if weight == 0:
            continue
        variances, directions = np.linalg.eigh(covariance)
        width, height = 2 * sigmas * np.sqrt(variances)
        angle = float(np.degrees(np.arctan2(directions[1, 0], directions[0, 0])))
        colour = "tab:red" if weight > 0 else "tab:blue"
        alpha = 0.15 + 0.75 * float(abs(weight)) / largest
        axes.add_patch(patches.Ellipse(mean, width, height, angle=angle, facecolor=colour, alpha=alpha, lw=0))
    axes.set_xlim(left, right)
    axes.set_ylim(high, low)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _flat(mixture: Mixture) -> Mixture:
    if mixture.batch or mixture.dim != 2:
        raise ShapeError(f"plot: expected one mixture in 2-D, got batch {mixture.batch} in {mixture.dim}-D")
    return mixture.values().to("cpu")

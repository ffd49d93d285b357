"""Pictures of three-dimensional mixtures and point clouds, on axes of ``projection="3d"``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.backend import Array, to_device
from gmengine.errors import ArgumentError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops.bounding_box import bounding_box as corners
from gmengine.plot._matplotlib import matplotlib

Box = tuple[Array, Array]
_ELEVATION, _AZIMUTH = 18.0, -55.0  # where the camera stands, in degrees
_LIGHT_ELEVATION, _LIGHT_AZIMUTH = 50.0, -85.0  # to the camera's left, above
_AMBIENT = 0.4


def ellipsoids(
    axes: Any,
    mixture: Mixture,
    box: Box | None = None,
    *,
    sigmas: float = 1.5,
    up: str = "z",
    detail: int = 8,
) -> Any:
    """Draw each present component as its `sigmas` ellipsoid, lit from above the camera's left.

    The colour is the weight relative to the largest: viridis from 0 (dark blue) to 1 (yellow), or with negative
    weights red to blue, white being 0.

    Parameters
    ----------
    axes : matplotlib 3-D axes
    mixture : Mixture without batch axes, K = 3
    box : (low, high), each of 3 numbers, optional
        What to show; by default a box around the ellipsoids. All axes have one scale.
    sigmas : float
        Radii in units of the standard deviations.
    up : "x", "y" or "z"
        The axis that points upwards.
    detail : int
        Facets from pole to pole; an ellipsoid has twice the square of it.

    Returns
    -------
    Poly3DCollection
    """
    art3d, colormaps = matplotlib("mpl_toolkits.mplot3d.art3d"), matplotlib("cm")
    if mixture.batch or mixture.dim != 3:
        raise ShapeError(f"plot: expected one mixture in 3-D, got batch {mixture.batch} in {mixture.dim}-D")
    m = mixture.values().to("cpu").astype("float64").check()
    present = m.weights != 0
    m = Mixture(*(a[present] for a in m.arrays))
    facets, brightness = _facets(m, sigmas, detail, _direction(_LIGHT_ELEVATION, _LIGHT_AZIMUTH, up))
    strength = m.weights / np.abs(m.weights).max(initial=np.finfo(float).tiny)
    signed = bool((strength < 0).any())
    colours = colormaps.RdBu_r(0.5 + 0.5 * strength) if signed else colormaps.viridis(strength)
    rgb = colours[:, None, :3] * brightness[..., None]
    drawn = art3d.Poly3DCollection(facets.reshape(-1, 4, 3), facecolors=rgb.reshape(-1, 3), linewidths=0)
    drawn.set_antialiased(False)  # else the background shines through between facets
    axes.add_collection3d(drawn)
    if box is None:
        box = corners(m, sigmas) if present.any() else (-np.ones(3), np.ones(3))
    _frame(axes, box, up)
    return drawn


def cloud(axes: Any, points: Array, box: Box | None = None, *, up: str = "z", size: float = 1.5) -> Any:
    """Draw points (P, 3) as dots of `size` points; those in front are darker.

    `box` and `up` are those of `ellipsoids`, the box around the points by default.
    """
    x = np.asarray(to_device(points, "cpu"), np.float64)
    if x.ndim != 2 or x.shape[1] != 3:
        raise ShapeError(f"plot: expected points (P, 3), got {x.shape}")
    depth = x @ _direction(_ELEVATION, _AZIMUTH, up)
    spread = np.ptp(depth) if len(depth) else 0.0
    near = (depth - depth.min(initial=np.inf)) / spread if spread > 0 else np.ones(len(x))
    colours = matplotlib("cm").Blues(0.35 + 0.65 * near)
    drawn = axes.scatter(*x.T, s=size**2, c=colours, linewidths=0, depthshade=False)
    if box is None:
        box = (x.min(0), x.max(0)) if len(x) else (-np.ones(3), np.ones(3))
    _frame(axes, box, up)
    return drawn


def _facets(m: Mixture, sigmas: float, detail: int, light: Array) -> tuple[Array, Array]:
    """Return corners (N, F, 4, 3) of each component's facets, and their brightness (N, F) in [0, 1].

    With C = E diag(l) E^T the ellipsoid is x = mu + sigmas E sqrt(l) u, |u| = 1, its normal E u / sqrt(l).
    """
    polar, around = np.linspace(0.0, np.pi, detail + 1), np.linspace(0.0, 2.0 * np.pi, 2 * detail + 1)
    sphere = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(around),
            np.sin(polar)[:, None] * np.sin(around),
            np.broadcast_to(np.cos(polar)[:, None], (detail + 1, 2 * detail + 1)),
        ],
        axis=-1,
    )
    ring = sphere[:-1, :-1], sphere[1:, :-1], sphere[1:, 1:], sphere[:-1, 1:]
    quads = np.stack(ring, axis=-2).reshape(-1, 4, 3)
    variances, directions = np.linalg.eigh(m.covariances)
    radii = np.sqrt(variances)
    place = sigmas * directions * radii[:, None, :]
    facets = m.means[:, None, None] + np.einsum("nij,fcj->nfci", place, quads)
    normals = np.einsum("nij,fj->nfi", directions / radii[:, None, :], quads.mean(1))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return facets, _AMBIENT + (1.0 - _AMBIENT) * np.maximum(normals @ light, 0.0)


def _direction(elevation: float, azimuth: float, up: str) -> Array:
    """Return the unit vector that matplotlib's view angles mean: axes follow each other cyclically after `up`."""
    if up not in ("x", "y", "z"):
        raise ArgumentError(f"plot: expected up to be x, y or z, got {up!r}")
    e, a = np.radians(elevation), np.radians(azimuth)
    return np.roll([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], "xyz".index(up) - 2)


def _frame(axes: Any, box: Box, up: str) -> None:
    """Show a cube around the box, so that all axes have one scale, from the usual place, without axes."""
    low, high = (np.asarray(edge, np.float64) for edge in box)
    middle, half = 0.5 * (low + high), 0.5 * float((high - low).max()) or 1.0
    for name, centre in zip("xyz", middle, strict=True):
        getattr(axes, f"set_{name}lim")(centre - half, centre + half)
    axes.set_box_aspect((1.0, 1.0, 1.0), zoom=1.35)
    axes.view_init(elev=_ELEVATION, azim=_AZIMUTH, vertical_axis=up)
    axes.set_proj_type("ortho")
    axes.set_axis_off()

"""Images to mixtures."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.backend import Array
from gmengine.errors import BackendError, DTypeError, ShapeError
from gmengine.fitting._checks import check_count, check_masses, check_totals, to_mixture
from gmengine.fitting._frame import Moments
from gmengine.fitting._methods import fit_sets, fitter
from gmengine.fitting._sets import Sets
from gmengine.mixture import Mixture

_PIECE = 2**20  # pixels that are fitted together
_PIXEL_VARIANCE = 1.0 / 12.0  # of the uniform distribution on a unit square, per axis


def fit_images(
    images: Array,
    n_components: int,
    *,
    method: str = "kmeans+em",
    steps: int | None = None,
    init: str = "kmeans++",
    tol: float | None = None,
    rng: int | np.random.Generator | None = 0,
    dtype: Any = "float64",
) -> Mixture:
    """Fit one 2-D mixture to every image, by k-means and one EM step (paper section 5) or another method.

    The pixel in row r and column c is a unit square centred at x = c, y = r: x grows to the right and y
    *downwards*, as images are stored and as matplotlib's imshow draws them. Its intensity is its mass, its
    covariance I/12, that of a unit square.

    Parameters
    ----------
    images : array, shape (S, H, W), booleans, integers or floats
        Intensities, not negative. They are computed with in float64 whatever their dtype.
    n_components : int
        N. An image of fewer pixels above 0 gets one component for each; the rest are absent: weight 0,
        mean 0, covariance I. A blank image gets absent components only.
    method, steps, init, tol
        As in `gmengine.fit`: the default is "kmeans+em" with one step.
    rng : int, Generator or None
        Seeds the clusters; results do not depend on the number of threads.
    dtype : dtype
        float32 or float64, of the result.

    Returns
    -------
    Mixture, batch (S,), N components, K = 2
        The weights sum to the image's total intensity.

    Raises
    ------
    ShapeError
        If the images are not (S, H, W) with at least one pixel.
    NonFiniteError, ArgumentError
        If an intensity is NaN, infinite or negative; names [image, row, column]. If the method is unknown or
        does not take an option.
    DTypeError, BackendError
        If `dtype` is another one, or `images` is not a NumPy array of real numbers.

    Examples
    --------
    >>> fit_images(np.eye(3)[None], 4)
    Mixture(batch=(1,), components=4, dim=2, float64, cpu)
    """
    n = check_count("fit_images", "n_components", n_components, 1)
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise DTypeError(f"fit_images: expected dtype float32 or float64, got {np.dtype(dtype)}")
    fit = fitter("fit_images", method, steps=steps, init=init, tol=tol)
    images, generator = _check_images(images), np.random.default_rng(rng)
    step = max(1, _PIECE // (images.shape[1] * images.shape[2]))
    pieces = (_pixels(images[begin : begin + step]) for begin in range(0, max(1, len(images)), step))
    found = [fit_sets("fit_images", piece, n, fit, generator) for piece in pieces]
    weights, means, covariances = (np.concatenate(field) for field in zip(*found, strict=True))
    moments: Moments = (weights, means, covariances)
    return to_mixture("fit_images", moments, np.dtype(dtype))


def _check_images(images: Array) -> np.ndarray:
    if not isinstance(images, np.ndarray):
        raise BackendError(
            f"fit_images: expected a NumPy array, got {type(images).__name__}; fits run on the CPU"
        )
    if images.dtype.kind not in "biuf":
        raise DTypeError(f"fit_images: expected booleans, integers or floats, got {images.dtype}")
    if images.ndim != 3 or 0 in images.shape[1:]:
        hint = "; write images[None] for a single image" if images.ndim == 2 else ""
        raise ShapeError(f"fit_images: expected images (S, H, W), got {images.shape}{hint}")
    check_masses("fit_images", "images", images)
    with np.errstate(over="ignore"):
        check_totals("fit_images", "images", images.sum(axis=(1, 2), dtype=np.float64))
    return images


def _pixels(images: np.ndarray) -> Sets:
    """The pixels of images as weighted point sets."""
    count, height, width = images.shape
    rows, columns = np.indices((height, width), dtype=np.float64)
    centres = np.stack([columns.ravel(), rows.ravel()], axis=-1)
    offsets = height * width * np.arange(count + 1, dtype=np.int64)
    floors = np.full(count, _PIXEL_VARIANCE)
    return Sets(np.tile(centres, (count, 1)), images.reshape(-1).astype(np.float64), offsets, floors)

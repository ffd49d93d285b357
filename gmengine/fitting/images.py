"""Images to mixtures."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.backend import Array
from gmengine.errors import BackendError, DTypeError, ShapeError
from gmengine.fitting._samples import Samples, check_count, check_masses, to_mixture
from gmengine.fitting.kmeans import cluster
from gmengine.mixture import Mixture

_PIXEL_VARIANCE = 1.0 / 12.0  # of the uniform distribution on a unit square, per axis


def fit_images(
    images: Array,
    n_components: int,
    *,
    rng: int | np.random.Generator | None = 0,
    dtype: Any = "float64",
) -> Mixture:
    """Fit one 2-D mixture to every image by k-means and one EM step (paper section 5).

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
        If an intensity is NaN, infinite or negative; names [image, row, column].
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
    samples = _pixels(_check_images(images))
    *moments, _ = cluster(samples, n, np.random.default_rng(rng), em_steps=1)
    return to_mixture("fit_images", tuple(moments), np.dtype(dtype))


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
    return images


def _pixels(images: np.ndarray) -> Samples:
    """The pixels of all images as samples; their coordinates are stored once."""
    count, height, width = images.shape
    rows, columns = np.indices((height, width), dtype=np.float64)
    centres = np.stack([columns.ravel(), rows.ravel()], axis=-1)
    points = np.broadcast_to(centres, (count, *centres.shape))
    return Samples(points, images.reshape(count, -1), np.full(count, _PIXEL_VARIANCE))

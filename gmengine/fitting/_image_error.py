"""How far rendered mixtures are from the images that they were fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gmengine.mixture import Mixture
from gmengine.ops.render import render

_PIXELS = 2**22  # rendered at a time: bounds the memory


@dataclass(frozen=True, eq=False)
class ImageError:
    """Errors of the pixels, arrays (S,).

    The mixture f is scaled to the image's ink, g = f sum(image) / integral of f, and taken at the pixels' centres:

    rmse : sqrt(mean over all pixels of (g(c, r) - image[r, c])^2), in units of the intensities
    psnr : 20 log10(data_range / rmse) in decibels; infinite if rmse is 0
    data_range : number that `psnr` is relative to

    An image without ink has g = 0; a mixture without components has it too.
    """

    data_range: float
    rmse: np.ndarray
    psnr: np.ndarray


def image_error(mixture: Mixture, images: np.ndarray, data_range: float) -> ImageError:
    """Return the errors of mixtures of batch (S,) beside float64 images (S, H, W)."""
    count, height, width = images.shape
    ink, integrals = images.sum((1, 2)), mixture.weights.sum(-1)
    scaled = mixture * np.divide(ink, integrals, out=np.zeros(count), where=integrals > 0)
    box = (-0.5, -0.5), (width - 0.5, height - 0.5)
    rmse = np.zeros(count)
    step = max(1, _PIXELS // (height * width))
    for begin in range(0, count, step):
        part = slice(begin, begin + step)
        drawn = render(scaled[part], box, (width, height)).swapaxes(-1, -2)
        rmse[part] = np.sqrt(np.mean((drawn - images[part]) ** 2, axis=(1, 2)))
    with np.errstate(divide="ignore"):
        return ImageError(data_range, rmse, 20.0 * np.log10(data_range / rmse))

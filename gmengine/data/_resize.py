"""Images brought to one size."""

from __future__ import annotations

import numpy as np


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the image (H, W) on height x width pixels, float32: means over the areas that pixels cover.

    A mean over an area has no ringing: intensities stay between the least and the largest, and areas of zero
    stay exactly zero. An axis whose length does not change is not touched. Enlarged images have steps.
    """
    return _rows(_rows(image, height).T, width).T


def _rows(image: np.ndarray, length: int) -> np.ndarray:
    """Resize the first axis."""
    old = len(image)
    if length == old:
        return image
    result = np.empty((length, *image.shape[1:]), np.float32)
    for row in range(length):
        # In units of 1/length of an old pixel everything is an integer: no share is a rounding error.
        start, stop = row * old, (row + 1) * old
        first, last = start // length, -(-stop // length)
        index = np.arange(first, last)
        shares = np.minimum(stop, (index + 1) * length) - np.maximum(start, index * length)
        result[row] = (shares[:, None] * image[first:last].astype(np.float64)).sum(0) / old
    return result


def fit_side(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Return height and width of the same proportions whose longer one is `side`; at least 1."""
    longest = max(shape)
    height, width = ((2 * length * side + longest) // (2 * longest) for length in shape)
    return max(height, 1), max(width, 1)


def centred(images: list[np.ndarray]) -> np.ndarray:
    """Return all images (n, H, W), H and W the largest among them, each in the middle of zeros."""
    height = max((image.shape[0] for image in images), default=1)
    width = max((image.shape[1] for image in images), default=1)
    result = np.zeros((len(images), height, width), np.float32)
    for canvas, image in zip(result, images, strict=True):
        top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
        canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return result

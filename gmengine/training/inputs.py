"""What a trained network is given to classify: mixtures from a store, or images that are fitted first."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gmengine.data import load_dataset
from gmengine.errors import ArgumentError, FileFormatError, ShapeError
from gmengine.fitting import fit_images
from gmengine.mixture import Mixture
from gmengine.nn import Network


def read_mixtures(path: str | os.PathLike[str], net: Network) -> Mixture:
    """Return the mixtures (n, channels, N) of a file, in the network's dtype.

    Parameters
    ----------
    path : path-like
        A .npz data set store or saved Mixture (batch (), (n,) or (n, channels)), or a .npy array of gray
        images (n, H, W) or (H, W), which are fitted to the network's number of components as the digits are;
        bytes (uint8) are divided by 255, as the readers of data sets do.
    net : Network
        Says how many components and which dtype.

    Raises
    ------
    ArgumentError
        If the name ends neither in .npz nor in .npy, or an image holds negative values.
    FileFormatError
        Names the file and the reason.
    ShapeError
        If mixtures or images do not have the shape that the network takes.
    OSError
        If the file is missing or cannot be read.
    """
    file = Path(path)
    if file.suffix == ".npy":
        components = net.components[0]
        assert components is not None  # only the last layer's may be
        images = _read_images(file)
        return fit_images(images, components, rng=0, dtype=net.dtype)[:, None]
    if file.suffix != ".npz":
        raise ArgumentError(f"{file}: expected a .npz store of mixtures or a .npy array of images")
    return _read_store(file).astype(net.dtype)


def _read_images(file: Path) -> np.ndarray:
    with open(file, "rb") as handle:
        try:
            images = np.lib.format.read_array(handle, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise FileFormatError(f"{file}: not a readable .npy array: {error}") from error
    if images.ndim == 2:
        images = images[None]
    if images.ndim != 3 or 0 in images.shape:
        raise ShapeError(f"{file}: expected gray images (n, H, W) or (H, W), got {images.shape}")
    return images / np.float32(255) if images.dtype == np.uint8 else images


def _read_store(file: Path) -> Mixture:
    try:
        return load_dataset(file).mixtures
    except FileFormatError as error:
        try:
            mixture = Mixture.load(file)
        except FileFormatError:
            raise error from None
    if len(mixture.batch) > 2:
        raise ShapeError(f"{file}: expected mixtures of batch (n, channels), got {mixture.batch}")
    return mixture.reshape(((1, 1), (*mixture.batch, 1), mixture.batch)[len(mixture.batch)])

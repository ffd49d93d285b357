"""Data to mixtures: weighted k-means, expectation maximisation, images, point sets."""

from gmengine.fitting.em import em
from gmengine.fitting.images import fit_images
from gmengine.fitting.kmeans import kmeans
from gmengine.fitting.points import fit_points

__all__ = ["em", "fit_images", "fit_points", "kmeans"]

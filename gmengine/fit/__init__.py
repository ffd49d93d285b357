"""Data to mixtures: weighted k-means, expectation maximisation, images, point sets."""

from gmengine.fit.em import em
from gmengine.fit.images import fit_images
from gmengine.fit.kmeans import kmeans
from gmengine.fit.points import fit_points

__all__ = ["em", "fit_images", "fit_points", "kmeans"]

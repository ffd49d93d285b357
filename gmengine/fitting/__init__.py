"""Data to mixtures: point sets and images, by k-means, expectation maximisation and hierarchies of it."""

from gmengine.fitting.clouds import Clouds
from gmengine.fitting.em import em
from gmengine.fitting.fit import fit
from gmengine.fitting.images import fit_images
from gmengine.fitting.kmeans import kmeans
from gmengine.fitting.points import fit_points

__all__ = ["Clouds", "em", "fit", "fit_images", "fit_points", "kmeans"]

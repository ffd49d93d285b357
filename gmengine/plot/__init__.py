"""Pictures of mixtures and of what they were fitted to (needs matplotlib: ``pip install 'gmengine[plot]'``)."""

from gmengine.plot.comparison import comparison
from gmengine.plot.flat import bounding_box, density, ellipses
from gmengine.plot.solid import cloud, ellipsoids

__all__ = ["bounding_box", "cloud", "comparison", "density", "ellipses", "ellipsoids"]

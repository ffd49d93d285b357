"""Find where mixtures live."""

from __future__ import annotations

from math import isfinite, prod
from typing import Any

from gmengine._components import diagonal
from gmengine.autograd import arrays, value_of
from gmengine.backend import namespace
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture
from gmengine.ops._gaussians import factorised
from gmengine.ops._points import require_component


def bounding_box(m: Mixture, n_sigma: float = 3.0) -> tuple[Any, Any]:
    """Return the corners of the smallest box that holds every component out to `n_sigma` standard deviations.

    ``low = min_i mu_i - n_sigma sqrt(diag C_i)`` and ``high = max_i mu_i + n_sigma sqrt(diag C_i)``, over present
    components of either sign.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
    n_sigma : float
        0 or more. Gradients flow to the components that touch the box, the first one of several.

    Returns
    -------
    low, high : arrays, shape (*batch, K)
        In the units of the means.

    Raises
    ------
    ArgumentError
        If a mixture has no present component, named; or if `n_sigma` is negative or not finite.
    NotPositiveDefinite, NonFiniteError
        If a component that is present is no Gaussian; names it.
    """
    if not (isfinite(n_sigma) and n_sigma >= 0.0):
        raise ArgumentError(f"bounding_box: expected a finite n_sigma >= 0, got {n_sigma}")
    m, _ = factorised("bounding_box", m)
    require_component("bounding_box", m)
    if not prod(m.batch):  # there may be no component to take the maximum of
        return arrays.sum(m.means, axis=-2), arrays.sum(m.means, axis=-2)
    present = value_of(m.weights) != 0
    present = namespace(present).expand_dims(present, axis=-1)
    reach = arrays.multiply(arrays.sqrt(diagonal(m.covariances)), float(n_sigma))

    def furthest(x: Any) -> Any:
        return arrays.max(arrays.where(present, x, -float("inf")), axis=-2)

    low = arrays.negative(furthest(arrays.subtract(reach, m.means)))
    return low, furthest(arrays.add(m.means, reach))

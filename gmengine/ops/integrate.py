"""Integrate mixtures over all of space."""

from __future__ import annotations

from typing import Any

from gmengine.autograd import arrays
from gmengine.mixture import Mixture


def integrate(m: Mixture) -> Any:
    """Return the integral of each mixture over all of space: the sum of its weights.

    Each component is ``w N(x; mu, C)`` and a density integrates to 1, so means and covariances do not matter.

    Parameters
    ----------
    m : Mixture, batch shape (*batch)
        Absent components count for nothing.

    Returns
    -------
    array, shape (*batch), of the mixture's dtype
    """
    return arrays.sum(m.weights, axis=-1)

"""Variations of mixtures that cost next to nothing: a linear map moves means and covariances alone."""

from __future__ import annotations

import numpy as np

from gmengine.backend import namespace
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture


def random_linear(
    mixture: Mixture, strength: float, *, rng: int | np.random.Generator | None = None
) -> Mixture:
    """Return each sample pushed forward through its own random map x -> A x, A = I + strength G.

    G has independent standard normal entries, so that A rotates, stretches and shears a little in every
    direction. Integrals stay: means become A mu and covariances A C A^T.

    Parameters
    ----------
    mixture : Mixture, batch shape (B, ...)
        Plain arrays; the channels of one sample share its map.
    strength : float
        Standard deviation of the entries of A about the identity, in [0, 0.3]; 0 returns `mixture` itself.
    rng : int, Generator or None
        Draws G on the host, in float64, so that CPU and GPU runs agree.

    Raises
    ------
    ArgumentError
        If `strength` is out of range.
    """
    if not 0.0 <= strength <= 0.3:
        raise ArgumentError(f"random_linear: expected strength in [0, 0.3], got {strength!r}")
    if strength == 0.0:
        return mixture
    xp, K = namespace(mixture.weights), mixture.dim
    maps = np.eye(K) + strength * np.random.default_rng(rng).standard_normal((mixture.batch[0], K, K))
    inner = (1,) * len(mixture.batch)  # the channel axes and the components'
    a = xp.reshape(xp.asarray(maps.astype(str(mixture.dtype))), (mixture.batch[0], *inner, K, K))
    covariances = a @ mixture.covariances @ xp.matrix_transpose(a)
    symmetric = (covariances + xp.matrix_transpose(covariances)) / 2
    return Mixture(mixture.weights, (a @ mixture.means[..., None])[..., 0], symmetric)

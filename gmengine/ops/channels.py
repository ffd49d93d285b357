"""Join, sum and drop channels: the last batch axis of mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np

from gmengine.autograd import arrays, value_of
from gmengine.backend import namespace
from gmengine.errors import ArgumentError, ShapeError
from gmengine.mixture import Mixture
from gmengine.ops._gaussians import blanked


def concat_channels(mixtures: Sequence[Mixture]) -> Mixture:
    """Return mixtures (*batch, I_1, N_1), (*batch, I_2, N_2), ... as one: (*batch, I_1 + I_2 + ..., max N).

    Mixtures of fewer components are padded with absent ones, of mean 0 and covariance I.

    Parameters
    ----------
    mixtures : sequence of Mixture
        At least one; of one K, dtype and library. Their batches without the channel axis broadcast.

    Raises
    ------
    ArgumentError
        If there are none.
    ShapeError
        If one has no channel axis, or K or the batches do not fit; names the shapes.
    DTypeError, BackendError
        If dtypes, libraries or devices differ.
    """
    given = list(mixtures)
    if not given:
        raise ArgumentError("concat_channels: expected at least one mixture")
    batches, dims = [m.batch for m in given], [m.dim for m in given]
    if any(not b for b in batches) or len(set(dims)) != 1:
        raise ShapeError(
            f"concat_channels: expected batches (*batch, channels) and one K, got {batches} and K = {dims}"
        )
    try:
        common = np.broadcast_shapes(*(b[:-1] for b in batches))
    except ValueError:
        raise ShapeError(f"concat_channels: batches do not broadcast, got {batches}") from None
    most = max(m.n_components for m in given)
    padded = [_padded(m.broadcast_to((*common, m.batch[-1])), most) for m in given]
    fields = zip(*(m.arrays for m in padded), strict=True)
    return Mixture(*(arrays.concat(list(field), axis=len(common)) for field in fields))


def sum_channels(m: Mixture) -> Mixture:
    """Return the sum of the channels' functions: (*batch, I, N) becomes (*batch, I N), channel after channel.

    Raises
    ------
    ShapeError
        If the batch is ().
    """
    _require_channels("sum_channels", m)
    lead = len(m.batch) - 1
    return Mixture(
        *(
            arrays.reshape(a, (*a.shape[:lead], a.shape[lead] * a.shape[lead + 1], *a.shape[lead + 2 :]))
            for a in m.arrays
        )
    )


def channel_dropout(m: Mixture, rate: float, rng: int | np.random.Generator | None = None) -> Mixture:
    """Return the mixture without some channels, drawn at random, and the others divided by 1 - rate.

    Every channel of every batch entry is dropped independently with probability `rate`: its components become
    absent. The expectation of the result is `m` (Srivastava et al., Dropout, 2014, for whole channels).

    Parameters
    ----------
    m : Mixture, batch shape (*batch, I)
    rate : float
        0 <= rate < 1; with 0 nothing is drawn.
    rng : int, Generator or None
        Draws on the host: one uniform number per channel.

    Raises
    ------
    ArgumentError
        If `rate` is no real number or lies outside [0, 1).
    ShapeError
        If the batch is ().
    """
    _require_channels("channel_dropout", m)
    if not (isinstance(rate, Real) and 0.0 <= rate < 1.0):
        raise ArgumentError(f"channel_dropout: expected 0 <= rate < 1, got {rate!r}")
    rate = float(rate)
    if rate == 0.0:
        return m
    kept = np.random.default_rng(rng).random(m.batch) >= rate
    xp = namespace(value_of(m.weights))
    mask = xp.expand_dims(xp.asarray(kept), axis=-1)
    weights = arrays.where(mask, arrays.divide(m.weights, 1.0 - rate), 0.0)
    return blanked(Mixture(weights, m.means, m.covariances))


def _padded(m: Mixture, n: int) -> Mixture:
    """Return the mixture with absent components appended, so that there are `n`."""
    missing = n - m.n_components
    if not missing:
        return m
    xp, dtype = namespace(value_of(m.weights)), m.dtype
    eye = xp.eye(m.dim, dtype=dtype)
    blank = Mixture(
        xp.zeros((*m.batch, missing), dtype=dtype),
        xp.zeros((*m.batch, missing, m.dim), dtype=dtype),
        xp.broadcast_to(eye, (*m.batch, missing, m.dim, m.dim)),
    )
    return m + blank


def _require_channels(op: str, m: Mixture) -> None:
    if not m.batch:
        raise ShapeError(f"{op}: expected a batch (*batch, channels), got ()")

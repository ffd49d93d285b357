"""Scale space between layers: what pooling's shrinking of the domain is for images (paper section 4.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gmengine.autograd import arrays
from gmengine.backend import Array
from gmengine.mixture import Mixture
from gmengine.nn.running import State, new_average, read_average, update_average
from gmengine.ops.affine import scale
from gmengine.ops.normalise import mean_trace


@dataclass(frozen=True)
class DomainScale:
    """Scale space about the origin by ``s = sqrt(K / t)``, t the mean trace of the covariances of a channel.

    In training t is the mean over the present components of the whole batch, and the gradient flows through
    it. In evaluation t is the exponential of a bias-corrected running average of log t, so that a sample's
    result does not depend on its neighbours. Logarithms, because a scale is a ratio: a layer whose traces
    drift by a factor per step, as they do early on, is followed as well downwards as upwards. (The published
    code uses the lagging average in training too, started at 1 with a momentum of 0.02, so that the first
    hundreds of steps see badly scaled mixtures.)

    Parameters
    ----------
    channels : int
        C; the mixture's batch shape is (B, C).
    shared : bool
        One scale for all channels instead of one for each. With one for each, the channels' functions are
        scaled differently about the origin, so the origin should mean something: the network puts it at the
        sample's centre.
    momentum : float
        Share of the newest batch in the running average.
    """

    channels: int
    shared: bool = False
    momentum: float = 0.3

    def init(self, dtype: str = "float32") -> dict[str, Array]:
        """Return the state that has seen no batch; evaluated with it, space is not scaled."""
        return new_average(dtype, log_trace=(1 if self.shared else self.channels,))

    def apply(
        self, state: State, mixture: Mixture, training: bool = False
    ) -> tuple[Mixture, dict[str, Array]]:
        """Return the scaled mixture, batch shape (B, C), and the state, new if `training`."""
        neutral = math.log(mixture.dim)
        if training:
            log_trace = arrays.log(mean_trace(mixture, axis=(0, 1) if self.shared else 0))
            log_trace = arrays.reshape(log_trace, tuple(state["log_trace"].shape))
            new = update_average(state, self.momentum, log_trace=log_trace)
        else:
            log_trace, new = read_average(state, "log_trace", default=neutral), dict(state)
        return scale(mixture, self._factor(log_trace, neutral)), new

    @staticmethod
    def _factor(log_trace: Any, neutral: float) -> Any:
        return arrays.exp(arrays.multiply(arrays.subtract(neutral, log_trace), 0.5))

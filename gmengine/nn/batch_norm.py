"""Batch normalisation of the integrals, one per class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gmengine.autograd import arrays, value_of
from gmengine.backend import Array, namespace
from gmengine.nn.running import State, new_average, read_average, update_average


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation (Ioffe & Szegedy, 2015): gamma (x - mean) / sqrt(var + eps (var + mean^2)) + beta.

    The variance is the biased one, in the running average too, so that a batch seen again and again is
    treated alike in training and in evaluation. `eps` is relative to the mean square: integrals have no
    natural unit (they are products of the weights of all layers), and a fixed eps would drown small ones. The
    map is therefore unchanged by x -> c x, c > 0.

    Parameters
    ----------
    features : int
        F.
    momentum : float
        Share of the newest batch in the running averages, which are bias-corrected.
    eps : float
        Relative floor of the variance.
    """

    features: int
    momentum: float = 0.3
    eps: float = 1e-5

    def init(self, dtype: str = "float32") -> tuple[dict[str, Array], dict[str, Array]]:
        """Return {"gamma": ones (F,), "beta": zeros (F,)} and the state that has seen no batch."""
        params = {"gamma": np.ones(self.features, dtype=dtype), "beta": np.zeros(self.features, dtype=dtype)}
        return params, new_average(dtype, mean=(self.features,), variance=(self.features,))

    def apply(
        self, params: Mapping[str, Any], state: State, x: Any, training: bool = False
    ) -> tuple[Any, dict[str, Array]]:
        """Return the normalised (B, F), and the state, new if `training`.

        A batch of one trains nothing but `beta`: its result is `beta`. Before any training step the running
        mean and variance count as 0 and 1.
        """
        if training:
            mean = arrays.mean(x, axis=0)
            variance = arrays.mean(arrays.square(arrays.subtract(x, mean)), axis=0)
            new = update_average(state, self.momentum, mean=mean, variance=variance)
        else:
            mean = read_average(state, "mean", default=0.0)
            variance = read_average(state, "variance", default=1.0)
            new = dict(state)
        value = value_of(x)
        tiny = float(
            namespace(value).finfo(value.dtype).smallest_normal
        )  # a batch of zeros has no spread at all
        floor = arrays.add(arrays.multiply(arrays.add(variance, arrays.square(mean)), self.eps), tiny)
        unit = arrays.divide(arrays.subtract(x, mean), arrays.sqrt(arrays.add(variance, floor)))
        return arrays.add(arrays.multiply(unit, params["gamma"]), params["beta"]), new

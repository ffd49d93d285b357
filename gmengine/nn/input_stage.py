"""What is done to data before the first layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gmengine.autograd import arrays, value_of
from gmengine.backend import Array, namespace
from gmengine.mixture import Mixture
from gmengine.nn.domain_scale import DomainScale
from gmengine.nn.running import State
from gmengine.ops.affine import scale, translate
from gmengine.ops.normalise import mean_trace


@dataclass(frozen=True)
class InputStage:
    """Centre each sample, give it a unit integral of absolute weights, and scale space for the first kernels.

    - The centre of a sample, the mean of its components' means weighted by |w|, is moved to the origin.
      Layers scale space about the origin, per channel; with the origin fixed to the sample, a translated
      sample gives the same integrals.
    - Weights are divided by the sample's sum of |w|. Every layer is positively homogeneous (convolution is
      linear, the ReLU's epsilons are relative, reductions and domain scaling do not look at the size of
      weights), so the size of a sample's values would only scale its integrals; removing it makes brightness
      or density irrelevant.
    - Space is scaled as between layers, one factor for all channels of the data, so that they stay
      registered.

    Parameters
    ----------
    per_sample : bool
        Scale the space of each sample by itself: small samples grow. Else by the batch statistic of
        `DomainScale`.
    momentum : float
        Of the running average; without effect if `per_sample`.
    """

    per_sample: bool = False
    momentum: float = 0.3

    def init(self, dtype: str = "float32") -> dict[str, Array]:
        """Return the state that has seen no batch; empty if `per_sample`."""
        return {} if self.per_sample else self._domain.init(dtype)

    def apply(
        self, state: State, mixture: Mixture, training: bool = False
    ) -> tuple[Mixture, dict[str, Array]]:
        """Return the normalised mixture, batch shape (B, C), and the state, new if `training`."""
        mixture = _unit_weights(mixture)
        mixture = translate(mixture, arrays.negative(_centre(mixture)))
        if not self.per_sample:
            return self._domain.apply(state, mixture, training)
        ratio = arrays.divide(float(mixture.dim), mean_trace(mixture, axis=1))
        return scale(mixture, arrays.expand_dims(arrays.sqrt(ratio), -1)), dict(state)

    @property
    def _domain(self) -> DomainScale:
        return DomainScale(channels=1, shared=True, momentum=self.momentum)


def _unit_weights(mixture: Mixture) -> Mixture:
    total = arrays.sum(arrays.abs(mixture.weights), axis=(1, 2), keepdims=True)
    value = value_of(total)
    empty = value == 0  # a sample of absent components stays one
    return Mixture(
        arrays.divide(mixture.weights, arrays.where(empty, namespace(value).ones_like(value), total)),
        mixture.means,
        mixture.covariances,
    )


def _centre(mixture: Mixture) -> Any:
    """Return the |w|-weighted mean of the means, shape (B, 1, K); a sample's |w| sum to 1 already."""
    shares = arrays.expand_dims(arrays.abs(mixture.weights), -1)
    return arrays.sum(arrays.multiply(shares, mixture.means), axis=(1, 2), keepdims=True)[:, 0]

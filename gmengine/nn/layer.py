"""The Gaussian convolution layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gmengine.backend import Array
from gmengine.mixture import Mixture
from gmengine.nn.domain_scale import DomainScale
from gmengine.nn.kernel import Kernel
from gmengine.nn.plans import PlanBook
from gmengine.nn.running import State
from gmengine.ops.convolve import convolve
from gmengine.ops.relu import relu


@dataclass(frozen=True)
class Layer:
    """Convolve, (reduce,) add a bias, fit the ReLU, reduce, scale space (paper figure 4).

    Parameters
    ----------
    kernel : Kernel
        O output and I input channels.
    components : int or None
        n, the components per channel that leave the layer. None leaves them all and does not scale space: the
        last layer, after which only integrals are read.
    bias : bool
        Learn one bias per output channel, added before the ReLU. The layer then represents
        ``max(0, f + bias) - max(0, bias)``: what is constant in space has no integral, so it is dropped.
    epsilons : (float, float, float)
        Of `relu`, relative.
    per_node : int
        The paper's T: components per tree node of TreeHEM.
    reduce_first : float or None
        If given, the convolved mixture is reduced to ``round(reduce_first * n)`` components (at least 2, one
        for each sign) before the ReLU, whose cost is quadratic in them. Without effect where `components` is
        None.
    share_scale, momentum
        Of `DomainScale`.
    """

    kernel: Kernel
    components: int | None
    bias: bool = False
    epsilons: tuple[float, float, float] = (0.1, 0.05, 0.05)
    per_node: int = 2
    reduce_first: float | None = None
    share_scale: bool = False
    momentum: float = 0.3

    @property
    def domain(self) -> DomainScale:
        """The scaling of space after the reduction."""
        return DomainScale(self.kernel.outputs, self.share_scale, self.momentum)

    def init(
        self, rng: int | np.random.Generator | None, dtype: str = "float32"
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return the parameters ("weights", "means", "factors", and "bias" if there is one) and the state."""
        params = self.kernel.init(rng, dtype)
        if self.bias:
            params["bias"] = np.zeros(self.kernel.outputs, dtype=dtype)
        return params, {} if self.components is None else self.domain.init(dtype)

    def apply(
        self,
        params: Mapping[str, Any],
        state: State,
        mixture: Mixture,
        training: bool = False,
        book: PlanBook | None = None,
    ) -> tuple[Mixture, dict[str, Array]]:
        """Return the layer's output and its state, new if `training`.

        Parameters
        ----------
        params, state
            From `init`.
        mixture : Mixture, batch shape (B, I)
            Of any number of components.
        training : bool
            Scale space by the batch's statistic instead of the running average.
        book : PlanBook, optional
            Records or replays the plans of the reductions.

        Returns
        -------
        Mixture of batch shape (B, O), and the state
        """
        book = PlanBook() if book is None else book
        mixture = convolve(mixture, self.kernel.mixture(params))
        if self.components is not None and self.reduce_first is not None:
            mixture = book.reduce(mixture, max(2, round(self.reduce_first * self.components)), self.per_node)
        mixture = relu(mixture, bias=params["bias"] if self.bias else 0.0, epsilons=self.epsilons)
        if self.components is None:
            return mixture, dict(state)
        return self.domain.apply(state, book.reduce(mixture, self.components, self.per_node), training)

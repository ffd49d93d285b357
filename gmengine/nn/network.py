"""A classifier made of Gaussian convolution layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from gmengine.autograd import arrays
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture
from gmengine.nn.batch_norm import BatchNorm
from gmengine.nn.checks import check_arrays, check_mixture, check_options
from gmengine.nn.decay import kernel_decay
from gmengine.nn.input_stage import InputStage
from gmengine.nn.kernel import Kernel
from gmengine.nn.layer import Layer
from gmengine.nn.losses import negative_log_likelihood
from gmengine.nn.plans import PlanBook
from gmengine.nn.spec import format_spec, parse_spec
from gmengine.ops.integrate import integrate


class LabelledMixtures(Protocol):
    """A batch to learn from: `mixtures` of batch shape (B, channels), integer `labels` of shape (B,)."""

    @property
    def mixtures(self) -> Mixture: ...
    @property
    def labels(self) -> Array: ...


@dataclass(frozen=True)
class Network:
    """Input stage, layers, integrals, batch normalisation and log-softmax (paper section 5, figure 4).

    A value without arrays: parameters and state are flat dicts that `init` returns and every call takes. The
    function `network` makes one from a line of text. Lists are taken for tuples, as JSON and TOML give them.

    Parameters
    ----------
    channels, components : tuple
        Of the input and of every layer; the last channels are the classes. Only the last components may be
        None: that layer is not reduced.
    dim : int
        K, the dimension of space.
    dtype : {"float32", "float64"}
        Of new parameters; data must have it too.
    kernel_components : int
        Components of each kernel.
    radius : float, or tuple with one float per layer
        Extent of the kernels, in units of the data's mean standard deviation.
    bias : bool
        Learn a bias per channel before each ReLU. The paper's networks have none.
    epsilons : (float, float, float)
        Of `relu`, relative to the scale of each mixture.
    per_node : int
        The paper's T of TreeHEM.
    reduce_first : float, optional
        Reduce to ``round(reduce_first * components)`` before the ReLU: cheaper, less exact.
    share_scale : bool
        One domain scale for all channels of a layer instead of one for each.
    scale_per_sample : bool
        Scale the space of each input by itself instead of by the batch's statistic.
    momentum : float
        Share of the newest batch in running averages, in (0, 1]; see `calibrate`.

    Raises
    ------
    ArgumentError
        Names the field that is out of range.
    """

    channels: tuple[int, ...]
    components: tuple[int | None, ...]
    dim: int = 2
    dtype: str = "float32"
    kernel_components: int = 5
    radius: float | tuple[float, ...] = 2.5
    bias: bool = False
    epsilons: tuple[float, float, float] = (0.1, 0.05, 0.05)
    per_node: int = 2
    reduce_first: float | None = None
    share_scale: bool = False
    scale_per_sample: bool = False
    momentum: float = 0.3

    def __post_init__(self) -> None:
        for name in ("channels", "components", "radius", "epsilons"):  # lists come back from JSON and TOML
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        check_options(vars(self))

    @property
    def spec(self) -> str:
        """The description that `network` reads as these channels and components."""
        return format_spec(self.channels, self.components)

    @property
    def classes(self) -> int:
        """How many log-probabilities a sample gets."""
        return self.channels[-1]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The Gaussian convolution layers."""
        n = len(self.channels) - 1
        radii = self.radius if isinstance(self.radius, tuple) else (self.radius,) * n
        return tuple(
            Layer(
                Kernel(self.channels[i + 1], self.channels[i], self.kernel_components, self.dim, radii[i]),
                self.components[i + 1],
                self.bias,
                self.epsilons,
                self.per_node,
                self.reduce_first,
                self.share_scale,
                self.momentum,
            )
            for i in range(n)
        )

    @property
    def input_stage(self) -> InputStage:
        """What is done to the data first."""
        return InputStage(self.scale_per_sample, self.momentum)

    @property
    def norm(self) -> BatchNorm:
        """The batch normalisation of the integrals."""
        return BatchNorm(self.classes, self.momentum)

    @cached_property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter."""
        return {name: array.shape for name, array in self.init(rng=0)[0].items()}

    @cached_property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every array of the state."""
        return {name: array.shape for name, array in self.init(rng=0)[1].items()}

    @property
    def n_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(math.prod(shape) for shape in self.parameter_shapes.values())

    def init(self, rng: int | np.random.Generator | None = None) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return new parameters and the state that has seen no batch, flat dicts of NumPy arrays.

        Parameters are "layer<i>.weights" (O, I, M), "layer<i>.means" (O, I, M, K), "layer<i>.factors"
        (O, I, M, K, K), "layer<i>.bias" (O,) if there are biases, "norm.gamma" and "norm.beta" (classes,).
        """
        rng = np.random.default_rng(rng)
        params: dict[str, Array] = {}
        state = _prefixed("input", self.input_stage.init(self.dtype))
        for i, layer in enumerate(self.layers):
            of_layer, state_of_layer = layer.init(rng, self.dtype)
            params |= _prefixed(f"layer{i}", of_layer)
            state |= _prefixed(f"layer{i}", state_of_layer)
        of_norm, state_of_norm = self.norm.init(self.dtype)
        return params | _prefixed("norm", of_norm), state | _prefixed("norm", state_of_norm)

    def apply(
        self,
        params: Mapping[str, Any],
        state: Mapping[str, Array],
        mixture: Mixture,
        training: bool = False,
        plans: list[Any] | None = None,
    ) -> tuple[Any, dict[str, Array]]:
        """Return the log-probability of every class, shape (B, classes), and the state, new if `training`.

        Parameters
        ----------
        params, state : dict of arrays
            From `init` or training, of the mixture's library and dtype. `params` may hold Tensors; the state
            that is returned never does.
        mixture : Mixture, batch shape (B, channels[0])
            Of components[0] components, absent ones included.
        training : bool
            Normalise by the statistics of this batch, and average them into the state. In evaluation a
            sample's result does not depend on the other samples.
        plans : list, optional
            Empty: is filled with the plans of all reductions. Filled by such a call: these plans are held,
            and the result is a smooth function of parameters and mixture, fit for finite differences.

        Raises
        ------
        ShapeError
            If the mixture's channels, components or dim are not the network's, or a training batch is empty.
        ArgumentError, ShapeError, DTypeError
            If parameters or state are missing, unexpected, or not of the network's shape and the mixture's
            dtype.
        """
        stages, new = self._run("Network.apply", params, state, mixture, training, plans)
        logits, of_norm = self.norm.apply(
            _scope("norm", params), _scope("norm", state), integrate(stages[-1]), training
        )
        return arrays.log_softmax(logits, axis=-1), new | _prefixed("norm", of_norm)

    def loss(
        self,
        params: Mapping[str, Any],
        state: Mapping[str, Array],
        batch: LabelledMixtures,
        plans: list[Any] | None = None,
    ) -> tuple[Any, dict[str, Array]]:
        """Return the mean negative log-likelihood of a training batch, a scalar, and the new state.

        Made for ``value_and_grad(net.loss, aux=True)(params, state, batch)``. Weight decay is not part of it.
        """
        log_probabilities, state = self.apply(params, state, batch.mixtures, training=True, plans=plans)
        return negative_log_likelihood(log_probabilities, batch.labels), state

    def weight_decay(self, params: Mapping[str, Any]) -> Any:
        """Return the decay loss of all kernels, a scalar: the sum over layers of `kernel_decay` (eq. 8)."""
        total = kernel_decay(_scope("layer0", params))
        for i in range(1, len(self.layers)):
            total = arrays.add(total, kernel_decay(_scope(f"layer{i}", params)))
        return total

    def activations(
        self, params: Mapping[str, Any], state: Mapping[str, Array], mixture: Mixture
    ) -> list[Mixture]:
        """Return the mixtures that leave the input stage and every layer, in evaluation; for pictures."""
        return self._run("Network.activations", params, state, mixture, training=False, plans=None)[0]

    def calibrate(self, params: Mapping[str, Array], mixtures: Iterable[Mixture]) -> dict[str, Array]:
        """Return a state whose averages are those of the given training batches under these parameters.

        Running averages mix the statistics of many past parameters. Integrals drift with every step by as
        much as they differ between samples, so while rates are high evaluation trails behind what was learned
        (digits, second epoch: 0.74 right, 0.80 calibrated; 0.41 with a momentum of 0.1). A few batches,
        forward only, give the statistics of the present (Wu & Johnson, 2021, "precise batch norm"): call it
        before every evaluation. All batches count the same.

        Raises
        ------
        ArgumentError
            If there is no batch.
        """
        xp = namespace(*params.values())
        state = {name: xp.asarray(a) for name, a in self.init(rng=0)[1].items()}
        t = 0
        for t, mixture in enumerate(mixtures, start=1):
            _, state = replace(self, momentum=1.0 / t).apply(params, state, mixture, training=True)
        if t == 0:
            raise ArgumentError("Network.calibrate: expected at least one batch")
        return state

    def _run(
        self,
        op: str,
        params: Mapping[str, Any],
        state: Mapping[str, Array],
        mixture: Mixture,
        training: bool,
        plans: list[Any] | None,
    ) -> tuple[list[Mixture], dict[str, Array]]:
        """Return the mixtures after each stage and the state of all but the norm."""
        check_mixture(op, mixture, self.channels[0], self.components[0], self.dim, training)
        check_arrays(op, "parameters", params, self.parameter_shapes, mixture)
        check_arrays(op, "state", state, self.state_shapes, mixture)
        book = PlanBook(plans)
        mixture, new = self.input_stage.apply(_scope("input", state), mixture, training)
        stages, states = [mixture], _prefixed("input", new)
        for i, layer in enumerate(self.layers):
            name = f"layer{i}"
            mixture, new = layer.apply(_scope(name, params), _scope(name, state), mixture, training, book)
            stages.append(mixture)
            states |= _prefixed(name, new)
        return stages, states


def network(spec: str, dim: int = 2, **options: Any) -> Network:
    """Return the network that one line describes: ``network("1/32 -> 8/16 -> 16/8 -> 10", dim=2)``.

    Parameters
    ----------
    spec : str
        channels/components of the input and of every layer, joined by "->" or "→"; the last part's channels
        are the classes, and its components may be left out: it is not reduced.
    dim : int
        K, the dimension of space.
    **options
        The other fields of `Network`.

    Raises
    ------
    ArgumentError
        Names the part of `spec` that cannot be read, or the option that is out of range.

    Examples
    --------
    >>> net = network("1/32 → 8/16 → 10")
    >>> net.spec, net.n_parameters
    ('1/32 -> 8/16 -> 10', 3100)
    """
    channels, components = parse_spec(spec)
    return Network(channels, components, dim, **options)


def _prefixed(prefix: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": array for name, array in tree.items()}


def _scope(prefix: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in tree.items() if name.startswith(start)}

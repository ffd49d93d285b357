"""Hypothesis strategies for networks, their parameters and their data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gmengine.mixture import Mixture
from gmengine.nn import Network, network
from gmengine.testing.strategies._draw import Draw, seeds, value
from gmengine.testing.strategies._mixtures import mixtures
from gmengine.testing.strategies._random import random_mixture
from gmengine.testing.strategies._values import dims


@dataclass(frozen=True, eq=False)
class Samples:
    """What a network learns from: `mixtures` of batch shape (B, channels), integer `labels` of shape (B,)."""

    mixtures: Mixture
    labels: Any


@st.composite
def specs(draw: Draw, *, layers: Any = None, max_channels: int = 3, max_components: int = 6) -> str:
    """Draw the description of a network, such as ``"1/4 -> 2/3 -> 3"``; shrinks to ``"1/2 -> 2"``.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    layers : int, strategy or None
        How many Gaussian convolution layers; None draws 1 or 2.
    max_channels, max_components : int
        Bounds; at least 2 classes and 2 components.
    """
    count = value(draw, layers, st.integers(1, 2))
    channels = [draw(st.integers(1, max_channels)) for _ in range(count)]
    components = [draw(st.integers(2, max_components)) for _ in range(count)]
    classes = draw(st.integers(2, max(2, max_channels)))
    parts = [f"{c}/{n}" for c, n in zip(channels, components, strict=True)]
    return " -> ".join([*parts, str(classes)])


@st.composite
def networks(
    draw: Draw, *, spec: Any = None, dim: Any = None, dtype: str = "float64", **options: Any
) -> Network:
    """Draw a `Network`.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    spec, dim : value, strategy or None
        None draws from `specs` and `dims`.
    dtype : str
        Of the parameters; float64, so that gradients can be checked.
    **options : values or strategies
        Other fields of `Network`.
    """
    chosen = {name: value(draw, x, st.nothing()) for name, x in options.items()}
    return network(value(draw, spec, specs()), dim=value(draw, dim, dims), dtype=dtype, **chosen)


@st.composite
def samples(draw: Draw, net: Network, *, size: Any = None, generic: bool = False, **kwargs: Any) -> Samples:
    """Draw labelled mixtures that `net` takes.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    net : Network
        Tells channels, components, dimension, classes and dtype.
    size : int, strategy or None
        B; None draws 3 to 5. Batch normalisation makes of any two samples plus and minus one, without a slope.
    generic : bool
        In general position, for gradients and for laws that ties would break.
    **kwargs
        Of `mixtures`; weights are positive unless ``signed=True``.
    """
    batch = (value(draw, size, st.integers(3, 5)), net.channels[0])
    options = {"signed": False, "dtype": net.dtype, "generic": generic, **kwargs}
    m = draw(mixtures(batch=batch, n_components=net.components[0], dim=net.dim, **options))
    labels = [draw(st.integers(0, net.classes - 1)) for _ in range(batch[0])]
    return Samples(m, np.array(labels, dtype=np.int64))


@st.composite
def parameters(
    draw: Draw, net: Network, batch: Samples | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw parameters and a state that has seen one batch.

    Parameters
    ----------
    draw
        Supplied by Hypothesis.
    net : Network
        Its `init`, with a drawn seed; biases are moved away from 0, which is a kink.
    batch : Samples, optional
        The batch that the state has seen; a generic one of three samples by default.
    """
    seed = draw(seeds)
    params, state = net.init(seed)
    rng = np.random.default_rng(seed)
    for name in params:
        if name.endswith("bias"):
            params[name] = rng.normal(0.0, 0.03, params[name].shape).astype(net.dtype)
    n = net.components[0]
    assert n is not None  # only the last layer may leave its components
    if batch is None:
        seen = random_mixture(rng, (3, net.channels[0]), n, net.dim, signed=False, dtype=net.dtype)
    else:
        seen = batch.mixtures
    return params, net.apply(params, state, seen, training=True)[1]

"""Layers and the network: frozen values with `init` and `apply`; parameters and state are dicts of arrays."""

from gmengine.nn.batch_norm import BatchNorm
from gmengine.nn.decay import kernel_decay
from gmengine.nn.domain_scale import DomainScale
from gmengine.nn.input_stage import InputStage
from gmengine.nn.kernel import Kernel
from gmengine.nn.layer import Layer
from gmengine.nn.losses import negative_log_likelihood
from gmengine.nn.network import Network, network

__all__ = [
    "BatchNorm",
    "DomainScale",
    "InputStage",
    "Kernel",
    "Layer",
    "Network",
    "kernel_decay",
    "negative_log_likelihood",
    "network",
]

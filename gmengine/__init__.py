"""Gaussian mixture convolution networks on NumPy and CuPy arrays: algebra, gradients and training."""

from gmengine import data, errors, fit, nn, optim, training
from gmengine.autograd import Tape, Tensor, check_vjp, grad, value_and_grad
from gmengine.mixture import Mixture
from gmengine.ops.affine import scale, translate
from gmengine.ops.convolve import convolve
from gmengine.ops.evaluate import evaluate
from gmengine.ops.integrate import integrate
from gmengine.ops.normalise import domain_scale, normalise
from gmengine.ops.reduce import apply, plan, reduce
from gmengine.ops.relu import relu

__version__ = "0.1.0"

__all__ = [
    "Mixture",
    "Tape",
    "Tensor",
    "apply",
    "check_vjp",
    "convolve",
    "data",
    "domain_scale",
    "errors",
    "evaluate",
    "fit",
    "grad",
    "integrate",
    "nn",
    "normalise",
    "optim",
    "plan",
    "reduce",
    "relu",
    "scale",
    "training",
    "translate",
    "value_and_grad",
]

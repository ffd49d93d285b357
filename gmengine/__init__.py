"""Gaussian mixture convolution networks on NumPy and CuPy arrays: algebra, gradients and training."""

from typing import TYPE_CHECKING, Any

from gmengine import errors, fitting, nn, optim
from gmengine.autograd import Tape, Tensor, check_vjp, grad, value_and_grad
from gmengine.fitting.fit import fit
from gmengine.mixture import Mixture
from gmengine.ops import transfer
from gmengine.ops.affine import affine, marginal, scale, translate
from gmengine.ops.bounding_box import bounding_box
from gmengine.ops.channels import channel_dropout, concat_channels, sum_channels
from gmengine.ops.conditional import conditional
from gmengine.ops.convolve import convolve
from gmengine.ops.derivatives import density_gradient, density_hessian
from gmengine.ops.divergence import kl_monte_carlo, kl_upper_bound, kl_variational
from gmengine.ops.evaluate import evaluate, evaluate_components
from gmengine.ops.fit_transfer import fit_transfer
from gmengine.ops.integrate import integrate
from gmengine.ops.log_density import log_density
from gmengine.ops.moments import moments
from gmengine.ops.normalise import domain_scale, normalise
from gmengine.ops.product import l2_distance, product
from gmengine.ops.reduce import apply, plan, reduce
from gmengine.ops.relu import relu
from gmengine.ops.relu_lstsq import relu_lstsq
from gmengine.ops.render import render
from gmengine.ops.sample import sample

if TYPE_CHECKING:
    from gmengine import data, training

__version__ = "0.1.0"

__all__ = [
    "Mixture",
    "Tape",
    "Tensor",
    "affine",
    "apply",
    "bounding_box",
    "channel_dropout",
    "check_vjp",
    "concat_channels",
    "conditional",
    "convolve",
    "data",
    "density_gradient",
    "density_hessian",
    "domain_scale",
    "errors",
    "evaluate",
    "evaluate_components",
    "fit",
    "fit_transfer",
    "fitting",
    "grad",
    "integrate",
    "kl_monte_carlo",
    "kl_upper_bound",
    "kl_variational",
    "l2_distance",
    "log_density",
    "marginal",
    "moments",
    "nn",
    "normalise",
    "optim",
    "plan",
    "product",
    "reduce",
    "relu",
    "relu_lstsq",
    "render",
    "sample",
    "scale",
    "sum_channels",
    "training",
    "transfer",
    "translate",
    "value_and_grad",
]


def __getattr__(name: str) -> Any:
    # Data sets and training come when asked for: most programs that embed the algebra never do.
    if name in ("data", "training"):
        from importlib import import_module

        return import_module(f"gmengine.{name}")
    raise AttributeError(f"module 'gmengine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "data", "training"})

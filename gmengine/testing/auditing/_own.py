"""gmengine's functions in the form in which an `Algebra` takes them."""

from __future__ import annotations

from typing import Any

from gmengine.backend import Array
from gmengine.mixture import Mixture
from gmengine.ops.affine import scale, translate
from gmengine.ops.convolve import convolve
from gmengine.ops.derivatives import density_gradient, density_hessian
from gmengine.ops.evaluate import evaluate
from gmengine.ops.integrate import integrate
from gmengine.ops.product import l2_distance, product
from gmengine.ops.reduce import reduce
from gmengine.ops.relu import relu
from gmengine.testing.gradients import pull_back


def _convolve(a: Mixture, b: Mixture) -> Mixture:
    return convolve(a[None], b[None, None])[0]


def _evaluate_vjp(m: Mixture, points: Array, cotangent: Array) -> Any:
    return pull_back(lambda m: evaluate(m, points), m, cotangent=cotangent)[1][0]


def _convolve_vjp(a: Mixture, b: Mixture, cotangent: Mixture) -> Any:
    return pull_back(_convolve, a, b, cotangent=cotangent)[1]


def _relu_vjp(m: Mixture, bias: float, cotangent: Mixture) -> Any:
    return pull_back(lambda m: relu(m, bias), m, cotangent=cotangent)[1][0]


FUNCTIONS = {
    "evaluate": evaluate,
    "evaluate_vjp": _evaluate_vjp,
    "density_gradient": density_gradient,
    "density_hessian": density_hessian,
    "integrate": integrate,
    "convolve": _convolve,
    "convolve_vjp": _convolve_vjp,
    "translate": translate,
    "scale": scale,
    "relu": relu,
    "relu_vjp": _relu_vjp,
    "reduce": reduce,
    "product": product,
    "l2_distance": l2_distance,
}

"""Hand-derived reverse-mode differentiation on a small tape."""

from gmengine.autograd import operators as operators
from gmengine.autograd.gradcheck import check_vjp
from gmengine.autograd.primitive import Primitive
from gmengine.autograd.tape import Tape
from gmengine.autograd.tensor import Tensor, value_of
from gmengine.autograd.transforms import grad, value_and_grad
from gmengine.autograd.trees import leaves, tree_map

__all__ = [
    "Primitive",
    "Tape",
    "Tensor",
    "check_vjp",
    "grad",
    "leaves",
    "tree_map",
    "value_and_grad",
    "value_of",
]

"""Differentiable array functions, for every array-API library alike.

Plain arrays in, plain arrays out; Tensors in, Tensors out; both may be mixed. Names and meanings are those of
the Python array-API standard where it has the function.
"""

from gmengine.autograd.elementwise import (
    abs,
    add,
    divide,
    exp,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    softplus,
    sqrt,
    square,
    subtract,
    where,
)
from gmengine.autograd.indexing import getitem, take
from gmengine.autograd.linalg import cholesky, det, inv, matmul, trace
from gmengine.autograd.reductions import log_softmax, logsumexp, max, mean, sum
from gmengine.autograd.shapes import (
    broadcast_to,
    concat,
    expand_dims,
    matrix_transpose,
    permute_dims,
    reshape,
    stack,
)

__all__ = [
    "abs",
    "add",
    "broadcast_to",
    "cholesky",
    "concat",
    "det",
    "divide",
    "exp",
    "expand_dims",
    "getitem",
    "inv",
    "log",
    "log_softmax",
    "logsumexp",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "minimum",
    "multiply",
    "negative",
    "permute_dims",
    "power",
    "reshape",
    "softplus",
    "sqrt",
    "square",
    "stack",
    "subtract",
    "sum",
    "take",
    "trace",
    "where",
]

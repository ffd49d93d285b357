"""2^t as straight-line arithmetic that LLVM vectorises: a polynomial and an exponent written as bits.

A call of the C library's exp2 cannot be vectorised and would cost ten times as much as all else in a pair. Here
2^t = 2^f 2^r with r = floor(t) and f = t - r in [0, 1]; 2^f is the minimax polynomial of its dtype with
p(0) = 1, and 2^r is assembled in the exponent bits. Below the smallest normal number the result is exactly 0:
r is at least -127 (-1023), whose biased exponent 0 with an empty mantissa is the number 0. The gradual underflow
that rounding to the nearest integer would give costs a trap per operation on many processors.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

# Remez in 40 digits for 2^f on [0, 1], relative error 2.0e-9 (float32) and 3.2e-18 (float64), constant term 1.
SINGLE = tuple(
    np.float32(c)
    for c in (
        1.0,
        0.69314704444386449418,
        0.24022930554858888172,
        0.055485280622819332168,
        0.0096754515779017536464,
        0.0012467846204609680893,
        0.00021612916166888431146,
    )
)
DOUBLE = (
    1.0,
    0.69314718055994592839,
    0.24022650695906330334,
    0.055504108665602235161,
    0.0096181290995509270552,
    0.0013333558629561104517,
    0.00015403512309781894472,
    0.000015253175052870719973,
    1.3208367319526269685e-6,
    1.0253212219093685786e-7,
    6.5595301931503004244e-9,
    6.2634646280886273575e-10,
)

# Contraction to fused multiply-adds only: reassociation could undo t - floor(t).
FLAGS: Any = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}


@intrinsic
def power_of_two(typing_context, r):
    """Return 2^r for an integral float r from -127 (-1023: gives 0) to 127 (1023)."""
    if r == types.float32:
        real, integer, mantissa, bias = ir.FloatType(), ir.IntType(32), 23, 127
    elif r == types.float64:
        real, integer, mantissa, bias = ir.DoubleType(), ir.IntType(64), 52, 1023
    else:
        return None

    def generate(context, builder, signature, args):
        # Adding 1.5 * 2^mantissa leaves the integer r + bias in the lowest bits of the sum.
        shifted = builder.fadd(args[0], ir.Constant(real, 1.5 * 2.0**mantissa + bias))
        bits = builder.shl(builder.bitcast(shifted, integer), ir.Constant(integer, mantissa))
        return builder.bitcast(bits, real)

    return r(r), generate


def exp2(t):
    """Return 2^t for a float32 or float64 t up to 127 (1023), 0 below the smallest normal number; in Numba code."""
    raise TypeError("exp2 is for compiled code; use numpy.exp2")


@overload(exp2, jit_options=FLAGS, inline="never")
def _exp2(t):
    if t == types.float32:
        lowest = np.float32(-127.0)
        c0, c1, c2, c3, c4, c5, c6 = SINGLE

        def single(t):
            t = t if t > lowest else lowest
            r = np.floor(t)
            f = t - r
            return (c0 + f * (c1 + f * (c2 + f * (c3 + f * (c4 + f * (c5 + f * c6)))))) * power_of_two(r)

        return single
    if t == types.float64:
        d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11 = DOUBLE

        def double(t):
            t = t if t > -1023.0 else -1023.0
            r = np.floor(t)
            f = t - r
            high = d6 + f * (d7 + f * (d8 + f * (d9 + f * (d10 + f * d11))))
            return (d0 + f * (d1 + f * (d2 + f * (d3 + f * (d4 + f * (d5 + f * high)))))) * power_of_two(r)

        return double
    return None

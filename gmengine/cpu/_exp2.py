"""2^t as straight-line arithmetic that vectorises: a polynomial and an exponent written as bits.

A call of the C library's exp2 cannot be vectorised and would cost ten times as much as all else in a pair. Here
2^t = 2^f 2^r with r = floor(t) and f = t - r in [0, 1]; 2^f is the minimax polynomial of its dtype with
p(0) = 1, and 2^r is assembled in the exponent bits. Below the smallest normal number the result is exactly 0:
r is at least -127 (-1023), whose biased exponent 0 with an empty mantissa is the number 0. The gradual underflow
that rounding to the nearest integer would give costs a trap per operation on many processors.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Remez in 40 digits for 2^f on [0, 1], constant term 1, least absolute error: 1.2e-7 (float32) and 3.2e-16 (float64),
# or 1.0 and 1.4 units in the last place; rounding adds less than one and two.
SINGLE = (
    1.0,
    0.69315247147440909547,
    0.24015280757473684325,
    0.055835926889549402913,
    0.0089733786483629214258,
    0.0018852974150843348304,
)
DOUBLE = (
    1.0,
    0.693147180559896731,
    0.2402265069614502044,
    0.055504108625494211418,
    0.0096181294332918783809,
    0.0013333542672495931978,
    0.0001540398418436058575,
    0.000015244255499173546717,
    1.331635088423894241e-6,
    9.4431003335342786388e-8,
    9.9891825254830944919e-9,
)

# Contraction to fused multiply-adds only: reassociation could undo t - floor(t).
_FLAGS = ("contract", "nsz")


@intrinsic
def exp2(typing_context, t):
    """Return 2^t for a float32 or float64 t up to 127 (1023), 0 below the smallest normal number; in Numba code."""
    if t not in (types.float32, types.float64):
        return None

    def generate(context, builder, signature, args):
        return emit_exp2(builder, args[0])

    return t(t), generate


def emit_exp2(builder, t):
    """Emit 2^t for an LLVM value that is a float, a double or a vector of them."""
    lanes = t.type.count if isinstance(t.type, ir.VectorType) else None
    element = t.type if lanes is None else t.type.element
    bits, mantissa, bias = (32, 23, 127) if isinstance(element, ir.FloatType) else (64, 52, 1023)

    def constant(value, kind=element):
        if lanes is None:
            return ir.Constant(kind, value)
        return ir.Constant(ir.VectorType(kind, lanes), [ir.Constant(kind, value)] * lanes)

    t = builder.select(builder.fcmp_ordered(">", t, constant(-bias)), t, constant(-bias))
    name = f"llvm.floor.{'' if lanes is None else f'v{lanes}'}f{bits}"
    floor = cgutils.get_or_insert_function(builder.module, ir.FunctionType(t.type, [t.type]), name)
    r = builder.call(floor, [t])
    f = builder.fsub(t, r, flags=_FLAGS)
    *rest, highest = SINGLE if bits == 32 else DOUBLE
    p = constant(highest)
    for c in reversed(rest):
        p = builder.fadd(builder.fmul(p, f, flags=_FLAGS), constant(c), flags=_FLAGS)
    # Adding 1.5 * 2^mantissa leaves the integer r + bias in the lowest bits of the sum.
    shift = constant(mantissa, ir.IntType(bits))
    shifted = builder.bitcast(builder.fadd(r, constant(1.5 * 2.0**mantissa + bias)), shift.type)
    return builder.fmul(p, builder.bitcast(builder.shl(shifted, shift), t.type), flags=_FLAGS)

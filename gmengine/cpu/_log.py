"""log x of float64 vectors as straight-line arithmetic: an exponent read from the bits and a polynomial.

x = 2^k m with m between sqrt(1/2) and sqrt(2); with f = m - 1 and s = f / (2 + f),

    log m = log(1 + s) - log(1 - s) = f - f^2/2 + s (f^2/2 + R(s^2)),

where R is the minimax polynomial of fdlibm (e_log.c, Sun Microsystems 1993), whose error is below one unit in the last
place. Products of many factors are taken as (product of mantissas, sum of exponents), which cannot overflow.
"""

from llvmlite import ir

_POLYNOMIAL = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # the first has 33 bits
_TINY, _SCALE = 2.0**-1022, 54  # smaller numbers are scaled by 2^54 to have a leading bit
_ONE, _ROOT = 0x3FF0000000000000, 0x3FE6A09E667F3BCD  # the bits of 1 and of sqrt(1/2)
_MANTISSA = (1 << 52) - 1

# As in `_exp2`: regrouping could undo k log 2 in two parts.
_FLAGS = ("contract", "nsz")


def _constant(kind, value):
    return ir.Constant(kind, [value] * kind.count)


def _bits(builder, x):
    """Return (the bits of x with those of 1 / sqrt(1/2) added, what is to be added to the exponent)."""
    integers = ir.VectorType(ir.IntType(64), x.type.count)
    small = builder.fcmp_ordered("<", x, _constant(x.type, _TINY))
    scaled = builder.select(small, builder.fmul(x, _constant(x.type, 2.0**_SCALE)), x)
    shift = builder.select(small, _constant(x.type, -float(_SCALE)), _constant(x.type, 0.0))
    return builder.add(builder.bitcast(scaled, integers), _constant(integers, _ONE - _ROOT)), shift


def emit_mantissa(builder, x):
    """Emit m of x = 2^k m for vectors of positive doubles."""
    bits = _bits(builder, x)[0]
    bits = builder.add(builder.and_(bits, _constant(bits.type, _MANTISSA)), _constant(bits.type, _ROOT))
    return builder.bitcast(bits, x.type)


def emit_exponent(builder, x):
    """Emit k of x = 2^k m as doubles: the biased exponent in the last bits of 2^52 + k, without a conversion."""
    bits, shift = _bits(builder, x)
    biased = builder.lshr(bits, _constant(bits.type, 52))
    number = builder.bitcast(builder.or_(biased, _constant(bits.type, (52 + 1023) << 52)), x.type)
    return builder.fadd(builder.fsub(number, _constant(x.type, 2.0**52 + 1023.0)), shift)


def emit_log(builder, x, k):
    """Emit log(x 2^k) for vectors of positive doubles x and integral doubles k."""

    def times(a, b):
        return builder.fmul(a, b, flags=_FLAGS)

    def plus(a, b):
        return builder.fadd(a, b, flags=_FLAGS)

    def minus(a, b):
        return builder.fsub(a, b, flags=_FLAGS)

    k = builder.fadd(k, emit_exponent(builder, x))
    f = builder.fsub(emit_mantissa(builder, x), _constant(x.type, 1.0))
    s = builder.fdiv(f, builder.fadd(f, _constant(x.type, 2.0)))
    z = times(s, s)
    *rest, highest = _POLYNOMIAL
    p = _constant(x.type, highest)
    for c in reversed(rest):
        p = plus(times(p, z), _constant(x.type, c))
    half = times(_constant(x.type, 0.5), times(f, f))
    small = plus(times(s, plus(half, times(z, p))), times(k, _constant(x.type, _LN2_LOW)))
    return minus(times(k, _constant(x.type, _LN2_HIGH)), minus(minus(half, small), f))

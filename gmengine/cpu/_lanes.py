"""Eight float64 numbers at once, as a value of compiled code: what loops over many small problems are made of.

Small problems that do not depend on each other (the fits of one level of a tree) are solved eight at a time, problem l
in lane l: the source reads as for one problem, each operation is one vector instruction, and a branch becomes a
choice (`where`). `_lane_memory` moves them to and from memory.

What happens in a lane does not depend on the others, so a result does not depend on which problems share a vector.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

from gmengine.cpu._exp2 import emit_exp2
from gmengine.cpu._log import emit_exponent, emit_log, emit_mantissa
from gmengine.cpu._vectors import splat as emit_splat

LANES = 8
VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_LOG2_E = 1.4426950408889634

# Products and sums may be fused, but each sum keeps its order.
_FLAGS = ("contract", "nsz")


class _Lanes(types.Type):
    def __init__(self):
        super().__init__(name="Lanes")


class _Truths(types.Type):
    def __init__(self):
        super().__init__(name="Truths")


lanes, _truths = _Lanes(), _Truths()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VECTOR)


@register_model(_Truths)
class _TruthsModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), LANES))


@lower_cast(types.Float, _Lanes)
@lower_cast(types.Integer, _Lanes)
def _spread(context, builder, source, target, value):
    return emit_splat(builder, context.cast(builder, value, source, types.float64), LANES)


# --- operators ----------------------------------------------------------------------------------------------


def _define(symbol, operands, result, emit):
    """Define an operator on `operands` that may be lanes or numbers, at least one of them lanes (or on truths)."""
    kind, count = operands

    class Template(AbstractTemplate):
        def generic(self, args, kws):
            numbers = types.Number if kind is lanes else ()
            if len(args) == count and kind in args and all(a == kind or isinstance(a, numbers) for a in args):
                return signature(result, *(kind,) * count)
            return None

    infer_global(symbol)(Template)

    @lower_builtin(symbol, *(kind,) * count)
    def _(context, builder, signature, args):
        return emit(builder, *args)


def _arithmetic(name):
    return lambda builder, *args: getattr(builder, name)(*args, flags=_FLAGS)


def _comparison(sign):
    return lambda builder, a, b: builder.fcmp_ordered(sign, a, b)


for _symbol, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define(_symbol, (lanes, 2), lanes, _arithmetic(_name))
for _symbol, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _define(_symbol, (lanes, 2), _truths, _comparison(_sign))
_define(operator.neg, (lanes, 1), lanes, _arithmetic("fneg"))
_define(operator.and_, (_truths, 2), _truths, lambda builder, a, b: builder.and_(a, b))
_define(operator.or_, (_truths, 2), _truths, lambda builder, a, b: builder.or_(a, b))
_define(operator.invert, (_truths, 1), _truths, lambda builder, a: builder.not_(a))


# --- functions ----------------------------------------------------------------------------------------------


def _function(emit):
    """Return an emitter of lanes from lanes or numbers as a function for compiled code."""

    def typed(*kinds):
        def generate(context, builder, signature, args):
            wide = [context.cast(builder, a, t, lanes) for a, t in zip(args, signature.args, strict=True)]
            return emit(builder, *wide)

        return lanes(*kinds), generate

    return typed


@intrinsic
def splat(typing_context, x):
    """Return a number in every lane."""
    return _function(lambda builder, x: x)(x)


@intrinsic
def maximum(typing_context, a, b):
    """Return the larger of either lane; the second if one is NaN."""
    return _function(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))(a, b)


@intrinsic
def minimum(typing_context, a, b):
    """Return the smaller of either lane; the second if one is NaN."""
    return _function(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))(a, b)


def _root(builder, x):
    kind = ir.FunctionType(VECTOR, [VECTOR])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f64"), [x])


@intrinsic
def root(typing_context, x):
    """Return the square root."""
    return _function(_root)(x)


def _exp(builder, x):
    return emit_exp2(builder, builder.fmul(x, ir.Constant(VECTOR, [_LOG2_E] * LANES)))


@intrinsic
def exp(typing_context, x):
    """Return e^x for x <= 0, 0 below the smallest normal number."""
    return _function(_exp)(x)


@intrinsic
def log(typing_context, x, k):
    """Return log(x 2^k) for x > 0."""
    return _function(emit_log)(x, k)


@intrinsic
def mantissa(typing_context, x):
    """Return x 2^-k between sqrt(1/2) and sqrt(2), for x > 0; k is what `exponent` returns."""
    return _function(emit_mantissa)(x)


@intrinsic
def exponent(typing_context, x):
    """Return the k of `mantissa`."""
    return _function(emit_exponent)(x)


@intrinsic
def where(typing_context, truths, a, b):
    """Return a in lanes that are true and b in the others."""

    def generate(context, builder, signature, args):
        a, b = (context.cast(builder, args[p], signature.args[p], lanes) for p in (1, 2))
        return builder.select(args[0], a, b)

    return lanes(truths, a, b), generate


@intrinsic
def anywhere(typing_context, truths):
    """Return whether any lane is true."""

    def generate(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(truths), generate

"""One Gaussian along one line of a grid, in vectors: the innermost loop of `cpu.render`, both ways.

Lines are short, a few dozen cells, and LLVM's loop vectoriser wants hundreds; so these functions emit vectors
themselves. A line is a run of cells of a flat array. Cell i has the value 2^(-z z) with z = offset + (first + i) step:
`first` is a whole number, so that little is lost to rounding when it counts from the cell nearest to the peak. The last
vector reaches up to WIDTH - 1 cells past the run: it changes nothing there, but the array must reach as far.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gmengine.cpu._exp2 import emit_exp2
from gmengine.cpu._vectors import splat

WIDTH = 16
"""Cells past a run that may be read, and written with what they held: those of one vector."""

_REAL = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
_CELLS = {types.float32: 16, types.float64: 8}
_FUSED = ("contract", "nsz")  # see `_exp2.FLAGS`


def _constant(vector, value):
    return ir.Constant(vector, [float(value)] * vector.count)


def _fused(builder, a, b, c):
    return builder.fadd(builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)


def _vectors(context, builder, signature, args, body):
    """Emit ``body(pointer to the cells, z, 2^(-z z), whether in the run)`` for each vector of a run of cells.

    Arguments of the caller: flat array, start, n, first, offset, step, ..., like.
    """
    dtype = signature.args[-1].dtype
    real, count = _REAL[dtype], _CELLS[dtype]
    vector = ir.VectorType(real, count)
    array = context.make_array(signature.args[0])(context, builder, args[0])
    start, n = (context.cast(builder, args[p], signature.args[p], types.intp) for p in (1, 2))
    first, offset, step = (context.cast(builder, args[p], signature.args[p], dtype) for p in (3, 4, 5))
    length = ir.Constant(n.type, count)
    vectors = builder.sdiv(builder.add(n, ir.Constant(n.type, count - 1)), length)
    cells = ir.Constant(vector, [float(i) for i in range(count)])
    end = splat(builder, builder.fadd(first, builder.sitofp(n, real)), count)
    offset, step = splat(builder, offset, count), splat(builder, step, count)
    with cgutils.for_range(builder, vectors) as loop:
        begin = builder.mul(loop.index, length)
        i = builder.fadd(splat(builder, builder.fadd(first, builder.sitofp(begin, real)), count), cells)
        z = _fused(builder, i, step, offset)
        e = emit_exp2(builder, builder.fneg(builder.fmul(z, z)))
        body(builder.gep(array.data, [builder.add(start, begin)]), z, e, builder.fcmp_ordered("<", i, end))


def _load(builder, pointer, real, count):
    vector = ir.VectorType(real, count)
    size = 4 if real == ir.FloatType() else 8
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=size)


@intrinsic
def add_line(typing_context, cells, start, n, first, offset, step, amplitude, like):
    """Add amplitude 2^(-z z) to a run of the float64 `cells`; z and the power are of the dtype of `like`."""

    def generate(context, builder, signature, args):
        def body(pointer, z, e, inside):
            wide = ir.VectorType(ir.DoubleType(), z.type.count)
            e = builder.select(inside, e, _constant(z.type, 0.0))
            e = e if z.type == wide else builder.fpext(e, wide)
            old = _load(builder, pointer, ir.DoubleType(), z.type.count)
            new = _fused(builder, e, splat(builder, args[6], z.type.count), old)
            builder.store(new, builder.bitcast(pointer, wide.as_pointer()), align=8)

        _vectors(context, builder, signature, args, body)
        return context.get_dummy_value()

    return types.void(cells, start, n, first, offset, step, amplitude, like), generate


@intrinsic
def line_moments(typing_context, cells, start, n, first, offset, step, like):
    """Return the sums over a run of g 2^(-z z), times 1, z and z z, as float64; g are the `cells`.

    All is computed in the dtype of `like`, which is that of `cells`. Cells past the run may hold anything.
    """
    result = types.UniTuple(types.float64, 3)

    def generate(context, builder, signature, args):
        dtype = like.dtype
        vector, wide = (ir.VectorType(real, _CELLS[dtype]) for real in (_REAL[dtype], ir.DoubleType()))
        zero = _constant(vector, 0.0)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(3)]

        def body(pointer, z, e, inside):
            g = _load(builder, pointer, vector.element, vector.count)
            term = builder.select(inside, builder.fmul(g, e), zero)
            for power, total in enumerate(sums):
                if power:
                    term = builder.fmul(term, z)
                builder.store(builder.fadd(builder.load(total), term), total)

        _vectors(context, builder, signature, args, body)
        signature_of_sum = ir.FunctionType(ir.DoubleType(), [ir.DoubleType(), wide])
        name = f"llvm.vector.reduce.fadd.v{wide.count}f64"
        add_up = cgutils.get_or_insert_function(builder.module, signature_of_sum, name)
        totals = [builder.load(total) for total in sums]
        totals = [t if vector == wide else builder.fpext(t, wide) for t in totals]
        zero = ir.Constant(ir.DoubleType(), 0.0)
        values = [builder.call(add_up, [zero, t], fastmath=("reassoc",)) for t in totals]
        return context.make_tuple(builder, result, values)

    return result(cells, start, n, first, offset, step, like), generate

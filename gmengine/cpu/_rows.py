"""Small vectors and triangular matrices as tuples of scalars: to and from memory.

Indices are not checked, and matrices must be C-contiguous. As in `_tuples`, nothing here is a loop.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gmengine.cpu._tuples import dimensions, packed

LANES = 320
"""Points that the pair loops take at once: a multiple of every vector length, and of 5 (kernels have 5 components)."""


def _is_matrix_of(matrix, like):
    return (
        isinstance(matrix, types.Array)
        and matrix.ndim == 2
        and matrix.layout == "C"
        and matrix.dtype == like.dtype
    )


def _data(context, builder, signature, args):
    return context.make_array(signature.args[0])(context, builder, args[0])


def _index(context, builder, signature, args, position):
    return context.cast(builder, args[position], signature.args[position], types.intp)


@intrinsic
def read_row(typing_context, matrix, j, start, like):
    """Return matrix[j, start : start + len(like)] as a tuple."""
    if not _is_matrix_of(matrix, like):
        return None

    def generate(context, builder, signature, args):
        pointers = _row_pointers(context, builder, signature, args, len(like))
        return context.make_tuple(builder, signature.return_type, [builder.load(p) for p in pointers])

    return like(matrix, j, start, like), generate


@intrinsic
def read_symmetric(typing_context, matrix, j, like):
    """Return row j of a matrix (N, K K), as a K x K matrix C, packed: (C + C^T)/2, in float64."""
    K = dimensions(len(like))
    if not isinstance(matrix, types.Array):
        return None
    result = types.UniTuple(types.float64, len(like))

    def generate(context, builder, signature, args):
        half = ir.Constant(ir.DoubleType(), 0.5)
        args = (args[0], args[1], ir.Constant(ir.IntType(64), 0))
        signature = types.void(matrix, j, types.intp)
        pointers = _row_pointers(context, builder, signature, args, K * K)
        c = [context.cast(builder, builder.load(p), matrix.dtype, types.float64) for p in pointers]
        values = (
            builder.fmul(half, builder.fadd(c[K * k + m], c[K * m + k])) if m < k else c[K * k + k]
            for k in range(K)
            for m in range(k + 1)
        )
        return context.make_tuple(builder, result, values)

    return result(matrix, j, like), generate


@intrinsic
def write_row(typing_context, matrix, j, start, values):
    """Set matrix[j, start : start + len(values)], rounded to the dtype of the C-contiguous matrix."""

    def generate(context, builder, signature, args):
        pointers = _row_pointers(context, builder, signature, args, len(values))
        for value, pointer in zip(cgutils.unpack_tuple(builder, args[3]), pointers, strict=True):
            builder.store(context.cast(builder, value, values.dtype, matrix.dtype), pointer)
        return context.get_dummy_value()

    return types.void(matrix, j, start, values), generate


@intrinsic
def write_symmetric(typing_context, matrix, j, values):
    """Set row j of a C-contiguous matrix (N, K K) to the symmetric matrix whose packed lower triangle is given."""
    K = dimensions(len(values))

    def generate(context, builder, signature, args):
        v = cgutils.unpack_tuple(builder, args[2])
        args = (args[0], args[1], ir.Constant(ir.IntType(64), 0))
        signature = types.void(matrix, j, types.intp)
        pointers = _row_pointers(context, builder, signature, args, K * K)
        for number, pointer in enumerate(pointers):
            k, m = divmod(number, K)
            value = v[packed(max(k, m), min(k, m))]
            builder.store(context.cast(builder, value, values.dtype, matrix.dtype), pointer)
        return context.get_dummy_value()

    return types.void(matrix, j, values), generate


def _row_pointers(context, builder, signature, args, n):
    """Return pointers to entries of row args[1] of a matrix, n from column args[2] on."""
    array = _data(context, builder, signature, args)
    row, column = (_index(context, builder, signature, args, p) for p in (1, 2))
    first = builder.add(builder.mul(row, builder.extract_value(array.shape, 1)), column)
    return _pointers(builder, array.data, first, n, 1)


@intrinsic
def read_lane(typing_context, lanes, i, like):
    """Return lanes[: len(like), i] as a tuple, of a matrix with LANES columns."""
    if not _is_matrix_of(lanes, like):
        return None

    def generate(context, builder, signature, args):
        first = _index(context, builder, signature, args, 1)
        pointers = _pointers(builder, _data(context, builder, signature, args).data, first, len(like), LANES)
        return context.make_tuple(builder, signature.return_type, [builder.load(p) for p in pointers])

    return like(lanes, i, like), generate


@intrinsic
def write_lane(typing_context, lanes, i, values):
    """Set lanes[: len(values), i], of a matrix with LANES columns."""
    if not _is_matrix_of(lanes, values):
        return None

    def generate(context, builder, signature, args):
        first = _index(context, builder, signature, args, 1)
        pointers = _pointers(
            builder, _data(context, builder, signature, args).data, first, len(values), LANES
        )
        for value, pointer in zip(cgutils.unpack_tuple(builder, args[2]), pointers, strict=True):
            builder.store(value, pointer)
        return context.get_dummy_value()

    return types.void(lanes, i, values), generate


def _pointers(builder, data, first, n, stride):
    """Return pointers to entries first, first + stride, ...; a constant stride spares LLVM most overlap checks."""
    offsets = [builder.add(first, ir.Constant(first.type, k * stride)) for k in range(n)]
    return [builder.gep(data, [offset], inbounds=True) for offset in offsets]

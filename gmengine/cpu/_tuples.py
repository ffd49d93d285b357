"""Small vectors and triangular matrices as tuples of scalars, that is, in registers.

The pair loops vectorise only if everything inside them is straight-line arithmetic on scalars. Loops over dimensions
would have to be unrolled by LLVM, which it does up to three or four dimensions; so these functions
emit the unrolled arithmetic themselves, whatever K is. Triangles are packed by rows: entry (k, m), m <= k, of a
lower triangle is number k (k + 1) / 2 + m.
"""

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 320
"""Points that the pair loops take at once; a multiple of every vector length, and 5 * 2^n for layers of 5-fold size."""

# As in `_compile.FLAGS`.
_FLAGS = ("contract", "nsz", "reassoc")


@njit
def packed(k, m):
    """Return the number of entry (k, m), m <= k, in a packed lower triangle."""
    return k * (k + 1) // 2 + m


def _sum_of_products(builder, pairs):
    total = None
    for u, v in pairs:
        product = builder.fmul(u, v, flags=_FLAGS)
        total = product if total is None else builder.fadd(total, product, flags=_FLAGS)
    return total


@intrinsic
def dot(typing_context, u, v):
    """Return the inner product of two tuples."""

    def generate(context, builder, signature, args):
        u, v = (cgutils.unpack_tuple(builder, t) for t in args)
        return _sum_of_products(builder, zip(u, v, strict=True))

    return u.dtype(u, v), generate


@intrinsic
def lower_times(typing_context, a, v):
    """Return A v for a packed lower triangle A."""

    def generate(context, builder, signature, args):
        a, v = (cgutils.unpack_tuple(builder, t) for t in args)
        rows = (_sum_of_products(builder, ((a[packed.py_func(k, m)], v[m]) for m in range(k + 1))) for k in range(len(v)))
        return context.make_tuple(builder, signature.return_type, rows)

    return v(a, v), generate


@intrinsic
def transposed_times(typing_context, a, v):
    """Return A^T v for a packed lower triangle A."""

    def generate(context, builder, signature, args):
        a, v = (cgutils.unpack_tuple(builder, t) for t in args)
        K = len(v)
        rows = (_sum_of_products(builder, ((a[packed.py_func(k, m)], v[k]) for k in range(m, K))) for m in range(K))
        return context.make_tuple(builder, signature.return_type, rows)

    return v(a, v), generate


@intrinsic
def scaled(typing_context, factor, v):
    """Return factor * v."""

    def generate(context, builder, signature, args):
        values = (builder.fmul(args[0], x, flags=_FLAGS) for x in cgutils.unpack_tuple(builder, args[1]))
        return context.make_tuple(builder, signature.return_type, values)

    return v(factor, v), generate


@intrinsic
def added(typing_context, u, v):
    """Return u + v."""

    def generate(context, builder, signature, args):
        u, v = (cgutils.unpack_tuple(builder, t) for t in args)
        values = (builder.fadd(a, b, flags=_FLAGS) for a, b in zip(u, v, strict=True))
        return context.make_tuple(builder, signature.return_type, values)

    return u(u, v), generate


@intrinsic
def subtracted(typing_context, u, v):
    """Return u - v."""

    def generate(context, builder, signature, args):
        u, v = (cgutils.unpack_tuple(builder, t) for t in args)
        values = (builder.fsub(a, b, flags=_FLAGS) for a, b in zip(u, v, strict=True))
        return context.make_tuple(builder, signature.return_type, values)

    return u(u, v), generate


@intrinsic
def outer(typing_context, u, v, like):
    """Return the lower triangle of u v^T, packed; `like` is a tuple of its length."""

    def generate(context, builder, signature, args):
        u, v = (cgutils.unpack_tuple(builder, t) for t in args[:2])
        values = (builder.fmul(u[k], v[m], flags=_FLAGS) for k in range(len(u)) for m in range(k + 1))
        return context.make_tuple(builder, signature.return_type, values)

    return like(u, v, like), generate


def _is_matrix_of(matrix, like):
    return (
        isinstance(matrix, types.Array) and matrix.ndim == 2 and matrix.layout == "C" and matrix.dtype == like.dtype
    )


def _data(context, builder, signature, args):
    return context.make_array(signature.args[0])(context, builder, args[0])


def _index(context, builder, signature, args, position):
    return context.cast(builder, args[position], signature.args[position], types.intp)


@intrinsic
def read_row(typing_context, matrix, j, start, like):
    """Return matrix[j, start : start + len(like)] as a tuple; the matrix is C-contiguous, indices are unchecked."""
    if not _is_matrix_of(matrix, like):
        return None

    def generate(context, builder, signature, args):
        array = _data(context, builder, signature, args)
        row, column = (_index(context, builder, signature, args, p) for p in (1, 2))
        first = builder.add(builder.mul(row, builder.extract_value(array.shape, 1)), column)
        pointers = _pointers(builder, array.data, first, len(like), 1)
        return context.make_tuple(builder, signature.return_type, [builder.load(p) for p in pointers])

    return like(matrix, j, start, like), generate


@intrinsic
def read_lane(typing_context, lanes, i, like):
    """Return lanes[: len(like), i] as a tuple; the matrix has LANES columns, indices are unchecked."""
    if not _is_matrix_of(lanes, like):
        return None

    def generate(context, builder, signature, args):
        first = _index(context, builder, signature, args, 1)
        pointers = _pointers(builder, _data(context, builder, signature, args).data, first, len(like), LANES)
        return context.make_tuple(builder, signature.return_type, [builder.load(p) for p in pointers])

    return like(lanes, i, like), generate


@intrinsic
def write_lane(typing_context, lanes, i, values):
    """Set lanes[: len(values), i]; the matrix has LANES columns, indices are unchecked."""
    if not _is_matrix_of(lanes, values):
        return None

    def generate(context, builder, signature, args):
        first = _index(context, builder, signature, args, 1)
        pointers = _pointers(builder, _data(context, builder, signature, args).data, first, len(values), LANES)
        for value, pointer in zip(cgutils.unpack_tuple(builder, args[2]), pointers, strict=True):
            builder.store(value, pointer)
        return context.get_dummy_value()

    return types.void(lanes, i, values), generate


def _pointers(builder, data, first, n, stride):
    """Return pointers to entries first, first + stride, ...; a constant stride spares LLVM most overlap checks."""
    offsets = [builder.add(first, ir.Constant(first.type, k * stride)) for k in range(n)]
    return [builder.gep(data, [offset], inbounds=True) for offset in offsets]

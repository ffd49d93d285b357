"""Small vectors and triangular matrices as tuples of scalars, that is, in registers: arithmetic.

The pair loops vectorise only if everything inside them is straight-line arithmetic on scalars. Loops over dimensions
would have to be unrolled by LLVM, which it does up to three or four dimensions; so these functions
emit the unrolled arithmetic themselves, whatever K is. Triangles are packed by rows: entry (k, m), m <= k, of a
lower triangle is number k (k + 1) / 2 + m.
"""

from math import isqrt

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# As in `_compile.FLAGS`.
_FLAGS = ("contract", "nsz", "reassoc")


def packed(k, m):
    """Return the number of entry (k, m), m <= k, in a packed lower triangle."""
    return k * (k + 1) // 2 + m


def n_packed(dim):
    """Return the number of entries of a packed triangle."""
    return packed(dim, 0)


def dimensions(length):
    """Return the number of rows of a packed triangle of that length."""
    return (isqrt(8 * length + 1) - 1) // 2


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
def diagonal_product(typing_context, a):
    """Return the product of the diagonal of a packed triangle."""

    def generate(context, builder, signature, args):
        a = cgutils.unpack_tuple(builder, args[0])
        product = a[0]
        for k in range(1, dimensions(len(a))):
            product = builder.fmul(product, a[packed(k, k)], flags=_FLAGS)
        return product

    return a.dtype(a), generate


@intrinsic
def lower_times(typing_context, a, v):
    """Return A v for a packed lower triangle A."""

    def generate(context, builder, signature, args):
        a, v = (cgutils.unpack_tuple(builder, t) for t in args)
        rows = (
            _sum_of_products(builder, ((a[packed(k, m)], v[m]) for m in range(k + 1))) for k in range(len(v))
        )
        return context.make_tuple(builder, signature.return_type, rows)

    return v(a, v), generate


@intrinsic
def transposed_times(typing_context, a, v):
    """Return A^T v for a packed lower triangle A."""

    def generate(context, builder, signature, args):
        a, v = (cgutils.unpack_tuple(builder, t) for t in args)
        K = len(v)
        rows = (_sum_of_products(builder, ((a[packed(k, m)], v[k]) for k in range(m, K))) for m in range(K))
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


@intrinsic
def as_double(typing_context, v):
    """Return the tuple with its entries as float64."""
    result = types.UniTuple(types.float64, len(v))

    def generate(context, builder, signature, args):
        values = (
            context.cast(builder, x, v.dtype, types.float64) for x in cgutils.unpack_tuple(builder, args[0])
        )
        return context.make_tuple(builder, signature.return_type, values)

    return result(v), generate


@intrinsic
def congruence(typing_context, a, s, shift):
    """Return A^T (S - shift I) A for packed lower triangles A and, of a symmetric matrix, S."""
    K = dimensions(len(a))

    def generate(context, builder, signature, args):
        a, s = (cgutils.unpack_tuple(builder, t) for t in args[:2])
        for k in range(K):
            s[packed(k, k)] = builder.fsub(s[packed(k, k)], args[2], flags=_FLAGS)
        right = [
            [
                _sum_of_products(
                    builder, ((s[packed(max(k, u), min(k, u))], a[packed(u, m)]) for u in range(m, K))
                )
                for m in range(K)
            ]
            for k in range(K)
        ]
        values = (
            _sum_of_products(builder, ((a[packed(u, k)], right[u][m]) for u in range(k, K)))
            for k in range(K)
            for m in range(k + 1)
        )
        return context.make_tuple(builder, signature.return_type, values)

    return a(a, s, shift), generate


@intrinsic
def whitening(typing_context, c):
    """Return (L^-1, whether C is positive definite) for C = L L^T, all packed."""
    K = dimensions(len(c))
    result = types.Tuple((c, types.boolean))

    def generate(context, builder, signature, args):
        real = context.get_value_type(c.dtype)
        zero, one = ir.Constant(real, 0.0), ir.Constant(real, 1.0)
        sqrt = builder.module.declare_intrinsic("llvm.sqrt", [real])
        a = list(cgutils.unpack_tuple(builder, args[0]))
        definite = ir.Constant(ir.IntType(1), 1)
        for k in range(K):  # a becomes L, row by row, with its diagonal inverted
            for m in range(k + 1):
                value = a[packed(k, m)]
                for i in range(m):
                    product = builder.fmul(a[packed(k, i)], a[packed(m, i)], flags=_FLAGS)
                    value = builder.fsub(value, product, flags=_FLAGS)
                if m < k:
                    a[packed(k, m)] = builder.fmul(value, a[packed(m, m)], flags=_FLAGS)
                else:
                    definite = builder.and_(definite, builder.fcmp_ordered(">", value, zero))
                    a[packed(k, k)] = builder.fdiv(one, builder.call(sqrt, [value]))
        for k in range(K):  # and then L^-1, again row by row
            for m in range(k):
                pairs = ((a[packed(k, i)], a[packed(i, m)]) for i in range(m, k))
                value = builder.fmul(_sum_of_products(builder, pairs), a[packed(k, k)], flags=_FLAGS)
                a[packed(k, m)] = builder.fneg(value)
        triangle = context.make_tuple(builder, c, a)
        return context.make_tuple(builder, signature.return_type, (triangle, definite))

    return result(c), generate

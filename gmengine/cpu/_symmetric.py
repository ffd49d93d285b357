"""Small symmetric matrices, packed as lower triangles, as tuples of scalars: products. See `_tuples`."""

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from gmengine.cpu._tuples import _FLAGS, _sum_of_products, dimensions, packed


def _entry(s, k, m):
    return s[packed(max(k, m), min(k, m))]


@intrinsic
def symmetric_times(typing_context, s, v):
    """Return S v for a packed symmetric matrix S."""

    def generate(context, builder, signature, args):
        s, v = (cgutils.unpack_tuple(builder, t) for t in args)
        K = len(v)
        rows = (_sum_of_products(builder, ((_entry(s, k, m), v[m]) for m in range(K))) for k in range(K))
        return context.make_tuple(builder, signature.return_type, rows)

    return v(s, v), generate


@intrinsic
def symmetric_dot(typing_context, s, t):
    """Return tr(S T) of two packed symmetric matrices."""
    K = dimensions(len(s))

    def generate(context, builder, signature, args):
        s, t = (cgutils.unpack_tuple(builder, u) for u in args)
        total = _sum_of_products(builder, ((s[packed(k, k)], t[packed(k, k)]) for k in range(K)))
        if K > 1:
            pairs = ((s[packed(k, m)], t[packed(k, m)]) for k in range(K) for m in range(k))
            beside = _sum_of_products(builder, pairs)
            twice = builder.fmul(ir.Constant(beside.type, 2.0), beside, flags=_FLAGS)
            total = builder.fadd(total, twice, flags=_FLAGS)
        return total

    return s.dtype(s, t), generate


@intrinsic
def sandwich(typing_context, a, s):
    """Return A S A^T for a packed lower triangle A and a packed symmetric matrix S."""
    K = dimensions(len(a))

    def generate(context, builder, signature, args):
        a, s = (cgutils.unpack_tuple(builder, t) for t in args)
        left = [
            [
                _sum_of_products(builder, ((a[packed(k, u)], _entry(s, u, m)) for u in range(k + 1)))
                for m in range(K)
            ]
            for k in range(K)
        ]
        values = (
            _sum_of_products(builder, ((left[k][u], a[packed(m, u)]) for u in range(m + 1)))
            for k in range(K)
            for m in range(k + 1)
        )
        return context.make_tuple(builder, signature.return_type, values)

    return a(a, s), generate

"""The root-free Cholesky factorisation C = L D L^T of small matrices in registers, in the style of `_tuples`.

L has a unit diagonal. This takes K divisions and no square root, where `whitening` takes K of both; in a loop that
factorises one matrix per pair little else counts. Rounding errors are those of the usual factorisation.

A factor is one packed triangle: L below the diagonal, 1/D on it; `diagonal_product` of it is 1 / det C.
"""

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from gmengine.cpu._tuples import dimensions, packed

# As in `_compile.FLAGS`.
_FLAGS = ("contract", "nsz", "reassoc")


def _minus(builder, value, pairs):
    """Return `value` less the sum of the products of `pairs`."""
    for u, v in pairs:
        value = builder.fsub(value, builder.fmul(u, v, flags=_FLAGS), flags=_FLAGS)
    return value


@intrinsic
def root_free(typing_context, c):
    """Return the factor of a packed symmetric positive definite matrix."""

    def generate(context, builder, signature, args):
        one = ir.Constant(context.get_value_type(c.dtype), 1.0)
        f = list(cgutils.unpack_tuple(builder, args[0]))
        for k in range(dimensions(len(f))):
            row = []  # of L D
            for m in range(k):
                row.append(_minus(builder, f[packed(k, m)], ((row[i], f[packed(m, i)]) for i in range(m))))
            for m in range(k):
                f[packed(k, m)] = builder.fmul(row[m], f[packed(m, m)], flags=_FLAGS)
            pivot = _minus(builder, f[packed(k, k)], ((row[i], f[packed(k, i)]) for i in range(k)))
            f[packed(k, k)] = builder.fdiv(one, pivot)
        return context.make_tuple(builder, c, f)

    return c(c), generate


@intrinsic
def half_solved(typing_context, f, v):
    """Return z = L^-1 v."""

    def generate(context, builder, signature, args):
        f, z = (cgutils.unpack_tuple(builder, t) for t in args)
        for k in range(len(z)):
            z[k] = _minus(builder, z[k], ((f[packed(k, m)], z[m]) for m in range(k)))
        return context.make_tuple(builder, v, z)

    return v(f, v), generate


@intrinsic
def over_pivots(typing_context, f, z):
    """Return u = D^-1 z, so that C^-1 v is L^-T u and v^T C^-1 v is z.u."""

    def generate(context, builder, signature, args):
        f, z = (cgutils.unpack_tuple(builder, t) for t in args)
        u = (builder.fmul(f[packed(k, k)], x, flags=_FLAGS) for k, x in enumerate(z))
        return context.make_tuple(builder, signature.return_type, u)

    return z(f, z), generate


@intrinsic
def back_solved(typing_context, f, u):
    """Return L^-T u."""

    def generate(context, builder, signature, args):
        f, x = (cgutils.unpack_tuple(builder, t) for t in args)
        K = len(x)
        for m in reversed(range(K)):
            x[m] = _minus(builder, x[m], ((f[packed(k, m)], x[k]) for k in range(m + 1, K)))
        return context.make_tuple(builder, u, x)

    return u(f, u), generate


@intrinsic
def inverted(typing_context, f):
    """Return C^-1 = L^-T D^-1 L^-1, packed."""
    K = dimensions(len(f))

    def generate(context, builder, signature, args):
        p = list(cgutils.unpack_tuple(builder, args[0]))
        lower = {(k, m): p[packed(k, m)] for k in range(K) for m in range(k)}
        # From the last column on: L^T P = D^-1 L^-1 is lower triangular with diagonal D^-1, which gives every entry
        # of P on and below its diagonal from those right of it and below.
        for m in reversed(range(K)):
            for k in reversed(range(m, K)):
                start = p[packed(k, k)] if k == m else ir.Constant(context.get_value_type(f.dtype), -0.0)
                pairs = ((lower[i, m], p[packed(max(i, k), min(i, k))]) for i in range(m + 1, K))
                p[packed(k, m)] = _minus(builder, start, pairs)
        return context.make_tuple(builder, f, p)

    return f(f), generate

"""The loop over pairs in explicit vectors: a block of points stays in registers while components stream past.

LLVM's own vectoriser, given this loop, keeps the sums in memory and fetches every coordinate of every point anew for
each component. Here a few vectors of points and their sums are held in registers, and a component's coefficients are
fetched once for all of them. Each sum is still taken component by component, in order: its bits do not depend
on how long a vector is.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gmengine.cpu._exp2 import emit_exp2
from gmengine.cpu._rows import LANES
from gmengine.cpu._tuples import packed
from gmengine.cpu._vectors import host_vectors, splat

# As in `_compile.FLAGS`.
_FLAGS = ("contract", "nsz", "reassoc")


_BYTES, _REGISTERS = host_vectors()


@intrinsic
def block_values(typing_context, rows, first, last, x, length, sums, like):
    """Set sums[s, i] = sum_j amplitude_js 2^(-|A_j (x_i - mu_j)|^2) over the components first <= j < last.

    rows (N, K + T + S), x (K, LANES) and sums (S, LANES) of one dtype; the lanes i < length count, a multiple of 16.
    """
    dims = tuple(len(t) for t in like)

    def generate(context, builder, signature, args):
        arrays = [context.make_array(signature.args[p])(context, builder, args[p]) for p in (0, 3, 5)]
        bounds = [context.cast(builder, args[p], signature.args[p], types.intp) for p in (1, 2, 4)]
        real = context.get_value_type(rows.dtype)
        _Block(builder, real, dims, arrays, bounds).emit()
        return context.get_dummy_value()

    return types.void(rows, first, last, x, length, sums, like), generate


class _Block:
    """Emits the loops of `block_values`."""

    def __init__(self, builder, real, dims, arrays, bounds):
        self.builder, self.real, self.dims = builder, real, dims
        self.rows, self.x, self.sums = arrays
        self.first, self.last, self.length = bounds
        self.align = 4 if isinstance(real, ir.FloatType) else 8
        self.width = _BYTES // self.align
        self.vector = ir.VectorType(real, self.width)

    def emit(self):
        """Loop over blocks of as many vectors as registers hold, then over the single vectors that are left."""
        b, (K, _, S) = self.builder, self.dims
        together = max(1, min(4, _REGISTERS // 2 // (K + S)))
        whole = b.mul(b.sdiv(self.length, self._int(together * self.width)), self._int(together * self.width))
        with cgutils.for_range_slice(b, self._int(0), whole, self._int(together * self.width)) as (i, _):
            self._block(i, together)
        with cgutils.for_range_slice(b, whole, self.length, self._int(self.width)) as (i, _):
            self._block(i, 1)

    def _block(self, i, vectors):
        b, (K, T, S) = self.builder, self.dims
        points = [[self._load(self.x, k, i, u) for k in range(K)] for u in range(vectors)]
        sums = [[cgutils.alloca_once(b, self.vector) for _ in range(S)] for _ in range(vectors)]
        for sum_of_lane in sums:
            for place in sum_of_lane:
                b.store(ir.Constant(self.vector, None), place)
        with cgutils.for_range_slice(b, self.first, self.last, self._int(1)) as (j, _):
            start = b.mul(j, b.extract_value(self.rows.shape, 1))
            row = [self._coefficient(start, q) for q in range(K + T + S)]
            for u in range(vectors):
                e = emit_exp2(b, self._exponent(points[u], row))
                for s in range(S):
                    term = b.fmul(row[K + T + s], e, flags=_FLAGS)
                    b.store(b.fadd(b.load(sums[u][s]), term, flags=_FLAGS), sums[u][s])
        for u in range(vectors):
            for s in range(S):
                b.store(b.load(sums[u][s]), self._lane(self.sums, s, i, u)).align = self.align

    def _exponent(self, x, row):
        """Return -|A (x - mu)|^2."""
        b, K = self.builder, self.dims[0]
        d = [b.fsub(x[k], row[k], flags=_FLAGS) for k in range(K)]
        total = None
        for k in range(K):
            y = b.fmul(row[K + packed(k, 0)], d[0], flags=_FLAGS)
            for m in range(1, k + 1):
                y = b.fadd(y, b.fmul(row[K + packed(k, m)], d[m], flags=_FLAGS), flags=_FLAGS)
            square = b.fmul(y, y, flags=_FLAGS)
            total = b.fneg(square) if total is None else b.fsub(total, square, flags=_FLAGS)
        return total

    def _int(self, value):
        return ir.Constant(self.length.type, value)

    def _coefficient(self, start, q):
        """Return entry `q` of a row of coefficients in every lane of a vector."""
        place = self.builder.gep(self.rows.data, [self.builder.add(start, self._int(q))], inbounds=True)
        return splat(self.builder, self.builder.load(place), self.width)

    def _lane(self, lanes, k, i, u):
        """Return a pointer to vector `u` from lane `i` on in row `k` of a matrix of lanes."""
        b = self.builder
        offset = b.add(i, self._int(k * LANES + u * self.width))
        return b.bitcast(b.gep(lanes.data, [offset], inbounds=True), self.vector.as_pointer())

    def _load(self, lanes, k, i, u):
        value = self.builder.load(self._lane(lanes, k, i, u))
        value.align = self.align
        return value

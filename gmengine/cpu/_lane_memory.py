"""Lanes to and from memory: eight problems side by side in a table, and the rows that they come from.

In a table of lanes a row holds LANES numbers for each number of one problem: `get` and `put` move these. `gather_rows`
and `scatter_rows` turn whole rows of eight problems into lanes and back, `pick` and `drop` single numbers.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gmengine.cpu._compile import helper
from gmengine.cpu._lanes import LANES, VECTOR, lanes
from gmengine.cpu._tables import number_pointer, row_pointer


def _place(context, builder, kind, table, i, c):
    """Return a pointer to the lanes of number c in row i."""
    start = builder.mul(c, ir.Constant(c.type, LANES))
    place = builder.gep(row_pointer(context, builder, kind, table, i), [start], inbounds=True)
    return builder.bitcast(place, VECTOR.as_pointer())


def _integers(context, builder, signature, args, *positions):
    return [context.cast(builder, args[p], signature.args[p], types.intp) for p in positions]


@intrinsic
def get(typing_context, table, i, c):
    """Return number c of row i."""

    def generate(context, builder, signature, args):
        i, c = _integers(context, builder, signature, args, 1, 2)
        return builder.load(_place(context, builder, table, args[0], i, c), align=8)

    return lanes(table, i, c), generate


@intrinsic
def put(typing_context, table, i, c, value):
    """Set number c of row i."""

    def generate(context, builder, signature, args):
        i, c = _integers(context, builder, signature, args, 1, 2)
        value = context.cast(builder, args[3], signature.args[3], lanes)
        builder.store(value, _place(context, builder, table, args[0], i, c), align=8)
        return context.get_dummy_value()

    return types.void(table, i, c, value), generate


def _transposed(builder, vectors):
    """Return the columns of LANES vectors as vectors, by swapping ever larger off-diagonal blocks."""
    size = 1
    while size < LANES:
        swapped = list(vectors)
        for i in range(LANES):
            if not i & size:
                low, high = vectors[i], vectors[i | size]
                first = [j if not j & size else LANES + j - size for j in range(LANES)]
                second = [j + size if not j & size else LANES + j for j in range(LANES)]
                for at, order in ((i, first), (i | size, second)):
                    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), order)
                    swapped[at] = builder.shuffle_vector(low, high, mask)
        vectors = swapped
        size *= 2
    return vectors


def _row_pointers(context, builder, kinds, rows, starts, i):
    """Return pointers to the rows that begin at ``starts[i, :]``."""
    first = row_pointer(context, builder, kinds[1], starts, i)
    places = (builder.gep(first, [ir.Constant(i.type, lane)], inbounds=True) for lane in range(LANES))
    return [number_pointer(context, builder, kinds[0], rows, builder.load(p)) for p in places]


def _part(builder, pointer, column):
    place = builder.gep(pointer, [ir.Constant(ir.IntType(64), column)], inbounds=True)
    return builder.bitcast(place, VECTOR.as_pointer())


@intrinsic
def gather_rows(typing_context, rows, starts, i, array, j, like):
    """Set ``array[j, c, l] = rows[starts[i, l] + c]`` for the columns c < len(like); all are tables.

    rows is flat; each row has a multiple of LANES columns.
    """

    def generate(context, builder, signature, args):
        i, j = _integers(context, builder, signature, args, 2, 4)
        pointers = _row_pointers(context, builder, signature.args[:2], args[0], args[1], i)
        for column in range(0, len(like), LANES):
            loaded = [builder.load(_part(builder, p, column), align=8) for p in pointers]
            for c, value in enumerate(_transposed(builder, loaded)):
                if column + c < len(like):
                    place = _place(context, builder, array, args[3], j, ir.Constant(j.type, column + c))
                    builder.store(value, place, align=8)
        return context.get_dummy_value()

    return types.void(rows, starts, i, array, j, like), generate


@intrinsic
def scatter_rows(typing_context, array, j, rows, starts, i, like):
    """Set ``rows[starts[i, l] + c] = array[j, c, l]`` for the columns c < len(like), 0 in the rest of the row."""

    def generate(context, builder, signature, args):
        j, i = _integers(context, builder, signature, args, 1, 4)
        pointers = _row_pointers(context, builder, signature.args[2:4], args[2], args[3], i)
        for column in range(0, len(like), LANES):
            vectors = [ir.Constant(VECTOR, None)] * LANES
            for c in range(min(LANES, len(like) - column)):
                place = _place(context, builder, array, args[0], j, ir.Constant(j.type, column + c))
                vectors[c] = builder.load(place, align=8)
            for pointer, value in zip(pointers, _transposed(builder, vectors), strict=True):
                builder.store(value, _part(builder, pointer, column), align=8)
        return context.get_dummy_value()

    return types.void(array, j, rows, starts, i, like), generate


@intrinsic
def pick(typing_context, table, rows, i, j):
    """Return ``table[rows[i, l], j]`` in lane l; numbers of any type."""

    def generate(context, builder, signature, args):
        i, j = _integers(context, builder, signature, args, 2, 3)
        value = ir.Constant(VECTOR, ir.Undefined)
        for lane, pointer in enumerate(_picked(context, builder, signature.args, args[0], args[1], i, j)):
            number = context.cast(builder, builder.load(pointer), table.dtype, types.float64)
            value = builder.insert_element(value, number, ir.Constant(ir.IntType(32), lane))
        return value

    return lanes(table, rows, i, j), generate


@intrinsic
def drop(typing_context, value, table, rows, i, j):
    """Set ``table[rows[i, l], j]`` to lane l of a value."""

    def generate(context, builder, signature, args):
        i, j = _integers(context, builder, signature, args, 3, 4)
        for lane, pointer in enumerate(_picked(context, builder, signature.args[1:], *args[1:3], i, j)):
            number = builder.extract_element(args[0], ir.Constant(ir.IntType(32), lane))
            builder.store(context.cast(builder, number, types.float64, table.dtype), pointer)
        return context.get_dummy_value()

    return types.void(value, table, rows, i, j), generate


def _picked(context, builder, kinds, table, rows, i, j):
    """Emit pointers to ``table[rows[i, l], j]``."""
    first = row_pointer(context, builder, kinds[1], rows, i)
    for lane in range(LANES):
        row = builder.load(builder.gep(first, [ir.Constant(i.type, lane)], inbounds=True))
        yield builder.gep(row_pointer(context, builder, kinds[0], table, row), [j], inbounds=True)


@helper
def aligned(n):
    """Return `n` float64 numbers that begin at a multiple of 64 bytes, as vectors and cache lines do."""
    array = np.empty(n + LANES)
    start = -(array.ctypes.data >> 3) & (LANES - 1)
    return array[start : start + n]

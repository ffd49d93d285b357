"""Tables: views of arrays that do not count references, for compiled code that looks into many small arrays often.

Numba counts a reference whenever an array is taken out of a tuple, an atomic operation that costs as much as twenty
additions, and hands each array to a function as a dozen numbers. A table is a pointer and the length of a row:
``t[i, j]`` is number j of row i, ``t[i]`` number i of all; an index must not be negative. Whoever makes a table keeps
its array alive (`keep`).
"""

import operator
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from gmengine.cpu._compile import FLAGS

# A helper whose source becomes a part of its caller's. LLVM works through what is called once per level of calls, so
# each level above the large parts of a kernel costs seconds of compile time.
spliced: Any = njit(inline="always", **FLAGS)


class Table(types.Type):
    """The type of tables of one dtype."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Table({dtype})")


@register_model(Table)
class _TableModel(models.StructModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, [("data", types.CPointer(kind.dtype)), ("width", types.intp)])


def _is_index(kind):
    return isinstance(kind, types.Integer) or (
        isinstance(kind, types.BaseTuple)
        and len(kind) == 2
        and all(isinstance(part, types.Integer) for part in kind)
    )


def _wide(kind):
    return types.intp if isinstance(kind, types.Integer) else types.UniTuple(types.intp, 2)


@infer_global(operator.getitem)
class _Get(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 2 and isinstance(args[0], Table) and _is_index(args[1]):
            return signature(args[0].dtype, args[0], _wide(args[1]))
        return None


@infer_global(operator.setitem)
class _Set(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 3 and isinstance(args[0], Table) and _is_index(args[1]):
            return signature(types.void, args[0], _wide(args[1]), args[0].dtype)
        return None


def row_pointer(context, builder, kind, table, i):
    """Emit the pointer to row i."""
    table = cgutils.create_struct_proxy(kind)(context, builder, table)
    return builder.gep(table.data, [builder.mul(i, table.width)], inbounds=True)


def number_pointer(context, builder, kind, table, i):
    """Emit the pointer to number i of all."""
    data = cgutils.create_struct_proxy(kind)(context, builder, table).data
    return builder.gep(data, [i], inbounds=True)


def _pointer(context, builder, kind, table, index):
    if isinstance(index.type, ir.IntType):
        return number_pointer(context, builder, kind, table, index)
    i, j = cgutils.unpack_tuple(builder, index)
    return builder.gep(row_pointer(context, builder, kind, table, i), [j], inbounds=True)


def _get(context, builder, signature, args):
    return builder.load(_pointer(context, builder, signature.args[0], *args))


def _set(context, builder, signature, args):
    table, index, value = args
    builder.store(value, _pointer(context, builder, signature.args[0], table, index))


for _index in (types.intp, types.UniTuple(types.intp, 2)):
    lower_builtin(operator.getitem, Table, _index)(_get)
    lower_builtin(operator.setitem, Table, _index, types.Any)(_set)


def _table(context, builder, kind, data, lengths):
    """Emit a table whose rows hold the product of `lengths` numbers."""
    table = cgutils.create_struct_proxy(kind)(context, builder)
    table.data, table.width = data, ir.Constant(ir.IntType(64), 1)
    for length in lengths:
        table.width = builder.mul(table.width, length)
    return table._getvalue()


@intrinsic
def view(typing_context, array):
    """Return the table of a C-contiguous array; all axes but the first make up a row."""
    if array.layout != "C":
        return None
    result = Table(array.dtype)

    def generate(context, builder, signature, args):
        source = context.make_array(array)(context, builder, args[0])
        lengths = cgutils.unpack_tuple(builder, source.shape)
        return _table(context, builder, result, source.data, lengths[1:])

    return result(array), generate


@intrinsic
def part(typing_context, array, m):
    """Return the table of ``array[m]``, of a C-contiguous array."""
    if array.layout != "C":
        return None
    result = Table(array.dtype)

    def generate(context, builder, signature, args):
        source = context.make_array(array)(context, builder, args[0])
        lengths = cgutils.unpack_tuple(builder, source.shape)
        start = context.cast(builder, args[1], signature.args[1], types.intp)
        for length in lengths[1:]:
            start = builder.mul(start, length)
        data = builder.gep(source.data, [start], inbounds=True)
        return _table(context, builder, result, data, lengths[2:])

    return result(array, m), generate


@intrinsic
def tail(typing_context, table, start, width):
    """Return what follows from number `start` on as a table with rows of `width` numbers."""

    def generate(context, builder, signature, args):
        start, width = (context.cast(builder, args[p], signature.args[p], types.intp) for p in (1, 2))
        return _table(
            context, builder, table, number_pointer(context, builder, table, args[0], start), [width]
        )

    return table(table, start, width), generate


@intrinsic
def keep(typing_context, arrays):
    """Keep arrays, or tuples of them, alive up to here: Numba frees a variable after its last use."""

    def generate(context, builder, signature, args):
        return context.get_dummy_value()

    return types.void(arrays), generate

"""The arguments of a pass, gathered in one block of addresses.

A block holds `ENTRY` integers for each table, in the order of `table_entries`: its address, rows and columns.  Drivers
with few arguments compile in a third of the time, and calls take less time.  The caller of `make_block` keeps the
arrays alive.  Without the JIT, the block is the list of the arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.np.arrayobj import populate_array

from ..intrinsics.vectors import Line, start_of, vector_intrinsic

ADDRESS, ROWS, COLUMNS, ENTRY = range(4)


def make_block(arrays: Sequence[np.ndarray]) -> Any:
    """Return the block of contiguous arrays of one or two dimensions."""
    if config.DISABLE_JIT:
        return list(arrays)
    return np.array([number for array in arrays for number in _entry(array)], np.int64)


def _entry(array: np.ndarray) -> tuple[int, ...]:
    """Return the address, rows and columns of an array."""
    return array.__array_interface__["data"][0], *(1, *array.shape)[-2:]


def with_tables(block: Any, tables: Mapping[int, np.ndarray]) -> Any:
    """Return a copy of a block in which some entries are other arrays."""
    changed = block.copy()
    for entry, array in tables.items():
        if config.DISABLE_JIT:
            changed[entry] = array
        else:
            at = entry * ENTRY
            changed[at : at + ENTRY] = _entry(array)
    return changed


def _table(
    context: Any,
    builder: Any,
    block_type: Any,
    block: Any,
    entry: Any,
    row: Any,
    kind: Any,
    stored: Any = None,
) -> Any:
    """Return table `entry` of a block as an array of type `kind`; if that is a line, row `row` of the table.

    `stored` is the type of the table's elements, if it is not that of `kind`.
    """
    data = start_of(context, builder, block_type, block)
    whole = ir.IntType(64)

    def number(field: int) -> Any:
        at = builder.add(builder.mul(entry, whole(ENTRY)), whole(field))
        return builder.load(builder.gep(data, [at]))

    item = context.get_abi_sizeof(context.get_data_type(stored or kind.dtype))
    columns, size = number(COLUMNS), whole(item)
    address = builder.add(number(ADDRESS), builder.mul(row, builder.mul(columns, size)))
    shape, strides = [columns], [size]
    if kind.ndim == 2:
        shape, strides = [number(ROWS), columns], [builder.mul(columns, size), size]
    array = context.make_array(kind)(context, builder)
    pointer = builder.inttoptr(address, context.get_data_type(kind.dtype).as_pointer())
    populate_array(
        array, data=pointer, shape=cgutils.pack_array(builder, shape), strides=cgutils.pack_array(builder, strides),
        itemsize=size, meminfo=None,
    )  # fmt: skip
    return array._getvalue()


@vector_intrinsic(lambda block, entry: block[entry])
def integers(typingctx: Any, block: Any, entry: Any) -> Any:
    """Return a one-dimensional table of int64."""
    kind = Line(types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _table(context, builder, sig.args[0], *args, ir.IntType(64)(0), kind)

    return kind(block, types.intp), codegen


@vector_intrinsic(lambda block, entry: block[entry])
def integer_rows(typingctx: Any, block: Any, entry: Any) -> Any:
    """Return a two-dimensional table of int64."""
    kind = Line(types.int64, 2)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _table(context, builder, sig.args[0], *args, ir.IntType(64)(0), kind)

    return kind(block, types.intp), codegen


@vector_intrinsic(lambda block, entry, row: block[entry][row])
def integer_row(typingctx: Any, block: Any, entry: Any, row: Any) -> Any:
    """Return one row of a two-dimensional table of int64."""
    kind = Line(types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _table(context, builder, sig.args[0], *args, kind)

    return kind(block, types.intp, types.intp), codegen


@vector_intrinsic(lambda block, entry, row: block[entry][row])
def byte_row(typingctx: Any, block: Any, entry: Any, row: Any) -> Any:
    """Return one row of a two-dimensional table of bytes."""
    kind = Line(types.uint8)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _table(context, builder, sig.args[0], *args, kind)

    return kind(block, types.intp, types.intp), codegen


@vector_intrinsic(lambda block, entry, _: block[entry])
def numbers(typingctx: Any, block: Any, entry: Any, like: Any) -> Any:
    """Return a one-dimensional table with elements of the type of those of `like`."""
    kind = Line(like.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _table(context, builder, sig.args[0], args[0], args[1], ir.IntType(64)(0), kind)

    return kind(block, types.intp, like), codegen


@vector_intrinsic(lambda block, entry, row, _: block[entry][row])
def number_row(typingctx: Any, block: Any, entry: Any, row: Any, like: Any) -> Any:
    """Return one row of a two-dimensional table with elements of the type of those of `like`."""
    kind = Line(like.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _table(context, builder, sig.args[0], *args[:3], kind)

    return kind(block, types.intp, types.intp, like), codegen


@vector_intrinsic(lambda block, entry, row, _: block[entry][row].view(np.uint8))
def number_bytes(typingctx: Any, block: Any, entry: Any, row: Any, like: Any) -> Any:
    """Return one row of a table with elements like those of `like`, as bytes; its size is that in elements."""
    kind = Line(types.uint8)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _table(context, builder, sig.args[0], *args[:3], kind, like.dtype)

    return kind(block, types.intp, types.intp, like), codegen

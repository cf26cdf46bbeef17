"""Register blocks: rectangles of vectors in registers, which accumulate sums.

See `vectors` for the rules of these intrinsics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .vectors import Block, Vector, fused, lanes, pointer_to, span, spread, vector_intrinsic


class BlockIntrinsics:
    """Intrinsics for blocks of a fixed shape of `rows` x `columns` vectors.

    The vectors of a row are adjacent in memory; rows are `stride` elements apart, or their offsets are in a table.
    Zero rows mean as many as a vector has lanes, for square blocks, which can be transposed.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.zero = _block_zero(rows, columns)
        self.read = _block_read(rows, columns)
        self.write = _block_write(rows, columns)
        self.window = _window(rows, columns)
        self.push = _push(rows, columns)
        self.fma = _block_fma(rows, columns)
        self.add = _block_add()
        self.read_adjacent = _read_adjacent(rows, skip=0)
        self.write_adjacent = _write_adjacent()
        self.window_adjacent = _read_adjacent(rows, skip=1)
        self.push_adjacent = _push_adjacent()
        self.transpose = _transpose()


def items_of(builder: Any, block: Any) -> list[Any]:
    """Return the vectors of a block, row by row."""
    return [builder.extract_value(block, i) for i in range(block.type.count)]


def pack_items(builder: Any, kind: Any, items: list[Any]) -> Any:
    """Combine vectors to a block."""
    block = ir.Constant(kind, ir.Undefined)
    for i, item in enumerate(items):
        block = builder.insert_value(block, item, i)
    return block


def _block_zero(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, like: Any) -> Any:
        block = Block(like, rows or Vector(like).lanes, columns)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return ir.Constant(context.get_value_type(block), None)

        return block(like), codegen

    def reference(like: Any) -> np.ndarray:
        dtype = np.asarray(like).dtype
        return np.zeros((rows or lanes(dtype), columns * lanes(dtype)), dtype)

    return vector_intrinsic(reference)(emit)


def _block_read(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, array: Any, offset: Any, stride: Any) -> Any:
        block = Block(array.dtype, rows or Vector(array.dtype).lanes, columns)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = context.get_value_type(block)
            items = []
            for row in range(block.rows):
                for column in range(columns):
                    at = _block_offset(builder, args[1], args[2], row, column * block.vector.lanes)
                    pointer = pointer_to(context, builder, sig.args[0], args[0], at, kind.element)
                    items.append(builder.load(pointer, align=array.dtype.bitwidth // 8))
            return pack_items(builder, kind, items)

        return block(array, types.intp, types.intp), codegen

    def reference(array: np.ndarray, offset: int, stride: int) -> np.ndarray:
        n = columns * lanes(array.dtype)
        return np.stack([span(array, offset + row * stride, n) for row in range(rows or lanes(array.dtype))])

    return vector_intrinsic(reference)(emit)


def _read_adjacent(rows: int, skip: int) -> Callable[..., Any]:
    """Return an intrinsic ``(array, offset)`` that loads a block of one column from adjacent vectors.

    With `skip` = 1 it loads a window, whose first vector is undefined and is dropped by the first push.
    """

    def emit(typingctx: Any, array: Any, offset: Any) -> Any:
        block = Block(array.dtype, rows or Vector(array.dtype).lanes, 1)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = context.get_value_type(block)
            first = pointer_to(context, builder, sig.args[0], *args, kind.element)
            vectors = [ir.Constant(kind.element, ir.Undefined)] * skip
            for row in range(block.rows - skip):
                at = builder.gep(first, [ir.Constant(ir.IntType(32), row)])
                vectors.append(builder.load(at, align=array.dtype.bitwidth // 8))
            return pack_items(builder, kind, vectors)

        return block(array, types.intp), codegen

    def reference(array: np.ndarray, offset: int) -> np.ndarray:
        n = lanes(array.dtype)
        vectors = span(array, offset, ((rows or n) - skip) * n).reshape(-1, n)
        return np.concatenate([np.full((skip, n), np.nan, array.dtype), vectors])

    return vector_intrinsic(reference)(emit)


def _write_adjacent() -> Callable[..., Any]:
    """Return an intrinsic ``(array, offset, block)`` that stores a block of one column as adjacent vectors."""

    def emit(typingctx: Any, array: Any, offset: Any, block: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vectors = items_of(builder, args[2])
            first = pointer_to(context, builder, sig.args[0], args[0], args[1], vectors[0].type)
            for row, vector in enumerate(vectors):
                at = builder.gep(first, [ir.Constant(ir.IntType(32), row)])
                builder.store(vector, at, align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(array, types.intp, block), codegen

    def reference(array: np.ndarray, offset: int, block: np.ndarray) -> None:
        span(array, offset, block.size)[:] = block.reshape(-1)

    return vector_intrinsic(reference)(emit)


def _push_adjacent() -> Callable[..., Any]:
    """Return an intrinsic ``(window, array, offset)`` that drops the first vector and appends ``array[offset]``."""

    def emit(typingctx: Any, window: Any, array: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            items = items_of(builder, args[0])
            pointer = pointer_to(context, builder, sig.args[1], args[1], args[2], items[0].type)
            newest = builder.load(pointer, align=array.dtype.bitwidth // 8)
            return pack_items(builder, args[0].type, [*items[1:], newest])

        return window(window, array, types.intp), codegen

    def reference(window: np.ndarray, array: np.ndarray, offset: int) -> np.ndarray:
        return np.concatenate([window[1:], span(array, offset, window.shape[1])[None]])

    return vector_intrinsic(reference)(emit)


def _block_offset(builder: Any, offset: Any, stride: Any, row: int, extra: int) -> Any:
    index = offset.type
    at = builder.add(offset, builder.mul(stride, ir.Constant(index, row))) if row else offset
    return builder.add(at, ir.Constant(index, extra)) if extra else at


def _block_write(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, array: Any, offset: Any, stride: Any, block: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            items = items_of(builder, args[3])
            for row in range(block.rows):
                for column in range(columns):
                    at = _block_offset(builder, args[1], args[2], row, column * block.vector.lanes)
                    item = items[row * columns + column]
                    pointer = pointer_to(context, builder, sig.args[0], args[0], at, item.type)
                    builder.store(item, pointer, align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(array, types.intp, types.intp, block), codegen

    def reference(array: np.ndarray, offset: int, stride: int, block: np.ndarray) -> None:
        for row in range(block.shape[0]):
            span(array, offset + row * stride, block.shape[1])[:] = block[row]

    return vector_intrinsic(reference)(emit)


def _window(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, array: Any, table: Any, first: Any, offset: Any) -> Any:
        block = Block(array.dtype, rows, columns)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = context.get_value_type(block)
            items = [ir.Constant(kind.element, ir.Undefined)] * columns
            for row in range(rows - 1):
                items += _table_row(context, builder, sig, args, row, block)
            return pack_items(builder, kind, items)

        return block(array, table, types.intp, types.intp), codegen

    def reference(array: np.ndarray, table: np.ndarray, first: int, offset: int) -> np.ndarray:
        n = columns * lanes(array.dtype)
        rows_read = [span(array, table[first + row] + offset, n) for row in range(rows - 1)]
        return np.stack([np.full(n, np.nan, array.dtype), *rows_read])

    return vector_intrinsic(reference)(emit)


def _table_row(context: Any, builder: Any, sig: Any, args: Any, row: int, block: Block) -> list[Any]:
    """Load the vectors of the row that starts at `table[first + row] + offset`."""
    array, table, first, offset = args
    index = builder.add(first, ir.Constant(first.type, row))
    start = builder.load(pointer_to(context, builder, sig.args[1], table, index, ir.IntType(64)), align=8)
    start = builder.add(start, offset)
    vector = context.get_value_type(block.vector)
    loads = []
    for column in range(block.columns):
        at = builder.add(start, ir.Constant(start.type, column * block.vector.lanes))
        pointer = pointer_to(context, builder, sig.args[0], array, at, vector)
        loads.append(builder.load(pointer, align=block.vector.dtype.bitwidth // 8))
    return loads


def _push(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, window: Any, array: Any, table: Any, row: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            items = items_of(builder, args[0])[columns:]
            shifted = sig.return_type(*sig.args[1:])
            items += _table_row(context, builder, shifted, args[1:], 0, window)
            return pack_items(builder, args[0].type, items)

        return window(window, array, table, types.intp, types.intp), codegen

    def reference(
        window: np.ndarray, array: np.ndarray, table: np.ndarray, row: int, offset: int
    ) -> np.ndarray:
        return np.concatenate([window[1:], span(array, table[row] + offset, window.shape[1])[None]])

    return vector_intrinsic(reference)(emit)


def _block_fma(rows: int, columns: int) -> Callable[..., Any]:
    def emit(typingctx: Any, weight: Any, window: Any, block: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            weights = spread(builder, args[0], block.vector.lanes)
            pairs = zip(items_of(builder, args[1]), items_of(builder, args[2]), strict=True)
            return pack_items(builder, args[2].type, [fused(builder, weights, a, c) for a, c in pairs])

        return block(weight, window, block), codegen

    def reference(weight: Any, window: np.ndarray, block: np.ndarray) -> np.ndarray:
        return (weight * window + block).astype(block.dtype)

    return vector_intrinsic(reference)(emit)


def _block_add() -> Callable[..., Any]:
    def emit(typingctx: Any, one: Any, other: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pairs = zip(items_of(builder, args[0]), items_of(builder, args[1]), strict=True)
            return pack_items(builder, args[0].type, [builder.fadd(a, b) for a, b in pairs])

        return one(one, other), codegen

    return vector_intrinsic(lambda one, other: one + other)(emit)


def turn(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose a square of as many vectors as a vector has lanes."""
    rows, lanes, step = list(rows), len(rows), 1
    while step < lanes:  # swap the off-diagonal quarters of all squares of side 2 * step
        low = [lane if not lane & step else lanes + lane - step for lane in range(lanes)]
        high = [lane + step if not lane & step else lanes + lane for lane in range(lanes)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), lanes), mask) for mask in (low, high)]
        for row in range(lanes):
            if not row & step:
                one, other = rows[row], rows[row + step]
                rows[row] = builder.shuffle_vector(one, other, masks[0])
                rows[row + step] = builder.shuffle_vector(one, other, masks[1])
        step *= 2
    return rows


def _transpose() -> Callable[..., Any]:
    def emit(typingctx: Any, block: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return pack_items(builder, args[0].type, turn(builder, items_of(builder, args[0])))

        return block(block), codegen

    return vector_intrinsic(lambda block: block.T.copy())(emit)

"""The SIMD words of the channel-mixing convolutions: outer products, taps of a run of pixels, partial blocks.

They extend the vocabulary of `simd` with blocks whose shape is a literal argument, so that a kernel factory closes
over plain integers only (a closure over compiled functions would miss the disk cache in every process).
A *block* is `rows` x `columns` vectors of accumulators held in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from numbasep.kernels.simd import Block, Vector, _fma, _pointer, _span, _splat, lanes


def _literal_word(twin: Any) -> Any:
    """As `simd.word`, for words whose leading arguments are literal integers."""

    def bind(emit: Any) -> Any:
        return twin if config.DISABLE_JIT else intrinsic(prefer_literal=True)(emit)

    return bind


def _index(builder: Any, value: Any) -> Any:
    """`value` as the 64-bit index that offsets are computed in."""
    wide = ir.IntType(64)
    return value if value.type == wide else builder.sext(value, wide)


def _at(builder: Any, offset: Any, stride: Any, row: int, extra: int) -> Any:
    moved = builder.add(offset, builder.mul(stride, ir.Constant(offset.type, row))) if row else offset
    return builder.add(moved, ir.Constant(offset.type, extra)) if extra else moved


def _pack(builder: Any, kind: Any, items: list[Any]) -> Any:
    block = ir.Constant(kind, ir.Undefined)
    for i, item in enumerate(items):
        block = builder.insert_value(block, item, i)
    return block


def _lanes_below(builder: Any, count: Any, first: int, n: int) -> Any:
    """Mask of the lanes whose number, counted from `first`, is below `count`."""
    numbers = ir.Constant(ir.VectorType(ir.IntType(64), n), list(range(first, first + n)))
    return builder.icmp_signed("<", numbers, _splat(builder, count, n))


def _element(kind: Any) -> str:
    return {"float": "f32", "double": "f64"}[str(kind.element)]


def _load_masked(builder: Any, pointer: Any, mask: Any, kind: Any) -> Any:
    zero = ir.Constant(kind, [ir.Constant(kind.element, 0.0)] * kind.count)
    name = f"llvm.masked.load.v{kind.count}{_element(kind)}.p0"
    signature = ir.FunctionType(kind, [pointer.type, ir.IntType(32), mask.type, kind])
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(function, [pointer, ir.Constant(ir.IntType(32), 1), mask, zero])


def _store_masked(builder: Any, value: Any, pointer: Any, mask: Any) -> None:
    name = f"llvm.masked.store.v{value.type.count}{_element(value.type)}.p0"
    signature = ir.FunctionType(ir.VoidType(), [value.type, pointer.type, ir.IntType(32), mask.type])
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    builder.call(function, [value, pointer, ir.Constant(ir.IntType(32), 1), mask])


# --------------------------------------------------------------------------- whole blocks


def _zeros_twin(rows: int, columns: int, like: np.ndarray) -> np.ndarray:
    return np.zeros((rows, columns * lanes(like.dtype)), like.dtype)


@_literal_word(_zeros_twin)
def block_zeros(typingctx: Any, rows: Any, columns: Any, like: Any) -> Any:
    """A block of zeros of the type of the array `like`: (rows, columns, like)."""
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(columns, types.IntegerLiteral)):
        return None
    block = Block(like.dtype, rows.literal_value, columns.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(block), None)

    return block(rows, columns, like), codegen


def _outer_twin(
    block: np.ndarray, a: np.ndarray, a_at: int, a_row: int, b: np.ndarray, b_at: int
) -> np.ndarray:
    scalars = np.array([_span(a, a_at + row * a_row, 1)[0] for row in range(block.shape[0])])
    return block + np.outer(scalars, _span(b, b_at, block.shape[1]))


@_literal_word(_outer_twin)
def outer(typingctx: Any, block: Any, a: Any, a_at: Any, a_row: Any, b: Any, b_at: Any) -> Any:
    """One step of a matrix product: block[i, j] += a[a_at + i * a_row] * b[b_at + j]."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        block_type, a_type, _, _, b_type, _ = sig.args
        rows, columns, n = block_type.rows, block_type.columns, block_type.vector.lanes
        vector = context.get_value_type(block_type.vector)
        a_first, a_step, b_first = (_index(builder, args[i]) for i in (2, 3, 5))
        align = a_type.dtype.bitwidth // 8
        right = []
        for column in range(columns):
            at = _at(builder, b_first, None, 0, column * n)
            right.append(builder.load(_pointer(context, builder, b_type, args[4], at, vector), align=align))
        items = []
        for row in range(rows):
            at = _at(builder, a_first, a_step, row, 0)
            scalar = builder.load(_pointer(context, builder, a_type, args[1], at, vector.element))
            left = _splat(builder, scalar, n)
            for column in range(columns):
                old = builder.extract_value(args[0], row * columns + column)
                items.append(_fma(builder, left, right[column], old))
        return _pack(builder, args[0].type, items)

    signature = block(block, a, types.intp, types.intp, b, types.intp)
    return signature, codegen


def _tap_twin(
    block: np.ndarray, w: np.ndarray, w_at: int, x: np.ndarray, x_at: int, x_step: int, count: int
) -> np.ndarray:
    n = block.shape[1]
    result = block.copy()
    taps = _span(w, w_at, n)
    for row in range(block.shape[0]):
        values = np.zeros(n, block.dtype)
        values[: min(count, n)] = _span(x, x_at + row * x_step, min(count, n))
        result[row] += taps * values
    return result


def _tap(partial: bool) -> Any:
    def emit(
        typingctx: Any, block: Any, w: Any, w_at: Any, x: Any, x_at: Any, x_step: Any, count: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            block_type, w_type, _, x_type = sig.args[:4]
            rows, columns, n = block_type.rows, block_type.columns, block_type.vector.lanes
            vector = context.get_value_type(block_type.vector)
            w_first, x_first, step, limit = (_index(builder, args[i]) for i in (2, 4, 5, 6))
            align = x_type.dtype.bitwidth // 8
            items: list[Any] = [None] * (rows * columns)
            for column in range(columns):
                at = _at(builder, w_first, None, 0, column * n)
                taps = builder.load(_pointer(context, builder, w_type, args[1], at, vector), align=align)
                mask = _lanes_below(builder, limit, column * n, n) if partial else None
                for row in range(rows):
                    at = _at(builder, x_first, step, row, column * n)
                    pointer = _pointer(context, builder, x_type, args[3], at, vector)
                    if partial:
                        values = _load_masked(builder, pointer, mask, vector)
                    else:
                        values = builder.load(pointer, align=align)
                    old = builder.extract_value(args[0], row * columns + column)
                    items[row * columns + column] = _fma(builder, taps, values, old)
            return _pack(builder, args[0].type, items)

        signature = block(block, w, types.intp, x, types.intp, types.intp, types.intp)
        return signature, codegen

    return _literal_word(_tap_twin)(emit)


# (block, w, w_at, x, x_at, x_step, count): block[i, j] += w[w_at + j] * x[x_at + i * x_step + j]
tap_vector = _tap(partial=False)
tap_vector_first = _tap(partial=True)  # the same, x read for j < count only and 0 beyond


def _scaled_twin(block: np.ndarray, weight: Any, x: np.ndarray, x_at: int) -> np.ndarray:
    n = block.shape[1]
    rows = np.stack([_span(x, x_at + row * n, n) for row in range(block.shape[0])])
    return (block + weight * rows).astype(block.dtype)


@_literal_word(_scaled_twin)
def tap_scalar(typingctx: Any, block: Any, weight: Any, x: Any, x_at: Any) -> Any:
    """One tap over a run of adjacent elements: block[i, j] += weight * x[x_at + (i, j flattened)]."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        block_type, _, x_type, _ = sig.args
        n = block_type.vector.lanes
        vector = context.get_value_type(block_type.vector)
        taps, first = _splat(builder, args[1], n), _index(builder, args[3])
        items = []
        for i in range(block_type.rows * block_type.columns):
            at = _at(builder, first, None, 0, i * n)
            pointer = _pointer(context, builder, x_type, args[2], at, vector)
            values = builder.load(pointer, align=x_type.dtype.bitwidth // 8)
            items.append(_fma(builder, taps, values, builder.extract_value(args[0], i)))
        return _pack(builder, args[0].type, items)

    return block(block, block.vector.dtype, x, types.intp), codegen


# --------------------------------------------------------------------------- memory


def _read_twin(block: np.ndarray, array: np.ndarray, at: int, stride: int) -> np.ndarray:
    return np.stack([_span(array, at + row * stride, block.shape[1]) for row in range(block.shape[0])])


def _write_twin(block: np.ndarray, array: np.ndarray, at: int, stride: int) -> None:
    for row in range(block.shape[0]):
        _span(array, at + row * stride, block.shape[1])[:] = block[row]


def _write_first_twin(block: np.ndarray, array: np.ndarray, at: int, stride: int, count: int) -> None:
    _write_twin(block[:, : min(count, block.shape[1])], array, at, stride)


def _pointers(context: Any, builder: Any, block: Any, array_type: Any, array: Any, at: Any, stride: Any) -> list[Any]:
    vector = context.get_value_type(block.vector)
    first, step, n = _index(builder, at), _index(builder, stride), block.vector.lanes
    places = [(row, column) for row in range(block.rows) for column in range(block.columns)]
    offsets = [_at(builder, first, step, row, column * n) for row, column in places]
    return [_pointer(context, builder, array_type, array, offset, vector) for offset in offsets]


@_literal_word(_read_twin)
def block_read(typingctx: Any, block: Any, array: Any, at: Any, stride: Any) -> Any:
    """A block of the shape of `block` from `array[at + i * stride + j]`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _pointers(context, builder, block, sig.args[1], *args[1:])
        items = [builder.load(pointer, align=array.dtype.bitwidth // 8) for pointer in pointers]
        return _pack(builder, args[0].type, items)

    return block(block, array, types.intp, types.intp), codegen


@_literal_word(_write_twin)
def block_write(typingctx: Any, block: Any, array: Any, at: Any, stride: Any) -> Any:
    """Write a block to `array[at + i * stride + j]`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _pointers(context, builder, block, sig.args[1], *args[1:])
        for i, pointer in enumerate(pointers):
            builder.store(builder.extract_value(args[0], i), pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(block, array, types.intp, types.intp), codegen


@_literal_word(_write_first_twin)
def block_write_first(typingctx: Any, block: Any, array: Any, at: Any, stride: Any, count: Any) -> Any:
    """The same for the first `count` elements of each row."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _pointers(context, builder, block, sig.args[1], *args[1:4])
        limit, n = _index(builder, args[4]), block.vector.lanes
        masks = [_lanes_below(builder, limit, column * n, n) for column in range(block.columns)]
        for i, pointer in enumerate(pointers):
            _store_masked(builder, builder.extract_value(args[0], i), pointer, masks[i % block.columns])
        return context.get_dummy_value()

    return types.void(block, array, types.intp, types.intp, types.intp), codegen


@_literal_word(lambda a, b: a + b)
def block_add(typingctx: Any, a: Any, b: Any) -> Any:
    """`a + b`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pairs = [(builder.extract_value(args[0], i), builder.extract_value(args[1], i)) for i in range(args[0].type.count)]
        return _pack(builder, args[0].type, [builder.fadd(x, y) for x, y in pairs])

    return a(a, b), codegen

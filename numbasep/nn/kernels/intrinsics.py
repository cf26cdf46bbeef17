"""SIMD intrinsics of the convolutions over channels: outer products, runs of taps, partial blocks.

They extend `vectors` by blocks whose shape is a literal argument, so that kernel factories close over plain
integers only (a closure over compiled functions would miss the disk cache in every process). A *block* is
`rows` x `columns` vectors of sums in registers.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from ...cpu.intrinsics.vectors import VECTOR_BYTES, Block, Vector, fused, lanes, pointer_to, span, spread


def _literal_intrinsic(reference: Any) -> Any:
    """Decorate as `vectors.vector_intrinsic`, for intrinsics with literal integers as arguments."""

    def bind(emit: Any) -> Any:
        return reference if config.DISABLE_JIT else intrinsic(prefer_literal=True)(emit)

    return bind


def _index(builder: Any, value: Any) -> Any:
    """Extend `value` to a 64-bit index."""
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
    """Return the mask of the lanes whose number, counted from `first`, is less than `count`."""
    numbers = ir.Constant(ir.VectorType(ir.IntType(64), n), list(range(first, first + n)))
    return builder.icmp_signed("<", numbers, spread(builder, count, n))


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


def _zeros_reference(rows: int, columns: int, like: np.ndarray) -> np.ndarray:
    return np.zeros((rows, columns * lanes(like.dtype)), like.dtype)


@_literal_intrinsic(_zeros_reference)
def block_zeros(typingctx: Any, rows: Any, columns: Any, like: Any) -> Any:
    """Return a block of zeros of the type of the array `like`; `rows` and `columns` are literals."""
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(columns, types.IntegerLiteral)):
        return None
    block = Block(like.dtype, rows.literal_value, columns.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(block), None)

    return block(rows, columns, like), codegen


def _outer_reference(
    block: np.ndarray, a: np.ndarray, a_at: int, a_row: int, b: np.ndarray, b_at: int
) -> np.ndarray:
    scalars = np.array([span(a, a_at + row * a_row, 1)[0] for row in range(block.shape[0])])
    return block + np.outer(scalars, span(b, b_at, block.shape[1]))


@_literal_intrinsic(_outer_reference)
def outer(typingctx: Any, block: Any, a: Any, a_at: Any, a_row: Any, b: Any, b_at: Any) -> Any:
    """Add an outer product, a step of a matrix product: block[i, j] += a[a_at + i * a_row] * b[b_at + j]."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        block_type, a_type, _, _, b_type, _ = sig.args
        rows, columns, n = block_type.rows, block_type.columns, block_type.vector.lanes
        vector = context.get_value_type(block_type.vector)
        a_first, a_step, b_first = (_index(builder, args[i]) for i in (2, 3, 5))
        align = a_type.dtype.bitwidth // 8
        right = []
        for column in range(columns):
            at = _at(builder, b_first, None, 0, column * n)
            right.append(builder.load(pointer_to(context, builder, b_type, args[4], at, vector), align=align))
        items = []
        for row in range(rows):
            at = _at(builder, a_first, a_step, row, 0)
            scalar = builder.load(pointer_to(context, builder, a_type, args[1], at, vector.element))
            left = spread(builder, scalar, n)
            for column in range(columns):
                old = builder.extract_value(args[0], row * columns + column)
                items.append(fused(builder, left, right[column], old))
        return _pack(builder, args[0].type, items)

    signature = block(block, a, types.intp, types.intp, b, types.intp)
    return signature, codegen


def _run_reference(
    block: np.ndarray, taps: int, stride: int, w: np.ndarray, w_at: int, w_step: int,
    x: np.ndarray, x_at: int, step: int, *limit: int,
) -> np.ndarray:  # fmt: skip
    n = min(block.shape[1], *limit) if limit else block.shape[1]
    result = block.copy()
    for tap in range(taps):
        weights = span(w, w_at + tap * w_step, block.shape[1])[:n]
        for pixel in range(block.shape[0]):
            result[pixel, :n] += weights * span(x, x_at + (pixel * stride + tap) * step, n)
    return result


def _emit_run(context: Any, builder: Any, sig: Any, args: Any, masks: Any) -> Any:
    """Emit `tap_run`: load each input vector once and add it to all output pixels whose windows contain it."""
    block_type, taps, stride, w_type, _, _, x_type = sig.args[:7]
    taps, stride = taps.literal_value, stride.literal_value
    rows, columns, n = block_type.rows, block_type.columns, block_type.vector.lanes
    vector = context.get_value_type(block_type.vector)
    w_at, w_step, x_at, step = (_index(builder, args[i]) for i in (4, 5, 7, 8))
    align = x_type.dtype.bitwidth // 8
    weights = {}
    for tap in range(taps):
        for column in range(columns):
            at = _at(builder, w_at, w_step, tap, column * n)
            pointer = pointer_to(context, builder, w_type, args[3], at, vector)
            weights[tap, column] = builder.load(pointer, align=align)
    items = [builder.extract_value(args[0], i) for i in range(rows * columns)]
    for u in range((rows - 1) * stride + taps):
        uses = [(tap, (u - tap) // stride) for tap in range(taps) if (u - tap) % stride == 0]
        uses = [(tap, pixel) for tap, pixel in uses if 0 <= pixel < rows]
        for column in range(columns if uses else 0):
            at = _at(builder, x_at, step, u, column * n)
            pointer = pointer_to(context, builder, x_type, args[6], at, vector)
            if masks:
                values = _load_masked(builder, pointer, masks[column], vector)
            else:
                values = builder.load(pointer, align=align)
            for tap, pixel in uses:
                item = pixel * columns + column
                items[item] = fused(builder, weights[tap, column], values, items[item])
    return _pack(builder, args[0].type, items)


@_literal_intrinsic(_run_reference)
def tap_run(
    typingctx: Any,
    block: Any,
    taps: Any,
    stride: Any,
    w: Any,
    w_at: Any,
    w_step: Any,
    x: Any,
    x_at: Any,
    step: Any,
) -> Any:
    """Add `taps` adjacent taps to a block of pixels `stride` steps apart; both are literals.

    block[p, c] += sum_t w[w_at + t * w_step + c] * x[x_at + (p * stride + t) * step + c]
    """
    if not (isinstance(taps, types.IntegerLiteral) and isinstance(stride, types.IntegerLiteral)):
        return None
    n = types.intp
    return block(block, taps, stride, w, n, n, x, n, n), lambda *emit: _emit_run(*emit, None)


@_literal_intrinsic(_run_reference)
def tap_run_first(
    typingctx: Any, block: Any, taps: Any, stride: Any, w: Any, w_at: Any, w_step: Any,
    x: Any, x_at: Any, step: Any, count: Any,
) -> Any:  # fmt: skip
    """Do the same for c < count only, without reads of `x` beyond."""
    if not (isinstance(taps, types.IntegerLiteral) and isinstance(stride, types.IntegerLiteral)):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        n, limit = sig.args[0].vector.lanes, _index(builder, args[9])
        masks = [_lanes_below(builder, limit, column * n, n) for column in range(sig.args[0].columns)]
        return _emit_run(context, builder, sig, args, masks)

    n = types.intp
    return block(block, taps, stride, w, n, n, x, n, n, n), codegen


# --------------------------------------------------------------------------- memory


def _read_reference(block: np.ndarray, array: np.ndarray, at: int, stride: int) -> np.ndarray:
    return np.stack([span(array, at + row * stride, block.shape[1]) for row in range(block.shape[0])])


def _write_reference(block: np.ndarray, array: np.ndarray, at: int, stride: int) -> None:
    for row in range(block.shape[0]):
        span(array, at + row * stride, block.shape[1])[:] = block[row]


def _write_first_reference(
    block: np.ndarray, array: np.ndarray, at: int, stride: int, rows: int, count: int
) -> None:
    _write_reference(block[: min(rows, block.shape[0]), : min(count, block.shape[1])], array, at, stride)


def _pointers(
    context: Any, builder: Any, block: Any, array_type: Any, array: Any, at: Any, stride: Any
) -> list[Any]:
    vector = context.get_value_type(block.vector)
    first, step, n = _index(builder, at), _index(builder, stride), block.vector.lanes
    places = [(row, column) for row in range(block.rows) for column in range(block.columns)]
    offsets = [_at(builder, first, step, row, column * n) for row, column in places]
    return [pointer_to(context, builder, array_type, array, offset, vector) for offset in offsets]


@_literal_intrinsic(_read_reference)
def block_read(typingctx: Any, block: Any, array: Any, at: Any, stride: Any) -> Any:
    """Load a block of the shape of `block` from `array[at + i * stride + j]`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _pointers(context, builder, block, sig.args[1], *args[1:])
        items = [builder.load(pointer, align=array.dtype.bitwidth // 8) for pointer in pointers]
        return _pack(builder, args[0].type, items)

    return block(block, array, types.intp, types.intp), codegen


@_literal_intrinsic(_write_reference)
def block_write(typingctx: Any, block: Any, array: Any, at: Any, stride: Any) -> Any:
    """Store a block to `array[at + i * stride + j]`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _pointers(context, builder, block, sig.args[1], *args[1:])
        for i, pointer in enumerate(pointers):
            builder.store(builder.extract_value(args[0], i), pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(block, array, types.intp, types.intp), codegen


@_literal_intrinsic(_write_reference)
def block_stream(typingctx: Any, block: Any, array: Any, at: Any, stride: Any) -> Any:
    """Store a block with non-temporal stores; addresses must be multiples of a vector."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _pointers(context, builder, block, sig.args[1], *args[1:])
        one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        for i, pointer in enumerate(pointers):
            store = builder.store(builder.extract_value(args[0], i), pointer, align=VECTOR_BYTES)
            store.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    return types.void(block, array, types.intp, types.intp), codegen


def _prefetch_reference(*_: Any) -> None:
    pass


@_literal_intrinsic(_prefetch_reference)
def block_prefetch(typingctx: Any, block: Any, array: Any, at: Any, stride: Any) -> Any:
    """Prefetch a block of the shape of `block`; addresses outside the array are harmless."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        numbers = [ir.Constant(ir.IntType(32), value) for value in (0, 2, 1)]
        for pointer in _pointers(context, builder, block, sig.args[1], *args[1:]):
            byte = builder.bitcast(pointer, ir.IntType(8).as_pointer())
            kind = ir.FunctionType(ir.VoidType(), [byte.type, *[n.type for n in numbers]])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(function, [byte, *numbers])
        return context.get_dummy_value()

    return types.void(block, array, types.intp, types.intp), codegen


@_literal_intrinsic(_write_first_reference)
def block_write_first(
    typingctx: Any, block: Any, array: Any, at: Any, stride: Any, rows: Any, count: Any
) -> Any:
    """Store the first `count` elements of the first `rows` rows of a block."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _pointers(context, builder, block, sig.args[1], *args[1:4])
        high, limit, n = _index(builder, args[4]), _index(builder, args[5]), block.vector.lanes
        masks = [_lanes_below(builder, limit, column * n, n) for column in range(block.columns)]
        for i, pointer in enumerate(pointers):
            here = builder.icmp_signed("<", ir.Constant(high.type, i // block.columns), high)
            mask = builder.and_(masks[i % block.columns], spread(builder, here, n))
            _store_masked(builder, builder.extract_value(args[0], i), pointer, mask)
        return context.get_dummy_value()

    n = types.intp
    return types.void(block, array, n, n, n, n), codegen


def _copy_reference(x: np.ndarray, at: int, count: int, y: np.ndarray, to: int) -> None:
    span(y, to, count)[:] = span(x, at, count)


@_literal_intrinsic(_copy_reference)
def copy_first(typingctx: Any, x: Any, at: Any, count: Any, y: Any, to: Any) -> Any:
    """Copy `count` elements, at most one vector, from `x[at]` to `y[to]`."""
    vector_type = Vector(x.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(vector_type)
        source, limit, target = (_index(builder, args[i]) for i in (1, 2, 4))
        mask = _lanes_below(builder, limit, 0, vector_type.lanes)
        read = pointer_to(context, builder, sig.args[0], args[0], source, vector)
        written = pointer_to(context, builder, sig.args[3], args[3], target, vector)
        _store_masked(builder, _load_masked(builder, read, mask, vector), written, mask)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, y, types.intp), codegen


@_literal_intrinsic(lambda a, b: a + b)
def block_add(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the sum of two blocks."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pairs = [
            (builder.extract_value(args[0], i), builder.extract_value(args[1], i))
            for i in range(args[0].type.count)
        ]
        return _pack(builder, args[0].type, [builder.fadd(x, y) for x, y in pairs])

    return a(a, b), codegen

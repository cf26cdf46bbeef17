"""Words on windows: STRIPE_ROWS adjacent rows of one vector each, read from the array and weighed by taps.

See `simd` for the rules of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .blocks import items_of, pack_items
from .memory import _decode_vector, _load_as_twin, _memory
from .simd import LLVM_TYPES, Block, Vector, fused, lanes, opaque, pointer_to, span, spread, word
from .stripes import STRIPE_ROWS
from .valid import emit_view, view_twin


def _table_vector(
    context: Any, builder: Any, sig: Any, args: Any, row: int, vector: Vector, view: int
) -> Any:
    """The vector at element ``table[first + row] + offset`` of `memory`, as compute numbers."""
    memory, table, first, offset = args[:4]
    storage = sig.args[4]
    index = builder.add(first, ir.Constant(first.type, row))
    start = builder.load(pointer_to(context, builder, sig.args[1], table, index, ir.IntType(64)), align=8)
    kind = ir.VectorType(LLVM_TYPES[storage.element], vector.lanes)
    pointer = _memory(context, builder, memory, builder.add(start, offset), storage.element, kind)
    raw = builder.load(pointer, align=1)
    return emit_view(builder, _decode_vector(builder, storage, raw, context.get_value_type(vector)), view)


def emit_sweep(
    context: Any, builder: Any, pair: Any, kind: Any, total: Any, window: Any, weights: Any, at: Any,
    newest: Callable[[int], Any],
) -> Any:  # fmt: skip
    """STRIPE_ROWS times: drop the first vector of the window, append the newest, add what the window weighs."""
    sums, rows = items_of(builder, total), items_of(builder, window)
    for k in range(STRIPE_ROWS):
        rows = [*rows[1:], newest(k)]
        weight = spread_weight(context, builder, kind, weights, at, k, rows[0].type.count)
        sums = weigh(builder, weight, rows, sums)
    blocks = [pack_items(builder, total.type, items) for items in (sums, rows)]
    return context.make_tuple(builder, pair, blocks)


def emit_tail(
    context: Any, builder: Any, kind: Any, total: Any, window: Any, weights: Any, at: Any, count: Any,
    newest: Callable[[int], Any],
) -> Any:  # fmt: skip
    """As `emit_sweep` for the last taps, less than STRIPE_ROWS: what is left in the window is lost."""
    sums, rows = items_of(builder, total), items_of(builder, window)
    finished = builder.append_basic_block("tail.finished")
    ways = []
    for k in range(STRIPE_ROWS - 1):
        following = builder.append_basic_block(f"tail.{k}")
        ways.append((builder.block, sums))
        builder.cbranch(builder.icmp_signed(">", count, ir.Constant(count.type, k)), following, finished)
        builder.position_at_end(following)
        rows = [*rows[1:], newest(k)]
        weight = spread_weight(context, builder, kind, weights, at, k, rows[0].type.count)
        sums = weigh(builder, weight, rows, sums)
    ways.append((builder.block, sums))
    builder.branch(finished)
    builder.position_at_end(finished)
    return pack_items(builder, total.type, [merged(builder, ways, row) for row in range(STRIPE_ROWS)])


def merged(builder: Any, ways: list[tuple[Any, list[Any]]], row: int) -> Any:
    """The vector of a row that comes from one of several blocks."""
    phi = builder.phi(ways[0][1][row].type)
    for block, items in ways:
        phi.add_incoming(items[row], block)
    return phi


def spread_weight(context: Any, builder: Any, kind: Any, weights: Any, at: Any, k: int, lanes: int) -> Any:
    """``weights[at + k]`` in every lane."""
    here = builder.add(at, ir.Constant(at.type, k))
    weight = builder.load(pointer_to(context, builder, kind, weights, here, LLVM_TYPES[kind.dtype]))
    return spread(builder, weight, lanes)


def weigh(builder: Any, weight: Any, rows: list[Any], sums: list[Any]) -> list[Any]:
    """`sums`, zeros if there are none, plus `rows` times `weight`.

    A product alone would do for the first, but make negative zeros where the loops over any number of taps make none.
    """
    zero = ir.Constant(weight.type, [0.0] * weight.type.count)
    return [
        fused(builder, weight, row, old) for row, old in zip(rows, sums or [zero] * len(rows), strict=True)
    ]


def window_words(view: int) -> tuple[Callable[..., Any], ...]:
    """The words that read windows of STRIPE_ROWS rows, for one way of seeing the array.

    Row r starts at element ``table[first + r]``.  ``open(memory, table, first, offset, storage, like)`` leaves the
    first row undefined: it is pushed out.
    ``sweep(total, window, memory, table, row, offset, storage, weights, at)`` pushes STRIPE_ROWS rows and adds to
    `total` what each window weighs; no register is moved.  ``tail(..., count)`` does so for `count` rows, fewer than
    STRIPE_ROWS, and returns the total only.
    """

    def read(memory: np.ndarray, at: int, storage: Any, like: Any) -> np.ndarray:
        return view_twin(_load_as_twin(memory, at, storage, like), view)

    def open_twin(
        memory: np.ndarray, table: np.ndarray, first: int, offset: int, storage: Any, like: Any
    ) -> np.ndarray:
        rows = [read(memory, table[first + row] + offset, storage, like) for row in range(STRIPE_ROWS - 1)]
        return np.stack([np.full_like(rows[0], np.nan), *rows])

    def push_twin(
        window: np.ndarray, memory: np.ndarray, table: np.ndarray, row: int, offset: int, storage: Any
    ) -> np.ndarray:
        newest = read(memory, table[row] + offset, storage, window[0, 0])
        return np.concatenate([window[1:], newest[None]])

    def sweep_twin(
        total: np.ndarray, window: np.ndarray, memory: np.ndarray, table: np.ndarray, row: int, offset: int,
        storage: Any, weights: np.ndarray, at: int,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        for k in range(STRIPE_ROWS):
            window = push_twin(window, memory, table, row + k, offset, storage)
            total = (span(weights, at + k, 1)[0] * window + total).astype(total.dtype)
        return total, window

    def tail_twin(
        total: np.ndarray, window: np.ndarray, memory: np.ndarray, table: np.ndarray, row: int, offset: int,
        storage: Any, weights: np.ndarray, at: int, count: int,
    ) -> np.ndarray:  # fmt: skip
        for k in range(count):
            window = push_twin(window, memory, table, row + k, offset, storage)
            total = (span(weights, at + k, 1)[0] * window + total).astype(total.dtype)
        return total

    def emit_open(
        typingctx: Any, memory: Any, table: Any, first: Any, offset: Any, storage: Any, like: Any
    ) -> Any:
        block = Block(like, STRIPE_ROWS, 1)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = context.get_value_type(block)
            rows = range(STRIPE_ROWS - 1)
            items = [_table_vector(context, builder, sig, args, row, block.vector, view) for row in rows]
            items.insert(0, ir.Constant(kind.element, ir.Undefined))
            return pack_items(builder, kind, items)

        return block(memory, table, types.intp, types.intp, storage, like), codegen

    def emit_rows(
        typingctx: Any, total: Any, window: Any, memory: Any, table: Any, row: Any, offset: Any, storage: Any,
        weights: Any, at: Any,
    ) -> Any:  # fmt: skip
        pair = types.UniTuple(total, 2)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shifted = total(*sig.args[2:7])

            def newest(k: int) -> Any:
                return _table_vector(context, builder, shifted, args[2:7], k, window.vector, view)

            return emit_sweep(context, builder, pair, weights, args[0], args[1], args[7], args[8], newest)

        return pair(
            total, window, memory, table, types.intp, types.intp, storage, weights, types.intp
        ), codegen

    def emit_last(
        typingctx: Any, total: Any, window: Any, memory: Any, table: Any, row: Any, offset: Any, storage: Any,
        weights: Any, at: Any, count: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shifted = total(*sig.args[2:7])

            def newest(k: int) -> Any:
                return _table_vector(context, builder, shifted, args[2:7], k, window.vector, view)

            return emit_tail(context, builder, weights, args[0], args[1], args[7], args[8], args[9], newest)

        whole = types.intp
        return total(total, window, memory, table, whole, whole, storage, weights, whole, whole), codegen

    return (
        word(open_twin)(emit_open), word(sweep_twin)(emit_rows), word(tail_twin)(emit_last),
    )  # fmt: skip


def weigh_rows_word(view: int, taps: int) -> Callable[..., Any]:
    """The word ``(memory, table, first, offset, storage, weights, at)``: what `taps` taps weigh.

    Row r starts at element ``table[first + r]``.
    """

    def twin(
        memory: np.ndarray,
        table: np.ndarray,
        first: int,
        offset: int,
        storage: Any,
        weights: np.ndarray,
        at: int,
    ) -> np.ndarray:
        total = np.zeros((STRIPE_ROWS, lanes(weights.dtype)), weights.dtype)
        for k in range(taps):
            rows = [
                view_twin(_load_as_twin(memory, table[first + row] + offset, storage, total[0, 0]), view)
                for row in range(k, k + STRIPE_ROWS)
            ]
            total = (span(weights, at + k, 1)[0] * np.stack(rows) + total).astype(total.dtype)
        return total

    def emit(
        typingctx: Any, memory: Any, table: Any, first: Any, offset: Any, storage: Any, weights: Any, at: Any
    ) -> Any:
        block = Block(weights.dtype, STRIPE_ROWS, 1)
        element = LLVM_TYPES[storage.element]

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vector = context.get_value_type(block.vector)
            stored = ir.VectorType(element, vector.count).as_pointer()
            column = opaque(builder, _memory(context, builder, args[0], args[3], storage.element, element))
            starts = pointer_to(context, builder, table, args[1], args[2], ir.IntType(64))
            sums: list[Any] = []
            rows: list[Any] = []
            for k in range(STRIPE_ROWS + taps - 1):
                start = builder.load(builder.gep(starts, [ir.Constant(ir.IntType(64), k)]), align=8)
                raw = builder.load(builder.bitcast(builder.gep(column, [start]), stored), align=1)
                rows.append(emit_view(builder, _decode_vector(builder, storage, raw, vector), view))
                tap = k - STRIPE_ROWS + 1
                if tap >= 0:
                    weight = spread_weight(context, builder, weights, *args[5:], tap, vector.count)
                    sums = weigh(builder, weight, rows[tap:], sums)
            return pack_items(builder, context.get_value_type(block), sums)

        whole = types.intp
        return block(memory, table, whole, whole, storage, weights, whole), codegen

    return word(twin)(emit)

"""Words on stripes: rows of one vector each, read from and written to the arrays themselves.

A stripe is a `simd.Block` of one column: STRIPE_ROWS rows where it is read, any number where it is written.  See `simd`
for the rules of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config

from .blocks import BlockWords, items_of, pack_items
from .jit import inlined
from .memory import (
    _decode_vector,
    _encode_vector,
    _load_as_twin,
    _load_first_twin,
    _mask,
    _masked_load,
    _masked_store,
    _memory,
    _store_first_twin,
    prefetch,
)
from .simd import (
    LLVM_TYPES,
    VECTOR_BYTES,
    Block,
    Vector,
    fused,
    pointer_to,
    span,
    spread,
    word,
)
from .valid import emit_normalised, emit_view, normalised_twin, view_twin

# a row that is read serves as many output rows: two stripes and their sums fit 32 registers, one and its sums fit 16
STRIPE_ROWS = 8 if VECTOR_BYTES == 64 else 4
SLIDES = bool(config.DISABLE_JIT) or (
    VECTOR_BYTES == 64 and binding.get_default_triple().startswith("x86_64")
)  # whether one instruction takes any vector out of two adjacent ones

_words = BlockWords(STRIPE_ROWS, 1)
zero_stripe, fma_stripe = _words.zero, _words.fma
save_stripe, kept_stripe = _words.write_adjacent, _words.read_adjacent


# --------------------------------------------------------------------------- reading


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


@inlined
def ask_for_rows(memory, table, first, count, offset, storage):
    """Ask for one cache line of each of `count` rows, `offset` elements from where the table says."""
    for row in range(first, first + count):
        prefetch(memory, table[row] + offset, storage)


def emit_sweep(
    context: Any, builder: Any, pair: Any, kind: Any, total: Any, window: Any, weights: Any, at: Any,
    newest: Callable[[int], Any],
) -> Any:  # fmt: skip
    """STRIPE_ROWS times: drop the first vector of the window, append the newest, add what the window weighs."""
    sums, rows = items_of(builder, total), items_of(builder, window)
    for k in range(STRIPE_ROWS):
        rows = [*rows[1:], newest(k)]
        sums = weigh(context, builder, kind, weights, at, k, rows, sums)
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
        sums = weigh(context, builder, kind, weights, at, k, rows, sums)
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


def weigh(
    context: Any, builder: Any, kind: Any, weights: Any, at: Any, k: int, rows: list[Any], sums: list[Any]
) -> list[Any]:
    """`sums` plus `rows` times ``weights[at + k]``."""
    weight = spread_weight(context, builder, kind, weights, at, k, rows[0].type.count)
    return [fused(builder, weight, row, old) for row, old in zip(rows, sums, strict=True)]


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


# --------------------------------------------------------------------------- writing


@word(lambda stripe, divisor: stripe / divisor)
def divide_stripe(typingctx: Any, stripe: Any, divisor: Any) -> Any:
    """Every number divided by the same."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        divisors = spread(builder, args[1], stripe.vector.lanes)
        return pack_items(
            builder, args[0].type, [builder.fdiv(v, divisors) for v in items_of(builder, args[0])]
        )

    return stripe(stripe, divisor), codegen


@word(lambda condition, stripe: stripe if condition else np.zeros_like(stripe))
def stripe_if(typingctx: Any, condition: Any, stripe: Any) -> Any:
    """The stripe, or zeros; without a branch, at whose end LLVM would copy it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        one = builder.trunc(args[0], ir.IntType(1)) if args[0].type != ir.IntType(1) else args[0]
        mask = spread(builder, one, stripe.vector.lanes)
        vectors = items_of(builder, args[1])
        zero = ir.Constant(vectors[0].type, [0.0] * stripe.vector.lanes)
        return pack_items(builder, args[1].type, [builder.select(mask, v, zero) for v in vectors])

    return stripe(types.boolean, stripe), codegen


def _write_rows(builder: Any, rows: Any, vectors: list[Any], write: Callable[[int, Any], None]) -> None:
    """Write the first `rows` vectors."""
    for row, vector in enumerate(vectors):
        with cgutils.if_likely(builder, builder.icmp_signed(">", rows, ir.Constant(rows.type, row))):
            write(row, vector)


def _row_offset(builder: Any, offset: Any, stride: Any, row: int) -> Any:
    return builder.add(offset, builder.mul(stride, ir.Constant(stride.type, row)))


def _write_twin(
    memory: np.ndarray, offset: int, stride: int, rows: int, count: int, storage: Any, stripe: np.ndarray
) -> None:
    for row in range(rows):
        _store_first_twin(memory, offset + row * stride, count, storage, stripe[row])


def _whole_twin(
    memory: np.ndarray, offset: int, stride: int, rows: int, storage: Any, stripe: np.ndarray
) -> None:
    _write_twin(memory, offset, stride, rows, stripe.shape[1], storage, stripe)


def _whole_stripe(nontemporal: bool) -> Callable[..., Any]:
    def emit(
        typingctx: Any, memory: Any, offset: Any, stride: Any, rows: Any, storage: Any, stripe: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def write(row: int, vector: Any) -> None:
                stored = _encode_vector(builder, storage, vector)
                at = _row_offset(builder, args[1], args[2], row)
                pointer = _memory(context, builder, args[0], at, storage.element, stored.type)
                wide = stored.type.count * storage.element.bitwidth // 8
                instruction = builder.store(stored, pointer, align=wide if nontemporal else 1)
                if nontemporal:
                    one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
                    instruction.set_metadata("nontemporal", one)

            _write_rows(builder, args[3], items_of(builder, args[5]), write)
            return context.get_dummy_value()

        return types.void(memory, types.intp, types.intp, types.intp, storage, stripe), codegen

    return word(_whole_twin)(emit)


write_stripe = _whole_stripe(nontemporal=False)
stream_stripe = _whole_stripe(
    nontemporal=True
)  # past the caches; every row must be aligned to what is written


@word(_write_twin)
def write_first(
    typingctx: Any, memory: Any, offset: Any, stride: Any, rows: Any, count: Any, storage: Any, stripe: Any
) -> Any:
    """The first `count` columns of the first `rows` rows."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = _mask(builder, args[4], stripe.vector.lanes)

        def write(row: int, vector: Any) -> None:
            stored = _encode_vector(builder, storage, vector)
            at = _row_offset(builder, args[1], args[2], row)
            pointer = _memory(context, builder, args[0], at, storage.element, stored.type)
            _masked_store(builder, stored, pointer, mask)

        _write_rows(builder, args[3], items_of(builder, args[6]), write)
        return context.get_dummy_value()

    return types.void(memory, types.intp, types.intp, types.intp, types.intp, storage, stripe), codegen


def _normalise_twin(
    memory: np.ndarray, offset: int, stride: int, rows: int, count: int, storage: Any, share: np.ndarray,
    weight: Any, least: Any, close: Any,
) -> None:  # fmt: skip
    for row in range(rows):
        at = offset + row * stride
        total = _load_first_twin(memory, at, count, storage, share[0, 0])
        normal = normalised_twin(total, share[row], weight, least, close)
        _store_first_twin(memory, at, count, storage, normal)


@word(_normalise_twin)
def normalise_stripe(
    typingctx: Any, memory: Any, offset: Any, stride: Any, rows: Any, count: Any, storage: Any, share: Any,
    weight: Any, least: Any, close: Any,
) -> Any:  # fmt: skip
    """The first `count` columns of `rows` rows of sums, divided by their share (`valid`); sums are compute numbers."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = _mask(builder, args[4], share.vector.lanes)

        def write(row: int, vector: Any) -> None:
            at = _row_offset(builder, args[1], args[2], row)
            pointer = _memory(context, builder, args[0], at, storage.element, vector.type)
            total = _masked_load(builder, pointer, mask, vector.type)
            _masked_store(builder, emit_normalised(builder, total, vector, *args[7:]), pointer, mask)

        _write_rows(builder, args[3], items_of(builder, args[6]), write)
        return context.get_dummy_value()

    numbers = (weight, least, close)
    return types.void(
        memory, types.intp, types.intp, types.intp, types.intp, storage, share, *numbers
    ), codegen

"""Loops over blocks of columns for few taps, whose weights stay in registers.

Each intrinsic emits a loop for each of a few numbers of taps.  They add the same products in the same order as the
loops of `vertical` and `horizontal` for any number of taps.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...lowering.target import LINE_VECTORS, VECTORS
from ..intrinsics.adjacent import from_element, halves
from ..intrinsics.memory import _decode_vector, _load_first_reference, _memory, _store_as_reference
from ..intrinsics.row_sums import emit_fetch
from ..intrinsics.vectors import (
    LINE_BYTES,
    LLVM_TYPES,
    TARGET,
    VECTOR_BYTES,
    fused,
    lanes,
    pointer_to,
    span,
    spread,
    vector_intrinsic,
)
from ..jit import inlined
from .epilogue import encode_vectors
from .nan_aware import emit_view, view_reference

ROW_TAPS, COLUMN_TAPS = (3, 5), (1, 3, 5)
WRITTEN_AHEAD = 512  # bytes from a converted output to the one whose cache line is prefetched
ROWS = TARGET.block_rows
_INT = ir.IntType(64)


@inlined
def few_row_taps(taps):
    """Return whether `few_rows` has a loop for this number of taps."""
    return taps == 3 or taps == 5


@inlined
def few_column_taps(taps):
    """Return whether `few_columns` has a loop for this number of taps."""
    return taps == 1 or taps == 3 or taps == 5


def _weights(
    context: Any, builder: Any, line: Any, weights: Any, first: Any, taps: int, kind: Any
) -> list[Any]:
    """Emit the loads of `taps` weights and return them as vectors."""
    start = pointer_to(context, builder, line, weights, first, kind.element)
    numbers = [builder.load(builder.gep(start, [_INT(k)])) for k in range(taps)]
    return [spread(builder, number, kind.count) for number in numbers]


def _each_number(builder: Any, taps: Any, numbers: tuple[int, ...], emit: Callable[[int], None]) -> None:
    """Emit code for each of these numbers of taps."""
    end = builder.append_basic_block("few.end")
    switch = builder.switch(taps, end)
    for n in numbers:
        block = builder.append_basic_block(f"few.{n}")
        switch.add_case(_INT(n), block)
        builder.position_at_end(block)
        emit(n)
        builder.branch(end)
    builder.position_at_end(end)


@functools.cache
def few_rows(view: int) -> Callable[..., Any]:
    """Return the intrinsic for vertical sums of few rows in whole blocks of VECTORS vectors.

    ``(x, table, row, offset, blocks, storage, weights, first, taps, work, target, stride)`` writes the sums of ROWS
    rows to ``work[target + r * stride]`` for row r.  A sum is written as soon as it is complete, so that only as many
    as there are taps occupy registers.
    """

    def emit(
        typingctx: Any, x: Any, table: Any, row: Any, offset: Any, blocks: Any, storage: Any, weights: Any, first: Any,
        taps: Any, work: Any, target: Any, stride: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            memory, table_, row_, offset_, blocks_, _, weights_, first_, taps_, work_, target_, stride_ = args
            kind = ir.VectorType(LLVM_TYPES[work.dtype], VECTOR_BYTES * 8 // work.dtype.bitwidth)
            raw, width = ir.VectorType(LLVM_TYPES[storage.element], kind.count), VECTORS * kind.count
            zero = ir.Constant(kind, None)
            starts = pointer_to(context, builder, sig.args[1], table_, row_, _INT)

            def emit_number(n: int) -> None:
                spreads = _weights(context, builder, sig.args[6], weights_, first_, n, kind)
                with cgutils.for_range(builder, blocks_) as loop:
                    j = builder.mul(loop.index, _INT(width))
                    column = _memory(
                        context, builder, memory, builder.add(offset_, j), storage.element, raw.element
                    )
                    to = pointer_to(
                        context, builder, sig.args[9], work_, builder.add(target_, j), kind.element
                    )
                    sums: dict[int, list[Any]] = {}
                    for k in range(ROWS + n - 1):
                        at = builder.load(builder.gep(starts, [_INT(k)]), align=8)
                        here = builder.bitcast(builder.gep(column, [at]), raw.as_pointer())
                        loaded = [builder.load(builder.gep(here, [_INT(c)]), align=1) for c in range(VECTORS)]
                        row_of = [
                            emit_view(builder, _decode_vector(builder, storage, v, kind), view)
                            for v in loaded
                        ]
                        for r in range(max(0, k - n + 1), min(ROWS, k + 1)):
                            before = sums.pop(r, [zero] * VECTORS)
                            now = [
                                fused(builder, spreads[k - r], v, s)
                                for v, s in zip(row_of, before, strict=True)
                            ]
                            if k - r < n - 1:
                                sums[r] = now
                                continue
                            there = builder.gep(to, [builder.mul(stride_, _INT(r))])
                            there = builder.bitcast(there, kind.as_pointer())
                            for c, total in enumerate(now):
                                builder.store(
                                    total, builder.gep(there, [_INT(c)]), align=work.dtype.bitwidth // 8
                                )

            _each_number(builder, taps_, ROW_TAPS, emit_number)
            return context.get_dummy_value()

        n = types.int64
        return types.void(x, table, n, n, n, storage, weights, n, n, work, n, n), codegen

    def reference(x, table, row, offset, blocks, storage, weights, first, taps, work, target, stride):
        count = lanes(work.dtype)
        for j in range(0, blocks * VECTORS * count, count):
            for r in range(ROWS):
                total = np.zeros(count, work.dtype)
                for k in range(taps):
                    at = table[row + r + k] + offset + j
                    seen = _load_first_reference(x, at, count, storage, work.dtype.type(0))
                    total = weights[first + k] * view_reference(seen, view) + total
                span(work, target + r * stride + j, count)[:] = total

    return vector_intrinsic(reference)(emit)


def _shifted(
    builder: Any, load: Callable[[int], Any], taps: int, column: int, loaded: list[Any]
) -> list[Any]:
    """Return the vectors that begin at elements 0, 1 ... `taps` - 1, where ``load(k)`` loads the one at element k.

    On AVX-512, `loaded` are the adjacent vectors of the block, of which `column` is the first.
    """
    if VECTOR_BYTES == 64:
        return [from_element(builder, *loaded[column : column + 2], k) for k in range(taps)]
    if VECTOR_BYTES == 16 or column == LINE_VECTORS - 1:  # a few loads are hidden behind the shuffles
        return [load(k) for k in range(taps)]
    even = [load(k) for k in range(0, taps, 2)]
    picked = [1, 2, 1, 2] if even[0].type.count == 8 else [1, 0]
    odd = [halves(builder, a, b, picked) for a, b in itertools.pairwise(even)]
    return [(odd if k % 2 else even)[k // 2] for k in range(taps)]


def _divided(builder: Any, totals: list[Any], divisor: Any) -> list[Any]:
    """Divide sums, unless the divisor is 1."""
    slots = [cgutils.alloca_once_value(builder, total) for total in totals]
    for slot, total in zip(slots, totals, strict=True):
        builder.store(total, slot)
    with builder.if_then(builder.fcmp_unordered("!=", divisor, divisor.type(1.0))):
        divisors = spread(builder, divisor, totals[0].type.count)
        for slot, total in zip(slots, totals, strict=True):
            builder.store(builder.fdiv(total, divisors), slot)
    return [builder.load(slot) for slot in slots]


@functools.cache
def few_columns(streams: bool) -> Callable[..., Any]:
    """Return the intrinsic for sums along a row, with few taps, in whole blocks of LINE_VECTORS vectors.

    ``(work, at, weights, first, taps, storage, y, target, blocks, streamed, divisor, x, below, step)`` divides,
    converts and stores the sums from ``y[target]`` on.  If it `streams`, numbers are stored as computed, and with
    `streamed` by non-temporal stores.  It prefetches `x` from byte `below` on, `step` bytes further for each block.
    """

    def emit(
        typingctx: Any, work: Any, at: Any, weights: Any, first: Any, taps: Any, storage: Any, y: Any, target: Any,
        blocks: Any, streamed: Any, divisor: Any, x: Any, below: Any, step: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            (
                work_,
                at_,
                weights_,
                first_,
                taps_,
                _,
                memory,
                target_,
                blocks_,
                streamed_,
                divisor_,
                x_,
                below_,
                step_,
            ) = args
            kind = ir.VectorType(LLVM_TYPES[work.dtype], VECTOR_BYTES * 8 // work.dtype.bitwidth)
            item, width, zero = work.dtype.bitwidth // 8, LINE_VECTORS * kind.count, ir.Constant(kind, None)
            byte, stored_bytes = ir.IntType(8), storage.element.bitwidth // 8
            one, past = (
                builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]),
                builder.icmp_signed("!=", streamed_, _INT(0)),
            )

            def store(j: Any, totals: list[Any], nontemporal: bool) -> None:
                for i, stored in enumerate(encode_vectors(builder, storage, totals)):
                    here = builder.add(builder.add(target_, j), _INT(i * stored.type.count))
                    to = _memory(context, builder, memory, here, storage.element, stored.type)
                    written = builder.store(stored, to, align=VECTOR_BYTES if nontemporal else 1)
                    if nontemporal:
                        written.set_metadata("nontemporal", one)

            def emit_number(n: int) -> None:
                spreads = _weights(context, builder, sig.args[2], weights_, first_, n, kind)
                with cgutils.for_range(builder, blocks_) as loop:
                    j = builder.mul(loop.index, _INT(width))
                    for line in range(0, LINE_VECTORS * kind.count * stored_bytes, LINE_BYTES):
                        at_below = builder.add(
                            below_, builder.add(builder.mul(loop.index, step_), _INT(line))
                        )
                        emit_fetch(builder, pointer_to(context, builder, x, x_, at_below, byte))
                    if not streams:
                        there = builder.add(
                            builder.mul(builder.add(target_, j), _INT(stored_bytes)), _INT(WRITTEN_AHEAD)
                        )
                        emit_fetch(
                            builder, pointer_to(context, builder, y, memory, there, byte), written=True
                        )
                    begin = pointer_to(
                        context, builder, sig.args[0], work_, builder.add(at_, j), kind.element
                    )

                    def load(element: int) -> Any:
                        there = builder.bitcast(builder.gep(begin, [_INT(element)]), kind.as_pointer())
                        return builder.load(there, align=item)

                    whole = LINE_VECTORS + 1 if VECTOR_BYTES == 64 else 0
                    loaded, totals = [load(c * kind.count) for c in range(whole)], []
                    for c in range(LINE_VECTORS):
                        first_element = c * kind.count
                        shifted = _shifted(builder, lambda k, e=first_element: load(e + k), n, c, loaded)
                        total = zero
                        for weight, vector in zip(spreads, shifted, strict=True):
                            total = fused(builder, weight, vector, total)
                        totals.append(total)
                    totals = _divided(builder, totals, divisor_)
                    if streams:
                        with builder.if_else(past) as (then, otherwise):
                            with then:
                                store(j, totals, nontemporal=True)
                            with otherwise:
                                store(j, totals, nontemporal=False)
                    else:
                        store(j, totals, nontemporal=False)

            _each_number(builder, taps_, COLUMN_TAPS, emit_number)
            return context.get_dummy_value()

        n = types.int64
        return types.void(work, n, weights, n, n, storage, y, n, n, n, divisor, x, n, n), codegen

    def reference(
        work, at, weights, first, taps, storage, y, target, blocks, streamed, divisor, x, below, step
    ):
        count = lanes(work.dtype)
        for j in range(0, blocks * LINE_VECTORS * count, count):
            total = np.zeros(count, work.dtype)
            for k in range(taps):
                total = weights[first + k] * span(work, at + j + k, count) + total
            _store_as_reference(y, target + j, storage, total / divisor)

    return vector_intrinsic(reference)(emit)

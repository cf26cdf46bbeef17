"""Intrinsic for flat kernels: a small program of row sums and shifts on a block of columns, in registers.

A block of sums, `VECTORS + extra` vectors wide, takes rows one after the other.  Whenever it holds the sum of a column
of the kernel, it is shifted to that column and added, under its weight, to a block of VECTORS results.  So sums are
neither stored nor loaded again.  Shifts are permutations of two vectors, of which AVX-512 has one for any distance.

The floor, on one core of Zen 4 at 3.7 GHz, for 16 results in float32: loading and adding a row takes 0.32 ns, times
``1 + extra / VECTORS``; a permutation 0.27 ns; a product and a sum, beside additions, 0.18 ns.  All three share the
units of the processor: with as many rows as shifts it is 0.57 ns for one of each, and 0.64 ns are reached.  A disk of
radius 16 takes 33 of each, 21 ns.  From row buffers (`flat`), storing a sum takes 0.64 ns and loading it, where it
crosses cache lines, 0.45 to 0.5 ns, which makes 39 ns.  Integers of 16 bits take half of this.  Rows that do not fit
the first-level cache (radius 25) take twice as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .register_blocks import pack_items
from .vectors import (
    VECTOR_BYTES,
    Block,
    Vector,
    call_intrinsic,
    fused,
    lanes,
    pointer_to,
    span,
    spread,
    vector_intrinsic,
)

AVAILABLE = VECTOR_BYTES == 64

VECTORS = 8  # of results
MOST_EXTRA = 4  # further vectors of the sums, as many as their registers are

# strokes[STROKE * stroke + ...]
CODE, OPERAND, STROKE = range(3)
CLEAR, ROW, SAVE, RESTORE, FLUSH, SHIFT = range(6)
"""What a stroke does: nothing is summed any more; entry OPERAND of the row table is added; the sums go to place OPERAND
of the workspace, or come from there; sums of bytes are weighed and added to the results; the sums are added to the
results, moved by CODE - SHIFT vectors and OPERAND numbers, see `shift_code`."""
MOST_BYTES = 65535 // 255  # that are added up without overflow of their sums


def shift_code(elements: int, count: int) -> tuple[int, int]:
    """CODE and OPERAND of a shift by so many elements, in vectors of `count`."""
    return SHIFT + elements // count, elements % count


def strokes_intrinsic(extra: int, small: bool) -> Callable[..., Any]:
    """Intrinsic ``(work, table, strokes, weights, count, row, here)``: a block of results.

    `count` strokes are gone through, with `weights` for each; entries of the row table count from `row` on, and
    elements of rows from `here` on.  With `small`, rows hold integers of 16 bits, two in the place of a float32; their
    sums are integers, too, until they are flushed.
    """
    narrow = VECTORS // 2 if small else VECTORS  # vectors of sums that make results
    wide = narrow + extra

    def emit(
        typingctx: Any, work: Any, table: Any, strokes: Any, weights: Any, count: Any, row: Any, here: Any
    ) -> Any:
        block, n = Block(work.dtype, 1, VECTORS), types.int64
        size = Vector(work.dtype).lanes

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            work_, _, _, _, count_, row_, here_ = args
            vector, whole = context.get_value_type(Vector(work.dtype)), ir.IntType(64)
            kind = ir.VectorType(ir.IntType(16), 2 * size) if small else vector
            align = 2 if small else work.dtype.bitwidth // 8
            zero, nothing = ir.Constant(vector, None), ir.Constant(kind, None)
            first = builder.ashr(here_, whole(1)) if small else here_

            def registers(value: Any, number: int) -> list[Any]:
                slots = [cgutils.alloca_once_value(builder, value) for _ in range(number)]
                fill(value, slots)
                return slots

            def fill(value: Any, slots: list[Any]) -> None:
                for slot in slots:
                    builder.store(value, slot)

            def plus(one: Any, other: Any) -> Any:
                return builder.add(one, other) if small else builder.fadd(one, other)

            sums, results = registers(nothing, wide), registers(zero, VECTORS)
            pending = (
                registers(nothing, narrow) if small else []
            )  # sums of bytes that are shifted, but not weighed

            def number(array: int, at: Any, kind: Any = whole) -> Any:
                return builder.load(pointer_to(context, builder, sig.args[array], args[array], at, kind))

            def places_at(at: Any) -> list[Any]:
                start = pointer_to(context, builder, sig.args[0], work_, at, kind)
                return [builder.gep(start, [whole(v)]) for v in range(wide)]

            def weight_of(stroke: Any) -> Any:
                return spread(builder, number(3, stroke, vector.element), size)

            def shift(by: int, operand: Any, stroke: Any) -> None:
                weight = None if small else weight_of(stroke)
                for r, result in enumerate(pending or results):
                    low, high = (builder.load(sums[min(r + by + more, wide - 1)]) for more in (0, 1))
                    moved = _shifted(builder, low, high, operand)
                    before = builder.load(result)
                    after = plus(before, moved) if small else fused(builder, weight, moved, before)
                    builder.store(after, result)

            def flush(stroke: Any) -> None:
                weight = weight_of(stroke)
                for r, result in enumerate(results if small else []):
                    half = _half(builder, builder.load(pending[r // 2]), r % 2, vector)
                    builder.store(fused(builder, weight, half, builder.load(result)), result)
                fill(nothing, pending)

            with cgutils.for_range_slice(builder, whole(0), count_, whole(1)) as (i, _):
                entry = builder.mul(i, whole(STROKE))
                code, operand = (number(2, builder.add(entry, whole(field))) for field in (CODE, OPERAND))
                end = builder.append_basic_block("stroke_done")
                switch = builder.switch(code, end)

                def case(value: int, end: Any = end, switch: Any = switch) -> None:
                    here = builder.append_basic_block(f"stroke_{value}")
                    switch.add_case(whole(value), here)
                    builder.position_at_end(here)

                case(ROW)
                at = builder.add(number(1, builder.add(operand, row_)), first)
                for pointer, slot in zip(places_at(at), sums, strict=True):
                    builder.store(plus(builder.load(slot), builder.load(pointer, align=align)), slot)
                builder.branch(end)
                for by in range(extra + 1):
                    case(SHIFT + by)
                    shift(by, operand, i)
                    builder.branch(end)
                case(CLEAR)
                fill(nothing, sums)
                builder.branch(end)
                case(FLUSH)
                flush(i)
                builder.branch(end)
                case(SAVE)
                for pointer, slot in zip(places_at(operand), sums, strict=True):
                    builder.store(builder.load(slot), pointer, align=align)
                builder.branch(end)
                case(RESTORE)
                for pointer, slot in zip(places_at(operand), sums, strict=True):
                    builder.store(builder.load(pointer, align=align), slot)
                builder.branch(end)
                builder.position_at_end(end)
            return pack_items(
                builder, context.get_value_type(block), [builder.load(result) for result in results]
            )

        return block(work, table, strokes, weights, n, n, n), codegen

    def reference(
        work: np.ndarray, table: np.ndarray, strokes: np.ndarray, weights: np.ndarray, count: int, row: int, here: int
    ) -> np.ndarray:  # fmt: skip
        kind = np.dtype(np.uint16) if small else work.dtype
        size = VECTOR_BYTES // kind.itemsize

        def place(at: int) -> np.ndarray:
            return span(work, at, wide * size * kind.itemsize // work.itemsize).view(kind)

        sums, results = np.zeros(wide * size, kind), np.zeros(VECTORS * lanes(work.dtype), work.dtype)
        pending = np.zeros(results.size, kind)
        for i in range(count):
            code, operand = strokes[STROKE * i : STROKE * (i + 1)]
            if code == ROW:
                sums += place(table[operand + row] + here // (2 if small else 1))
            elif code == CLEAR:
                sums[:] = 0
            elif code == SAVE:
                place(operand)[:] = sums
            elif code == RESTORE:
                sums[:] = place(operand)
            elif code == FLUSH:
                results += weights[i] * pending
                pending[:] = 0
            else:
                moved = span(sums, (code - SHIFT) * size + operand, results.size)
                if small:
                    pending += moved
                else:
                    results += weights[i] * moved
        return results[None]

    return vector_intrinsic(reference)(emit)


def _shifted(builder: Any, low: Any, high: Any, by: Any) -> Any:
    """The vector that begins `by` numbers behind the start of two adjacent ones."""
    size = low.type.count
    bits, name = {16: (32, "ps"), 8: (64, "pd"), 32: (16, "hi")}[size]
    index = by if bits == 64 else builder.trunc(by, ir.IntType(bits))
    steps = ir.Constant(ir.VectorType(ir.IntType(bits), size), list(range(size)))
    places = builder.add(spread(builder, index, size), steps)
    return call_intrinsic(builder, f"llvm.x86.avx512.vpermi2var.{name}.512", low.type, low, places, high)


def _half(builder: Any, integers: Any, half: int, to: Any) -> Any:
    """The first or the second half of a vector of 16-bit integers without sign, as numbers."""
    mask = ir.Constant(
        ir.VectorType(ir.IntType(32), to.count), [half * to.count + i for i in range(to.count)]
    )
    part = builder.shuffle_vector(integers, integers, mask)
    whole = builder.zext(part, ir.VectorType(ir.IntType(32), to.count))
    return builder.sitofp(whole, to)


def _narrow_reference(work: np.ndarray, source: int, target: int) -> None:
    count = lanes(work.dtype)
    span(work, target, count).view(np.uint16)[:] = span(work, source, 2 * count).astype(np.int64)


@vector_intrinsic(_narrow_reference)
def narrow_vectors(typingctx: Any, work: Any, source: Any, target: Any) -> Any:
    """Two vectors of float32 that are integers from 0 to 65535, as integers of 16 bits in the place of one."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        size = Vector(work.dtype).lanes
        number = ir.VectorType(ir.FloatType(), 2 * size)
        wide = builder.load(pointer_to(context, builder, sig.args[0], args[0], args[1], number), align=4)
        integers = builder.fptosi(wide, ir.VectorType(ir.IntType(32), 2 * size))
        small = builder.trunc(integers, ir.VectorType(ir.IntType(16), 2 * size))
        builder.store(small, pointer_to(context, builder, sig.args[0], args[0], args[2], small.type), align=4)
        return context.get_dummy_value()

    return types.void(work, types.intp, types.intp), codegen

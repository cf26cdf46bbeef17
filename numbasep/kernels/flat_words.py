"""The word that computes a flat kernel in registers: a small program of rows and shifts, on a block of columns.

A block of sums, `VECTORS + extra` vectors wide, takes rows one after the other.  Whenever it holds the sum of a column
of the kernel, it is shifted to that column and added, under its weight, to a block of VECTORS results.  So sums are
neither stored nor loaded again.  Shifts are permutations of two vectors, of which AVX-512 has one for any distance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .blocks import pack_items
from .simd import VECTOR_BYTES, Block, Vector, call_intrinsic, fused, lanes, pointer_to, span, spread, word

AVAILABLE = VECTOR_BYTES == 64

VECTORS = 8  # of results
MOST_EXTRA = 4  # further vectors of the sums, as many as their registers are

# strokes[STROKE * stroke + ...]
CODE, OPERAND, STROKE = range(3)
CLEAR, ROW, SAVE, RESTORE, SHIFT = range(5)
"""What a stroke does: nothing is summed any more; entry OPERAND of the row table is added; the sums go to place OPERAND
of the workspace, or come from there; they are added to the results, moved by OPERAND - SHIFT vectors and numbers, see
`shift_code`."""


def shift_code(elements: int, count: int) -> tuple[int, int]:
    """CODE and OPERAND of a shift by so many elements, in vectors of `count`."""
    return SHIFT + elements // count, elements % count


def strokes_word(extra: int) -> Callable[..., Any]:
    """The word ``(work, table, strokes, weights, count, row, here)``: a block of results.

    `count` strokes are gone through, with `weights` for each; entries of the row table count from `row` on, and
    elements of rows from `here` on.
    """
    wide = VECTORS + extra

    def emit(
        typingctx: Any, work: Any, table: Any, strokes: Any, weights: Any, count: Any, row: Any, here: Any
    ) -> Any:
        block, n = Block(work.dtype, 1, VECTORS), types.int64
        size = Vector(work.dtype).lanes

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            work_, _, _, _, count_, row_, here_ = args
            vector = context.get_value_type(Vector(work.dtype))
            whole, zero = ir.IntType(64), ir.Constant(vector, None)
            sums = [cgutils.alloca_once_value(builder, zero) for _ in range(wide)]
            results = [cgutils.alloca_once_value(builder, zero) for _ in range(VECTORS)]
            for slot in (*sums, *results):
                builder.store(zero, slot)

            def number(array: int, at: Any, kind: Any = whole) -> Any:
                return builder.load(pointer_to(context, builder, sig.args[array], args[array], at, kind))

            def row_of_sums(at: Any) -> list[Any]:
                first = pointer_to(context, builder, sig.args[0], work_, at, vector)
                return [builder.gep(first, [whole(v)]) for v in range(wide)]

            def shift(by: int, operand: Any, at: Any) -> None:
                weight = spread(builder, number(3, at, vector.element), size)
                for r, result in enumerate(results):
                    low, high = (builder.load(sums[min(r + by + more, wide - 1)]) for more in (0, 1))
                    moved = _shifted(builder, low, high, operand)
                    builder.store(fused(builder, weight, moved, builder.load(result)), result)

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
                at = builder.add(number(1, builder.add(operand, row_)), here_)
                for pointer, slot in zip(row_of_sums(at), sums, strict=True):
                    loaded = builder.load(pointer, align=work.dtype.bitwidth // 8)
                    builder.store(builder.fadd(builder.load(slot), loaded), slot)
                builder.branch(end)
                for by in range(extra + 1):
                    case(SHIFT + by)
                    shift(by, operand, i)
                    builder.branch(end)
                case(CLEAR)
                for slot in sums:
                    builder.store(zero, slot)
                builder.branch(end)
                case(SAVE)
                for pointer, slot in zip(row_of_sums(operand), sums, strict=True):
                    builder.store(builder.load(slot), pointer, align=work.dtype.bitwidth // 8)
                builder.branch(end)
                case(RESTORE)
                for pointer, slot in zip(row_of_sums(operand), sums, strict=True):
                    builder.store(builder.load(pointer, align=work.dtype.bitwidth // 8), slot)
                builder.branch(end)
                builder.position_at_end(end)
            kind = context.get_value_type(block)
            return pack_items(builder, kind, [builder.load(result) for result in results])

        return block(work, table, strokes, weights, n, n, n), codegen

    def twin(
        work: np.ndarray, table: np.ndarray, strokes: np.ndarray, weights: np.ndarray, count: int, row: int, here: int
    ) -> np.ndarray:  # fmt: skip
        size = lanes(work.dtype)
        sums, results = np.zeros(wide * size, work.dtype), np.zeros(VECTORS * size, work.dtype)
        for i in range(count):
            code, operand = strokes[STROKE * i : STROKE * (i + 1)]
            if code == ROW:
                sums += span(work, table[operand + row] + here, sums.size)
            elif code == CLEAR:
                sums[:] = 0
            elif code == SAVE:
                span(work, operand, sums.size)[:] = sums
            elif code == RESTORE:
                sums[:] = span(work, operand, sums.size)
            else:
                results += weights[i] * span(sums, (code - SHIFT) * size + operand, results.size)
        return results[None]

    return word(twin)(emit)


def _shifted(builder: Any, low: Any, high: Any, by: Any) -> Any:
    """The vector that begins `by` numbers behind the start of two adjacent ones."""
    size, bits = low.type.count, 32 if low.type.element == ir.FloatType() else 64
    index = by if bits == 64 else builder.trunc(by, ir.IntType(32))
    steps = ir.Constant(ir.VectorType(ir.IntType(bits), size), list(range(size)))
    name = f"llvm.x86.avx512.vpermi2var.{'ps' if bits == 32 else 'pd'}.512"
    return call_intrinsic(
        builder, name, low.type, low, builder.add(spread(builder, index, size), steps), high
    )

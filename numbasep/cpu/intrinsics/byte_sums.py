"""Intrinsics that add shifted rows of 16-bit integers, which stand in a workspace of float32.

Vectors have at most 32 bytes: longer ones are no faster, as nearly all of their loads cross a cache line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .vectors import VECTOR_BYTES, fused, pointer_to, span, spread, vector_intrinsic

LANES = min(VECTOR_BYTES, 32) // 2  # 16-bit integers per vector
ENTRY, OFFSET, TERM = range(3)
"""terms[TERM * term + ...]: the entry of the row table, and an offset from there."""


def _shorts(work: np.ndarray, at: int, count: int) -> np.ndarray:
    return span(work.view(np.int16), at, count)


def _short_pointer(context: Any, builder: Any, sig: Any, args: Any, at: Any) -> Any:
    """Return the pointer to the vector at 16-bit integer `at` of the workspace, which is the first argument."""
    start = pointer_to(context, builder, sig.args[0], args[0], ir.IntType(64)(0), ir.IntType(16))
    return builder.bitcast(builder.gep(start, [at]), ir.VectorType(ir.IntType(16), LANES).as_pointer())


def _double_reference(work: np.ndarray, source: int, target: int, distance: int) -> None:
    _shorts(work, target, LANES)[:] = _shorts(work, source, LANES) + _shorts(work, source + distance, LANES)


@vector_intrinsic(_double_reference)
def double_shorts(typingctx: Any, work: Any, source: Any, target: Any, distance: Any) -> Any:
    """Store the sum of the vector at `source` and the one `distance` elements after it to `target`."""
    n = types.intp

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        one, other, to = (
            _short_pointer(context, builder, sig, args, at)
            for at in (args[1], builder.add(args[1], args[3]), args[2])
        )
        total = builder.add(builder.load(one, align=2), builder.load(other, align=2))
        builder.store(total, to, align=2)
        return context.get_dummy_value()

    return types.void(work, n, n, n), codegen


def differences_intrinsic(vectors: int) -> Callable[..., Any]:
    """Return the intrinsic that moves the sums of a block of `vectors` vectors to the next output row.

    Its arguments are ``(work, table, terms, first, middle, last, row, here, sums, target, weight, opens)``.  The terms
    from `first` to `middle` are added to the 32-bit sums at `sums`, those to `last` are subtracted.  Entries of the row
    table count from `row` on, elements of rows from `here` on.  The sums times `weight` go to `target`; unless `opens`,
    they are added to what is there.
    """
    count = vectors * LANES

    def emit(
        typingctx: Any, work: Any, table: Any, terms: Any, first: Any, middle: Any, last: Any, row: Any, here: Any,
        sums: Any, target: Any, weight: Any, opens: Any,
    ) -> Any:  # fmt: skip
        n = types.intp

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            changes = _changes(context, builder, sig, args, vectors)
            for v, change in enumerate(changes):
                _move(context, builder, sig, args, v * LANES, change)
            return context.get_dummy_value()

        return types.void(work, table, terms, n, n, n, n, n, n, n, work.dtype, n), codegen

    def reference(
        work: np.ndarray, table: np.ndarray, terms: np.ndarray, first: int, middle: int, last: int, row: int, here: int,
        sums: int, target: int, weight: Any, opens: int,
    ) -> None:  # fmt: skip
        change = np.zeros(count, np.int16)
        for term in range(first, last):
            at = table[terms[TERM * term + ENTRY] + row] + terms[TERM * term + OFFSET] + here
            change += (1 if term < middle else -1) * _shorts(work, at, count)
        total = span(work, sums, count).view(np.int32)
        total += change
        result = span(work, target, count)
        result[:] = weight * total.astype(work.dtype) + (0 if opens else result)

    return vector_intrinsic(reference)(emit)


def _changes(context: Any, builder: Any, sig: Any, args: Any, vectors: int) -> list[Any]:
    """Emit the loops over the terms; return the vectors of their sums."""
    _, table, terms, first, middle, last, row, here = args[:8]
    whole, kind = ir.IntType(64), ir.VectorType(ir.IntType(16), LANES)
    slots = [cgutils.alloca_once_value(builder, ir.Constant(kind, None)) for _ in range(vectors)]
    for slot in slots:
        builder.store(ir.Constant(kind, None), slot)
    for start, stop, combine in ((first, middle, builder.add), (middle, last, builder.sub)):
        with cgutils.for_range_slice(builder, start, stop, whole(1)) as (term, _):
            at = builder.mul(term, whole(TERM))
            entry, offset = (
                builder.load(
                    pointer_to(context, builder, sig.args[2], terms, builder.add(at, whole(n)), whole)
                )
                for n in (ENTRY, OFFSET)
            )
            entry = pointer_to(context, builder, sig.args[1], table, builder.add(entry, row), whole)
            at = builder.add(builder.load(entry), builder.add(offset, here))
            pointer = _short_pointer(context, builder, sig, args, at)
            for v, slot in enumerate(slots):
                vector = builder.load(builder.gep(pointer, [whole(v)]), align=2)
                builder.store(combine(builder.load(slot), vector), slot)
    return [builder.load(slot) for slot in slots]


def _move(context: Any, builder: Any, sig: Any, args: Any, at: int, change: Any) -> None:
    """Add a vector of changes to the sums at element `at` of the block, and write the results."""
    sums, target, weight, opens = args[8:]
    long, number = ir.VectorType(ir.IntType(32), LANES), ir.VectorType(ir.FloatType(), LANES)

    def place(start: Any, kind: Any) -> Any:
        start = builder.add(start, ir.IntType(64)(at))
        return pointer_to(context, builder, sig.args[0], args[0], start, kind)

    total = builder.add(builder.load(place(sums, long), align=4), builder.sext(change, long))
    builder.store(total, place(sums, long), align=4)
    to = place(target, number)
    opened = builder.icmp_signed("!=", opens, opens.type(0))
    before = builder.select(opened, ir.Constant(number, None), builder.load(to, align=4))
    result = fused(builder, spread(builder, weight, LANES), builder.sitofp(total, number), before)
    builder.store(result, to, align=4)

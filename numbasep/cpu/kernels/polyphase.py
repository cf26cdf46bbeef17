"""Reorder the columns of row buffers by phase, for strided horizontal passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from ..intrinsics.vectors import (
    LLVM_TYPES,
    VECTOR_BYTES,
    lanes_of,
    load,
    peek,
    pointer_to,
    poke,
    span,
    store,
    vector_intrinsic,
)
from ..jit import kernel
from .table_entries import COLUMN_STEP, INNER, PHASE_STRIDE, SPLIT_TAPS


def _shuffled(builder: Any, one: Any, other: Any, picks: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(picks)), picks)
    return builder.shuffle_vector(one, other, mask)


def _apart(builder: Any, vectors: list[Any]) -> list[Any]:
    """Split adjacent vectors into a vector per phase; there are as many vectors as phases."""
    count, lanes = len(vectors), vectors[0].type.count
    if count == 1:
        return vectors
    if count == 3:
        found = []
        for phase in range(3):
            at = [phase + 3 * lane for lane in range(lanes)]
            first = _shuffled(builder, vectors[0], vectors[1], [min(i, 2 * lanes - 1) for i in at])
            picks = [lane if i < 2 * lanes else i - lanes for lane, i in enumerate(at)]
            found.append(_shuffled(builder, first, vectors[2], picks))
        return found
    halves = []
    for side in range(2):
        picks = list(range(side, 2 * lanes, 2))
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        halves.append(_apart(builder, [_shuffled(builder, a, b, picks) for a, b in pairs]))
    return [halves[phase % 2][phase // 2] for phase in range(count)]


def _split(step: int) -> Callable[..., Any]:
    """Return an intrinsic that splits `step` adjacent vectors by phase."""

    def emit(typingctx: Any, work: Any, source: Any, target: Any, pitch: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            array, source_, target_, pitch_ = args
            lanes = VECTOR_BYTES * 8 // work.dtype.bitwidth
            kind, align = ir.VectorType(LLVM_TYPES[work.dtype], lanes), work.dtype.bitwidth // 8
            start = pointer_to(context, builder, sig.args[0], array, source_, kind)
            whole = source_.type
            vectors = [builder.load(builder.gep(start, [whole(i)]), align=align) for i in range(step)]
            for phase, vector in enumerate(_apart(builder, vectors)):
                at = builder.add(target_, builder.mul(pitch_, whole(phase)))
                builder.store(vector, pointer_to(context, builder, sig.args[0], array, at, kind), align=align)
            return context.get_dummy_value()

        return types.void(work, types.intp, types.intp, types.intp), codegen

    def reference(work: Any, source: int, target: int, pitch: int) -> None:
        lanes = VECTOR_BYTES // work.itemsize
        vectors = span(work, source, step * lanes).copy()
        for phase in range(step):
            span(work, target + phase * pitch, lanes)[:] = vectors[phase::step]

    return vector_intrinsic(reference)(emit)


MOST_SHUFFLED = 4
split_two, split_three, split_four = _split(2), _split(3), _split(MOST_SHUFFLED)


@kernel
def split_columns(work, source, target, rows, stride, columns, geometry):
    """Split rows of `work` from `source` on into the phases that `columns` outputs read, from `target` on.

    Rows are `stride` elements apart in both, phases PHASE_STRIDE.  Whole vectors are read and written.
    """
    lanes, inner, pitch, step = lanes_of(work), geometry[INNER], geometry[PHASE_STRIDE], geometry[COLUMN_STEP]
    taps = geometry[SPLIT_TAPS]
    count = columns + (taps - 1) // step
    for r in range(rows):
        here, there = source + r * stride, target + r * stride
        if inner == 1 and step == 2:
            for j in range(0, count, lanes):
                split_two(work, here + 2 * j, there + j, pitch)
        elif inner == 1 and step == 3:
            for j in range(0, count, lanes):
                split_three(work, here + 3 * j, there + j, pitch)
        elif inner == 1 and step == 4:
            for j in range(0, count, lanes):
                split_four(work, here + 4 * j, there + j, pitch)
        else:
            for phase in range(min(step, taps)):
                at, to = here + phase * inner, there + phase * pitch
                for j in range(columns + (taps - 1 - phase) // step):
                    if inner == 1:
                        poke(work, to + j, peek(work, at + j * step))
                    for e in range(0, inner if inner > 1 else 0, lanes):
                        store(work, to + j * inner + e, load(work, at + j * step * inner + e))

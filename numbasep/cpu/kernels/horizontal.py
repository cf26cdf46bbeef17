"""Horizontal pass: weighted sums along row buffers, then the epilogue.

    y[r, j] = sum over terms t, taps k of w[t, k] * s[t, r, j + k * inner]

LINE_ROWS x LINE_VECTORS sums stay in registers.  Taps are added in groups of GROUP, and some of their shifted vectors
are computed in registers, because unaligned loads that touch two cache lines take twice as long.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from ...lowering.target import LINE_VECTORS
from ..intrinsics.adjacent import adjacent_vectors, from_element
from ..intrinsics.memory import Storage, copy_element, misalignment
from ..intrinsics.register_blocks import BlockIntrinsics, items_of, pack_items
from ..intrinsics.row_sums import fetch_intrinsic
from ..intrinsics.vectors import (
    LINE_BYTES,
    REGISTERS,
    VECTOR_BYTES,
    fused,
    lanes_of,
    pointer_to,
    span,
    spread,
    vector_intrinsic,
)
from ..jit import inlined, kernel, named
from .epilogue import divide, normalise, store_part, store_rows, stream_rows
from .few_taps import WRITTEN_AHEAD, few_column_taps, few_columns
from .nan_aware import CLOSE, LEAST, WEIGHT
from .table_entries import (
    COLUMN_STRIDE_OUT,
    FETCHED,
    FIRST_LINE,
    INNER,
    LAST_LINE,
    ROW_STRIDE_IN,
    RUN_LENGTH,
    RUN_SHIFT,
    RUN_WEIGHTS,
    STREAM,
    SUMS_STRIDE,
    TERM_STRIDE,
)

LINE_ROWS = 4 if REGISTERS == 32 else 2 if VECTOR_BYTES == 32 else 3
PAIRED = VECTOR_BYTES == 64  # one instruction shifts two adjacent vectors by one element
GROUP = {64: 2, 32: 4, 16: 1}[VECTOR_BYTES]  # taps whose shifted vectors are computed together

fetch_rows, fetch_written = fetch_intrinsic(LINE_ROWS), fetch_intrinsic(LINE_ROWS, written=True)
zero_sums = BlockIntrinsics(LINE_ROWS, LINE_VECTORS).zero
_INT = ir.IntType(64)


def _weigh_line_reference(sums, work, at, stride, step, weights, first, taps):
    total = sums.copy()
    for r in range(LINE_ROWS):
        for k in range(taps):
            total[r] += weights[first + k] * span(work, at + r * stride + k * step, total.shape[1])
    return total


def _shifts(builder: Any, first: Any, kind: Any, taps: int, column: int, adjacent: list[Any]) -> list[Any]:
    """Return the vector that begins at `first` and those 1, 2 ... `taps` - 1 elements further.

    They belong to the vector `column` of a row of sums.  On AVX-512, `adjacent` keeps the vectors of the row, which are
    loaded with its first.
    """

    def load(ahead: int) -> Any:
        there = builder.bitcast(builder.gep(first, [_INT(ahead)]), kind.as_pointer())
        return builder.load(there, align=4 if kind.element == ir.FloatType() else 8)

    if PAIRED:
        adjacent += [load(c * kind.count) for c in range(0 if adjacent else LINE_VECTORS + 1)]
        return [adjacent[column], from_element(builder, *adjacent[column : column + 2], 1)]
    if column % LINE_VECTORS == LINE_VECTORS - 1:  # a few loads are hidden behind the shuffles
        return [load(ahead) for ahead in range(taps)]
    return adjacent_vectors(builder, load, taps)


def _after_values(builder: Any, number: Any, vectors: Sequence[Any]) -> Any:
    """Return `number`, as a value that LLVM can use only after it has computed `vectors`.

    Otherwise LLVM loads rows long before they are used and spills sums.  A spilled sum is read back only when all
    earlier stores are complete, including non-temporal ones.
    """
    binding.initialize_native_asmparser()
    kind = ir.FunctionType(number.type, [number.type, *[vector.type for vector in vectors]])
    return builder.asm(kind, "", ",".join(["=r", "0", *["v"] * len(vectors)]), (number, *vectors), False)


@vector_intrinsic(_weigh_line_reference)
def weigh_line(
    typingctx: Any, sums: Any, work: Any, at: Any, stride: Any, step: Any, weights: Any, first: Any, taps: Any
) -> Any:  # fmt: skip
    """Return ``sums[r, j] + sum over k of weights[first + k] * work[at + r * stride + j + k * step]``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        block, work_, at_, stride_, step_, weights_, first_, taps_ = args
        kind = block.type.element
        slots = [cgutils.alloca_once_value(builder, item) for item in items_of(builder, block)]

        def add(k: Any) -> None:
            w = pointer_to(context, builder, sig.args[5], weights_, builder.add(first_, k), kind.element)
            w = spread(builder, builder.load(w), kind.count)
            here = builder.add(at_, builder.mul(k, step_))
            for r in range(LINE_ROWS):
                row = builder.add(here, builder.mul(stride_, _INT(r)))
                pointer = pointer_to(context, builder, sig.args[1], work_, row, kind)
                for c in range(LINE_VECTORS):
                    slot = slots[r * LINE_VECTORS + c]
                    shifted = builder.load(builder.gep(pointer, [_INT(c)]), align=work.dtype.bitwidth // 8)
                    builder.store(fused(builder, w, shifted, builder.load(slot)), slot)

        def add_group(k: Any, taps: int) -> None:
            """Add `taps` adjacent taps from tap `k` on."""
            at_w = pointer_to(context, builder, sig.args[5], weights_, builder.add(first_, k), kind.element)
            w = [spread(builder, builder.load(builder.gep(at_w, [_INT(i)])), kind.count) for i in range(taps)]
            row = builder.add(at_, k)
            for r in range(LINE_ROWS):
                adjacent: list[Any] = []
                for c in range(LINE_VECTORS):
                    begin = pointer_to(context, builder, sig.args[1], work_, row, kind.element)
                    begin = builder.gep(begin, [_INT(c * kind.count)])
                    slot = slots[r * LINE_VECTORS + c]
                    total = builder.load(slot)
                    for weight, vector in zip(
                        w, _shifts(builder, begin, kind, taps, c, adjacent), strict=True
                    ):
                        total = fused(builder, weight, vector, total)
                    builder.store(total, slot)
                    row = _after_values(builder, row, [total])
                row = builder.add(row, stride_)

        def add_some(k: Any, taps: int) -> None:
            if taps > 1:
                add_group(k, taps)
            else:
                add(k)

        end, apart = builder.append_basic_block("weighed"), builder.append_basic_block("apart")
        adjacent = builder.append_basic_block("adjacent")
        builder.cbranch(builder.icmp_signed("==", step_, _INT(1)), adjacent, apart)
        builder.position_at_end(adjacent)
        whole = builder.and_(taps_, _INT(-GROUP))
        with cgutils.for_range_slice(builder, _INT(0), whole, _INT(GROUP)) as (k, _):
            add_some(k, GROUP)
        left = builder.sub(taps_, whole)
        for n in range(1, GROUP):
            with builder.if_then(builder.icmp_signed("==", left, _INT(n))):
                add_some(whole, n)
        builder.branch(end)
        builder.position_at_end(apart)
        with cgutils.for_range(builder, taps_) as loop:
            add(loop.index)
        builder.branch(end)
        builder.position_at_end(end)
        return pack_items(builder, block.type, [builder.load(slot) for slot in slots])

    n = types.int64
    return sums(sums, work, n, n, n, weights, n, n), codegen


@inlined
def weigh_columns(work, source, first_term, last_term, terms, lines, weights, geometry):
    """Return the sums of terms [first_term, last_term) for a block of columns."""
    total = zero_sums(work[0])
    for term in range(first_term, last_term):
        for line in range(terms[term, FIRST_LINE], terms[term, LAST_LINE]):
            total = weigh_line(
                total, work, source + term * geometry[TERM_STRIDE] + lines[line, RUN_SHIFT], geometry[SUMS_STRIDE],
                geometry[INNER], weights, lines[line, RUN_WEIGHTS], lines[line, RUN_LENGTH],
            )  # fmt: skip
    return total


@functools.cache
def horizontal_pass(storage: Storage, *, share: bool) -> Any:
    """Return the kernel that writes rows of one storage type; with `share`, sums are normalized (`nan_aware`)."""
    item = storage.dtype.itemsize
    streams = storage.dtype.kind == "f" and item > 2 and not storage.swapped  # the others are converted
    converts = storage.dtype.kind in "iu"
    sum_few_columns = few_columns(streams)

    @inlined
    def filter_blocks(
        x, below, ahead, fetched, work, source, stride, rows, first, last, step, weights, weight, taps, divisor,
        y, target, pitch, streamed,
    ):  # fmt: skip
        """Filter whole blocks of columns with a single line of taps, without table look-ups between blocks."""
        width = LINE_VECTORS * lanes_of(work)
        if few_column_taps(taps) and step == 1:
            for r in range(rows):
                sum_few_columns(
                    work, source + first + r * stride, weights, weight, taps, storage, y, target + first + r * pitch,
                    (last - first) // width, int(streamed), divisor, x, below + first * fetched + r * ahead,
                    width * fetched,
                )  # fmt: skip
            return
        for j in range(first, last, width):
            if below >= 0:
                for line in range(0, width * fetched, LINE_BYTES):
                    fetch_rows(x, below + j * fetched + line, ahead)
                if converts and j * item % LINE_BYTES < width * item:
                    fetch_written(y, (target + j) * item + WRITTEN_AHEAD, pitch * item)
            total = weigh_line(zero_sums(work[0]), work, source + j, stride, step, weights, weight, taps)
            if divisor != 1:
                total = divide(total, divisor)
            if streams and streamed:
                stream_rows(y, target + j, pitch, rows, total)
            else:
                store_rows(y, target + j, pitch, rows, storage, total)

    @kernel
    @named(f"{storage.suffix}{'_share' * share}")
    def filter_rows(
        x,
        below,
        work,
        source,
        rows,
        count,
        terms,
        share_term,
        lines,
        weights,
        geometry,
        divisor,
        normal,
        raw,
        y,
        target,
        pitch,
    ):
        """Write `count` elements of each of `rows` rows, `pitch` elements apart, from ``y[target]`` on."""
        lanes, inner, stride = lanes_of(work), geometry[INNER], geometry[COLUMN_STRIDE_OUT]
        width = LINE_VECTORS * lanes
        adjacent, streamed = stride == inner, geometry[STREAM]
        head = 0  # number of elements before the first cache line, for non-temporal stores
        if streamed:
            head = min(count, (-misalignment(y, target * item) % LINE_BYTES) // item)
        fetched, ahead = geometry[FETCHED], geometry[FETCHED] * geometry[ROW_STRIDE_IN]
        last_term = share_term if share else terms.shape[0]
        only = not share and lines.shape[0] == 1 and adjacent
        for r in range(0, rows, LINE_ROWS):
            row, start, n = source + r * geometry[SUMS_STRIDE], target + r * pitch, min(LINE_ROWS, rows - r)
            j = 0
            while j < count:
                if only and j >= head and j + width <= count:
                    piece, rows_of, apart, to = (count - j) // width * width, n, geometry[SUMS_STRIDE], pitch
                    fetch = below + r * ahead if below >= 0 else -1
                    stop = j + piece
                    if n == 1 and piece >= LINE_ROWS * width:  # its pieces are summed as the rows of a block
                        piece = piece // (LINE_ROWS * width) * width
                        rows_of, apart, to, fetch, stop = LINE_ROWS, piece, piece, -1, j + LINE_ROWS * piece
                    filter_blocks(
                        x, fetch, ahead, fetched, work, row + lines[0, RUN_SHIFT], apart, rows_of, j, j + piece,
                        inner, weights, lines[0, RUN_WEIGHTS], lines[0, RUN_LENGTH], divisor, y, start, to, streamed,
                    )  # fmt: skip
                    j = stop
                    continue
                at, step = j, width
                if streamed:
                    step = head if j == 0 and head else min(width, count - j)
                elif adjacent and j + width > count >= width:  # the last block overlaps the previous one
                    at = count - width
                if below >= 0:
                    for line in range(0, width * fetched, LINE_BYTES):
                        fetch_rows(x, below + r * ahead + j * fetched + line, ahead)
                total = weigh_columns(work, row + at, 0, last_term, terms, lines, weights, geometry)
                if divisor != 1:
                    total = divide(total, divisor)
                if share:
                    valid = weigh_columns(
                        work, row + at, share_term, terms.shape[0], terms, lines, weights, geometry
                    )
                    total = normalise(total, valid, normal[WEIGHT], normal[LEAST], normal[CLOSE])
                if streams and streamed:
                    if step == width:
                        stream_rows(y, start + at, pitch, n, total)
                    else:
                        store_part(y, start + at, pitch, n, step, int(j >= head), total)
                elif adjacent and count >= width:
                    store_rows(y, start + at, pitch, n, storage, total)
                elif streams and adjacent and lanes * item == VECTOR_BYTES:  # stored as computed
                    store_part(y, start + at, pitch, n, count, 0, total)
                else:
                    store_rows(raw, 0, width, n, storage, total)
                    for q in range(n):
                        for e in range(min(width, count - j)):
                            column = (at + e) // inner
                            to = start + q * pitch + column * stride + at + e - column * inner
                            copy_element(raw, q * width + e, y, to, storage)
                j += step

    return filter_rows

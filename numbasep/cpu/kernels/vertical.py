"""Vertical pass: weighted sums of rows of the array, one register block at a time.

    s[r, j] = sum over k of w[k] * x[r + k, j]        for ROWS rows r at once

ROWS x VECTORS sums stay in registers.  Each vector is loaded and converted once for all ROWS rows.  The sums are
written to row buffers in the workspace, which `horizontal` reads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...lowering.target import VECTORS
from ..intrinsics.memory import (
    Storage,
    _decode_vector,
    _load_first_reference,
    _memory,
    copy_element,
    misalignment,
)
from ..intrinsics.register_blocks import BlockIntrinsics, items_of, pack_items
from ..intrinsics.row_sums import fetch_intrinsic
from ..intrinsics.vectors import (
    LINE_BYTES,
    LLVM_TYPES,
    REGISTERS,
    TARGET,
    fused,
    lanes_of,
    opaque,
    peek,
    pointer_to,
    spread,
    vector_intrinsic,
)
from ..jit import inlined, kernel, named
from .epilogue import divide, normalise, store_part, store_rows, stream_rows
from .few_taps import few_row_taps, few_rows
from .nan_aware import CLOSE, LEAST, WEIGHT, emit_view, view_reference
from .table_entries import (
    COLUMN_STRIDE_OUT,
    COLUMNS_IN,
    FETCHED,
    FIRST_RUN,
    INNER,
    LAST_BLOCK,
    OUTSIDE_PLANE,
    ROW_STRIDE_IN,
    ROW_STRIDE_OUT,
    RUN_LENGTH,
    RUN_ROW,
    RUN_SHIFT,
    RUN_STOP,
    RUN_WEIGHTS,
    SOURCES,
    STREAM,
    WINDOW,
)

ROWS = TARGET.block_rows

fetch_rows, fetch_line = fetch_intrinsic(ROWS), fetch_intrinsic(1)
_INT = ir.IntType(64)


def _weigh(rows: int, vectors: int, view: int) -> Callable[..., Any]:
    """Return the intrinsic that adds a run of weighted rows to a block of `rows` x `vectors` sums."""

    def emit(
        typingctx: Any, sums: Any, x: Any, table: Any, row: Any, offset: Any, storage: Any, weights: Any, first: Any,
        taps: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            sums_in, memory, table_, row_, offset_, _, weights_, first_, taps_ = args
            kind = sums_in.type.element
            raw = ir.VectorType(LLVM_TYPES[storage.element], kind.count)
            slots = [cgutils.alloca_once_value(builder, item) for item in items_of(builder, sums_in)]

            def load(k: Any) -> list[Any]:
                """Emit the loads of row `k` of the block's window and return its vectors."""
                index = builder.add(row_, k)
                at = builder.load(pointer_to(context, builder, sig.args[2], table_, index, _INT), align=8)
                pointer = _memory(context, builder, memory, builder.add(at, offset_), storage.element, raw)
                parts = [builder.gep(pointer, [_INT(c)]) for c in range(vectors)]
                loaded = [builder.load(part, align=1) for part in parts]
                return [emit_view(builder, _decode_vector(builder, storage, v, kind), view) for v in loaded]

            taps_at = pointer_to(context, builder, sig.args[6], weights_, first_, kind.element)

            def add_row(k: Any, served: range, tap: Any) -> None:
                """Add row `k` of the window to the sums r in `served`, times the weight of tap ``tap - r``.

                Weights are loaded again for each row: with 16 registers, keeping them would spill sums.
                """
                loaded, taps_now = load(k), taps_at if REGISTERS == 32 else opaque(builder, taps_at)
                for r in served:
                    w = builder.load(builder.gep(taps_now, [builder.sub(tap, _INT(r))]))
                    w = spread(builder, w, kind.count)
                    for c, vector in enumerate(loaded):
                        slot = slots[r * vectors + c]
                        product = fused(builder, w, vector, builder.load(slot))
                        builder.store(product, slot)

            def few(n: int) -> None:
                """Emit code for exactly `n` taps, without a loop."""
                for k in range(n + rows - 1):
                    add_row(_INT(k), range(max(0, k - n + 1), min(rows, k + 1)), _INT(k))

            def many() -> None:
                """Emit a loop; the first rows are added to the first sums only, the last rows to the last sums."""
                for k in range(rows - 1):
                    add_row(_INT(k), range(k + 1), _INT(k))
                with cgutils.for_range_slice(builder, _INT(rows - 1), taps_, _INT(1)) as (k, _):
                    add_row(k, range(rows), k)
                for k in range(rows - 1):
                    tap = builder.add(taps_, _INT(k))
                    add_row(tap, range(k + 1, rows), tap)

            end = builder.append_basic_block("weighed")
            otherwise = builder.append_basic_block("many")
            switch = builder.switch(taps_, otherwise)
            for n in range(1, rows):
                block = builder.append_basic_block(f"taps_{n}")
                switch.add_case(_INT(n), block)
                builder.position_at_end(block)
                few(n)
                builder.branch(end)
            builder.position_at_end(otherwise)
            many()
            builder.branch(end)
            builder.position_at_end(end)
            return pack_items(builder, sums_in.type, [builder.load(slot) for slot in slots])

        whole = types.int64
        return sums(sums, x, table, whole, whole, storage, weights, whole, whole), codegen

    def reference(sums, x, table, row, offset, storage, weights, first, taps):
        total = sums.copy()
        count = total.shape[1] // vectors
        for r in range(rows):
            for k in range(taps):
                for c in range(vectors):
                    part = slice(c * count, (c + 1) * count)
                    seen = _load_first_reference(
                        x, table[row + r + k] + offset + c * count, count, storage, total.dtype.type(0)
                    )
                    total[r, part] = weights[first + k] * view_reference(seen, view) + total[r, part]
        return total

    return vector_intrinsic(reference)(emit)


@inlined
def numbers_to_line(memory, at, item):
    """Return the number of elements of `item` bytes from element `at` to the next cache line."""
    return -misalignment(memory, at * item) % LINE_BYTES // item


@functools.cache
def vertical_pass(storage: Storage, view: int, fetching: bool = False) -> Any:
    """Return the kernel that sums rows of one storage type, all of which are inside the array.

    If `fetching`, it also prefetches the same rows of the next segment: processors do not recognize segments of distant
    rows, read one row after another, as streams.
    """
    block, item = BlockIntrinsics(ROWS, VECTORS), storage.dtype.itemsize
    zero_block, write_block = block.zero, block.write
    weigh_rows, sum_few_rows = _weigh(ROWS, VECTORS, view), few_rows(view)

    @kernel
    @named(f"{storage.suffix}_{view}{'_fetching' * fetching}")
    def sum_rows(x, table, first, last, count, runs, start, stop, weights, work, target, stride):
        """Write the sums of ``runs[start:stop]`` to ``work[target + r * stride + j]`` for ROWS rows r, j < `count`.

        Rows are read from element `first` on, but not beyond `last` + VECTORS vectors, so the last block may overlap
        the previous one.  The first block may overlap the second, which begins at a cache line: lines of distant rows
        share a set of the first-level cache and are evicted before another block reads them.
        """
        like = work[0]
        width = VECTORS * lanes_of(work)
        aligned = j = 0
        if start < stop:
            aligned = numbers_to_line(x, table[runs[start, RUN_ROW]] + first, item) % width
        few = not fetching and stop == start + 1 and few_row_taps(runs[start, RUN_LENGTH])
        while j < count:
            at = min(first + j, last)
            if few and j >= aligned:
                blocks = (min(count, last + width - first) - j) // width
                if blocks > 0:
                    sum_few_rows(
                        x, table, runs[start, RUN_ROW], at + runs[start, RUN_SHIFT], blocks, storage, weights,
                        runs[start, RUN_WEIGHTS], runs[start, RUN_LENGTH], work, target + j, stride,
                    )  # fmt: skip
                    j += blocks * width
                    continue
            if fetching and j * item % LINE_BYTES < width * item:
                for k in range(table.size // 2):  # the other half is for packed rows
                    for line in range(0, width * item, LINE_BYTES):
                        fetch_line(x, (table[k] + at + count) * item + line, item)
            total = zero_block(like)
            for run in range(start, stop):
                total = weigh_rows(
                    total, x, table, runs[run, RUN_ROW], at + runs[run, RUN_SHIFT], storage, weights,
                    runs[run, RUN_WEIGHTS], runs[run, RUN_LENGTH],
                )  # fmt: skip
            write_block(work, target + at - first, stride, total)
            j += aligned if j == 0 and aligned else width

    return sum_rows


@functools.cache
def dense_pass(storage: Storage, views: tuple[int, ...], target: Storage) -> Any:
    """Return the kernel that writes weighted sums of rows, shifted by any columns, without a horizontal pass.

    With two views of the input, values and presence, sums are normalized (`nan_aware`).
    """
    zero_block, share = BlockIntrinsics(ROWS, VECTORS).zero, len(views) > 1
    read, item = storage.dtype.itemsize, target.dtype.itemsize
    weigh_values, weigh_share = _weigh(ROWS, VECTORS, views[0]), _weigh(ROWS, VECTORS, views[-1])

    @inlined
    def weigh_terms(weigh, x, table, at, first_term, last_term, terms, runs, weights):
        total = zero_block(weights[0])
        for term in range(first_term, last_term):
            for run in range(terms[term, FIRST_RUN], terms[term, RUN_STOP]):
                total = weigh(
                    total, x, table, runs[run, RUN_ROW], at + runs[run, RUN_SHIFT], storage, weights,
                    runs[run, RUN_WEIGHTS], runs[run, RUN_LENGTH],
                )  # fmt: skip
        return total

    @kernel
    @named(f"{storage.suffix}_{''.join(map(str, views))}{target.suffix}")
    def sum_weights(
        x,
        below,
        table,
        first,
        last,
        rows,
        count,
        terms,
        share_term,
        runs,
        weights,
        geometry,
        divisor,
        normal,
        raw,
        y,
        to,
    ):
        """Write `count` elements of each of `rows` rows from ``y[to]`` on; the first tap reads element `first`.

        A block that would begin after element `last` begins at `last`, so that nothing is read beyond the rows.
        """
        lanes, inner, stride, pitch = (
            lanes_of(weights),
            geometry[INNER],
            geometry[COLUMN_STRIDE_OUT],
            geometry[ROW_STRIDE_OUT],
        )
        width = VECTORS * lanes
        adjacent, streamed = stride == inner, geometry[STREAM]
        fetched, ahead = geometry[FETCHED], geometry[FETCHED] * geometry[ROW_STRIDE_IN]
        head = 0
        if streamed:
            head = min(count, (-misalignment(y, to * item) % LINE_BYTES) // item)
            newest = 0
            for k in range(geometry[WINDOW] * geometry[SOURCES]):
                newest = max(newest, table[k])
            after = geometry[COLUMNS_IN] * inner - geometry[LAST_BLOCK]
            if (newest + first + count + after) * read <= x.size:
                last = 1 << 62  # the array continues after these rows
        elif adjacent and count > width:  # begin at a cache line (`vertical_pass`)
            head = numbers_to_line(x, table[0] + first, read) % width
        last_term = share_term if share else terms.shape[0]
        j = 0
        while j < count:
            at, part = j, min(width, count - j)
            if j < head:
                part = min(head - j, width)  # a cache line is wider than a block of 16-byte vectors
            elif adjacent and part < width <= count and not (streamed and first + j <= last):
                at = count - width  # the last block overlaps the previous one
            if below >= 0:
                for line in range(0, width * fetched, LINE_BYTES):
                    fetch_rows(x, below + j * fetched + line, ahead)
            begin = min(first + at, last)
            skipped = first + at - begin
            total = weigh_terms(weigh_values, x, table, begin, 0, last_term, terms, runs, weights)
            if divisor != 1:
                total = divide(total, divisor)
            if share:
                valid = weigh_terms(
                    weigh_share, x, table, begin, share_term, terms.shape[0], terms, runs, weights
                )
                total = normalise(total, valid, normal[WEIGHT], normal[LEAST], normal[CLOSE])
            if skipped or not adjacent or (count < width and not streamed):
                store_rows(raw, 0, width, rows, target, total)
                for q in range(rows):
                    for e in range(part):
                        column = (at + e) // inner
                        there = to + q * pitch + column * stride + at + e - column * inner
                        copy_element(raw, q * width + skipped + e, y, there, target)
            elif streamed and (part < width or j < head) and at == j:
                store_part(y, to + at, pitch, rows, part, int(j >= head), total)
            elif streamed and at == j:
                stream_rows(y, to + at, pitch, rows, total)
            else:
                store_rows(y, to + at, pitch, rows, target, total)
            j += part

    return sum_weights


@functools.cache
def edge_pass(storage: Storage, view: int) -> Any:
    """Return the kernel that sums single rows, whose windows may extend beyond a constant boundary."""
    block = BlockIntrinsics(1, VECTORS)
    zero_line, write_line, read_line, fma_line = block.zero, block.write, block.read, block.fma
    weigh_row = _weigh(1, VECTORS, view)

    @kernel
    @named(f"{storage.suffix}_{view}")
    def sum_row(
        x, table, row, first, last, count, runs, start, stop, weights, window, constants, pitch, work, target
    ):
        """Sum row `row` of a block as `sum_rows`; OUTSIDE_PLANE means ``work[constants + s * pitch]`` for source s."""
        like = work[0]
        width = VECTORS * lanes_of(work)
        for j in range(0, count, width):
            at = min(first + j, last)
            total = zero_line(like)
            for run in range(start, stop):
                here, weight = row + runs[run, RUN_ROW], runs[run, RUN_WEIGHTS]
                for k in range(runs[run, RUN_LENGTH]):
                    if peek(table, here + k) == OUTSIDE_PLANE:
                        outside = read_line(work, constants + here // window * pitch, 0)
                        total = fma_line(peek(weights, weight + k), outside, total)
                    else:
                        total = weigh_row(
                            total,
                            x,
                            table,
                            here + k,
                            at + runs[run, RUN_SHIFT],
                            storage,
                            weights,
                            weight + k,
                            1,
                        )
            write_line(work, target + at - first, 0, total)

    return sum_row

"""Flat kernels (few different weights): sums of rows, then sums of shifted row sums.

    s_c[q, j] = sum over the rows i of column c of x[q + i, j]      y[q, j] = sum over c of w_c s_c[q, j + c]

A task is a tile of columns by a strip of rows of one output plane or several.  It packs input rows into a ring that
stays in the second-level cache (`row_conversion`), and computes a few output rows at a time from it, segment by segment
of their columns.  With AVX-512 the sums s_c stay in registers, for two output rows at a time (`intrinsics.flat_sums`).
Other processors store them in short row buffers in the first-level cache, and load shifted vectors from these; all
additions are made in registers, a block of VECTORS vectors at a time.

Nothing is subtracted.  Every output element is computed by the same operations in the same order however the output is
divided into tasks, so results do not depend on the number of threads.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import config

from ..intrinsics.flat_sums import strokes_intrinsic
from ..intrinsics.memory import Storage
from ..intrinsics.register_blocks import BlockIntrinsics
from ..intrinsics.row_sums import fetch_intrinsic
from ..intrinsics.vectors import LINE_BYTES, Line, call, lanes_of, peek
from ..jit import address, driver, inlined, kernel, named
from .addressing import locate_planes
from .byte_rows import pack_bytes
from .pass_arguments import byte_row, integer_row, integer_rows, integers, number_row, numbers
from .row_conversion import packer, storer
from .table_entries import (
    COLUMN_FIRST,
    COLUMN_STRIDE_IN,
    COLUMN_STRIDE_OUT,
    COLUMN_TAPS,
    COLUMNS_OUT,
    FETCHED,
    HORIZONTAL,
    INNER,
    KERNELS,
    LINES_OF_TAPS,
    OUTER,
    OUTER_SOURCES,
    PACK,
    PLANES,
    PLANES_OUT,
    RAW_IN,
    RAW_OUT,
    RESULT,
    RING,
    RING_ROWS,
    RING_STRIDE,
    ROW_FIRST,
    ROW_STRIDE_IN,
    ROW_STRIDE_OUT,
    ROW_TABLES,
    ROW_TAPS,
    ROWS_IN,
    ROWS_OUT,
    RUNS,
    SCRATCH,
    SEGMENT,
    SHIFTS,
    SIZES,
    SOURCE_TABLES,
    SOURCES,
    STORE,
    STRIP,
    STRIPE_ROWS,
    STRIPS,
    SUMS_STRIDE,
    TERMS,
    TILE,
    TILES,
    VERTICAL,
    VIEW,
    WEIGHTS,
    WINDOW,
    WORK,
)

VECTORS = 8  # vectors per block in `sum_links`
INTERVAL_VECTORS = 4  # vectors per block in `sum_intervals`: three blocks and a row fit the registers
FEW_VECTORS = 2  # vectors per block after the last whole block

# links[LINK * link + ...]: a sum of rows and of other sums, which starts from the previous link unless it is FRESH.
# terms[ROWS_START:ROWS_STOP] are indices into the row table, terms[ROWS_STOP:SUMS_STOP] offsets in the workspace
FRESH, ROWS_START, ROWS_STOP, SUMS_STOP, TARGET, WEIGHED, SCALED, LINK = range(8)

# intervals[INTERVAL * interval + ...]: a sum of adjacent rows, from entry FIRST_ROW to entry LAST_ROW of the row table,
# which contains the previous interval unless it is fresh
GROWTH, FIRST_ROW, LAST_ROW, ABOVE, BELOW, INTERVAL_TARGET, INTERVAL = range(7)
FRESH_INTERVAL, BY_ONE, BY_ANY = range(3)
"""GROWTH: the interval is fresh, or has one more row at each end, or ABOVE and BELOW more rows at its ends."""

# phases[phase, ...]: links, intervals or strokes FIRST to LAST, computed in one sweep over the columns of the result
# and EXTRA further elements
KIND, FIRST, LAST, EXTRA = range(4)
LINKS, INTERVALS, STROKES = range(3)


def _interval_sums(vectors: int) -> Any:
    """Return the function that sums intervals for one block of columns."""
    block = BlockIntrinsics(1, vectors)
    zero, read, write, add, fma = block.zero, block.read, block.write, block.add, block.fma

    @inlined
    def sum_block(work, table, intervals, first, last, here, j, rows, pitch, one):
        for q in range(0, rows, 2):
            shared = zero(one)
            above, below = shared, shared
            for i in range(first * INTERVAL, last * INTERVAL, INTERVAL):
                growth = peek(intervals, i + GROWTH)
                top, bottom = q + peek(intervals, i + FIRST_ROW), q + peek(intervals, i + LAST_ROW)
                if growth == BY_ONE:
                    shared = add(fma(one, above, shared), below)
                    above = read(work, peek(table, top) + here, 0)
                    below = read(work, peek(table, bottom + 1) + here, 0)
                elif growth == BY_ANY:
                    higher, lower = peek(intervals, i + ABOVE), peek(intervals, i + BELOW)
                    if higher:
                        shared = add(shared, above)
                        for row in range(top + 1, top + higher):
                            shared = add(shared, read(work, peek(table, row) + here, 0))
                        above = read(work, peek(table, top) + here, 0)
                    if lower:
                        shared = add(shared, below)
                        for row in range(bottom + 2 - lower, bottom + 1):
                            shared = add(shared, read(work, peek(table, row) + here, 0))
                        below = read(work, peek(table, bottom + 1) + here, 0)
                else:
                    shared = zero(one)
                    for row in range(top + 1, bottom + 1):
                        shared = add(shared, read(work, peek(table, row) + here, 0))
                    above = read(work, peek(table, top) + here, 0)
                    below = read(work, peek(table, bottom + 1) + here, 0)
                target = peek(intervals, i + INTERVAL_TARGET) + q * pitch + j
                write(work, target, 0, add(shared, above))
                write(work, target + pitch, 0, add(shared, below))

    return sum_block


def _link_sums(vectors: int) -> Any:
    """Return the function that sums links for one block of columns."""
    block = BlockIntrinsics(1, vectors)
    zero, read, write, add, fma = block.zero, block.read, block.write, block.add, block.fma

    @inlined
    def sum_block(work, table, links, terms, weights, first, last, here, j, rows, pitch, moved, scale):
        for q in range(rows):
            there = q * pitch + j
            total = zero(scale)
            for i in range(first * LINK, last * LINK, LINK):
                if peek(links, i + FRESH):
                    total = zero(scale)
                start, middle, stop = (
                    peek(links, i + ROWS_START),
                    peek(links, i + ROWS_STOP),
                    peek(links, i + SUMS_STOP),
                )
                for term in range(start, middle):
                    total = add(total, read(work, peek(table, peek(terms, term) + q) + here, 0))
                if peek(links, i + WEIGHED):
                    for term in range(middle, stop):
                        total = fma(peek(weights, term), read(work, peek(terms, term) + there, 0), total)
                else:
                    for term in range(middle, stop):
                        total = add(total, read(work, peek(terms, term) + there, 0))
                if peek(links, i + SCALED):
                    total = fma(scale, total, zero(scale))
                write(work, peek(links, i + TARGET) + moved + there, 0, total)

    return sum_block


intervals_of_many, intervals_of_few = _interval_sums(INTERVAL_VECTORS), _interval_sums(FEW_VECTORS)
links_of_many, links_of_few = _link_sums(VECTORS), _link_sums(FEW_VECTORS)
fetch_line = fetch_intrinsic(1)


@kernel
def sum_intervals(work, table, intervals, first, last, column, count, rows, pitch, one):
    """Sum nested intervals of rows, for two output rows at a time, which have all but one row each in common.

    `count` elements, from element `column` of the rows on, go to ``work[target + q * pitch]`` for each q < `rows`,
    which is even.  The common part of an interval contains the rows that only one of the two output rows had in the
    previous interval.  `one` is 1: multiply-adds and additions can run on different units of the processor.
    """
    lanes, j = lanes_of(work), 0
    while j + INTERVAL_VECTORS * lanes <= count:
        intervals_of_many(work, table, intervals, first, last, column + j, j, rows, pitch, one)
        j += INTERVAL_VECTORS * lanes
    while j < count:
        intervals_of_few(work, table, intervals, first, last, column + j, j, rows, pitch, one)
        j += FEW_VECTORS * lanes


@kernel
def sum_links(work, table, links, terms, weights, first, last, column, count, rows, pitch, moved, scale):
    """Sum rows, from element `column` on, and other sums: `count` elements for each of `rows` output rows q.

    The sum of a link goes to ``work[target + moved + q * pitch]``.
    """
    lanes, j = lanes_of(work), 0
    while j + VECTORS * lanes <= count:
        links_of_many(
            work, table, links, terms, weights, first, last, column + j, j, rows, pitch, moved, scale
        )
        j += VECTORS * lanes
    while j < count:
        links_of_few(
            work, table, links, terms, weights, first, last, column + j, j, rows, pitch, moved, scale
        )
        j += FEW_VECTORS * lanes


@functools.cache
def strokes_pass(extra: int, vectors: int, small: bool) -> Any:
    """Return the kernel that sums and shifts in registers; sums are `extra` vectors wider than their results."""
    strokes_of = strokes_intrinsic(extra, vectors, small)
    block = vectors * (2 if small else 1)

    @kernel
    @named(f"_{extra}_{vectors}{'_small' * small}")
    def sum_strokes(
        work, table, strokes, weights, count, column, numbers, rows, target, pitch, x, ahead, stride, item
    ):
        """Compute `numbers` results from element `column` of the rows on, to ``work[target + q * pitch]`` for row q.

        Meanwhile prefetch `rows` rows of `x`, `stride` bytes apart from byte `ahead` on, with elements of `item` bytes.
        """
        step = block * lanes_of(work)
        for j in range(0, numbers, step):
            for q in range(0, rows, 2):
                for row in range(2):
                    start = ahead + (q + row) * stride + j * item
                    for line in range(0, step * item, LINE_BYTES):
                        fetch_line(x, start + line, 0)
                strokes_of(work, table, strokes, weights, count, q, column + j, target + q * pitch + j, pitch)

    return sum_strokes


@driver
def filter_flat_tile(kernels, x, y, task, thread, block, constants):
    """Run one task: pack, sum and store a strip of rows by a tile of columns of one output plane or several.

    Adjacent output planes of a volume share all input planes but one, so only that one is packed for the next plane.
    """
    geometry, outer, outer_taps = (
        integers(block, SIZES),
        integers(block, OUTER),
        integer_rows(block, OUTER_SOURCES),
    )
    links, intervals, phases = (
        integers(block, TERMS),
        integers(block, RUNS),
        integer_rows(block, LINES_OF_TAPS),
    )
    terms, weights = integers(block, SHIFTS), numbers(block, WEIGHTS, constants)
    work = number_row(block, WORK, thread, constants)
    table, sources = integer_row(block, ROW_TABLES, thread), integer_row(block, SOURCE_TABLES, thread)
    raw_in, raw_out = byte_row(block, RAW_IN, thread), byte_row(block, RAW_OUT, thread)
    tiles, strips, inner, pitch = geometry[TILES], geometry[STRIPS], geometry[INNER], geometry[SUMS_STRIDE]
    n_sources, window, step = geometry[SOURCES], geometry[WINDOW], geometry[STRIPE_ROWS]
    column = (task % tiles) * geometry[TILE]
    row = (task // tiles) % strips * geometry[STRIP]
    chunks = (geometry[PLANES_OUT] + geometry[PLANES] - 1) // geometry[PLANES]
    chunk = task // (tiles * strips)
    first_plane = chunk // chunks * geometry[PLANES_OUT] + chunk % chunks * geometry[PLANES]
    last_plane = min(first_plane + geometry[PLANES], (chunk // chunks + 1) * geometry[PLANES_OUT])
    columns = min(geometry[TILE], geometry[COLUMNS_OUT] - column)
    last_row = min(row + geometry[STRIP], geometry[ROWS_OUT])
    capacity, wide = geometry[RING_ROWS], columns + geometry[COLUMN_TAPS] - 1
    for plane in range(first_plane, last_plane):
        target = (
            locate_planes(plane, geometry, outer, outer_taps, sources) + column * geometry[COLUMN_STRIDE_OUT]
        )
        age = plane - first_plane
        oldest = n_sources - 1 if age else 0  # first input plane that is not packed yet
        packed = 0  # rows packed so far
        for i in range(row, last_row, step):
            done, rows = i - row, min(step, last_row - i)
            needed = done + rows + geometry[ROW_TAPS] - 1
            while packed < needed:
                for source in range(oldest, n_sources):
                    slot = (source + age) % n_sources * capacity + packed % capacity
                    at = geometry[RING] + slot * geometry[RING_STRIDE]
                    here, there = row + geometry[ROW_FIRST] + packed, column + geometry[COLUMN_FIRST]
                    if kernels[VIEW]:
                        call(kernels[VIEW], (
                            kernels[PACK], x, sources[source], here, there, wide, geometry, constants[source], raw_in,
                            work, geometry[SCRATCH], at,
                        ))  # fmt: skip
                    else:
                        call(kernels[PACK], (
                            x, sources[source], here, there, wide, geometry, constants[source], raw_in, work, at,
                        ))  # fmt: skip
                packed += 1
            ahead = min(max(row + geometry[ROW_FIRST] + packed, 0), geometry[ROWS_IN] - 1)
            item = geometry[FETCHED]
            fetched = sources[n_sources - 1] + ahead * geometry[ROW_STRIDE_IN]
            fetched += max(column + geometry[COLUMN_FIRST], 0) * geometry[COLUMN_STRIDE_IN]
            start = done % capacity
            for source in range(n_sources):
                ring = geometry[RING] + (source + age) % n_sources * capacity * geometry[RING_STRIDE]
                for j in range(window):
                    # output rows of the step below the last row read the last packed row again
                    here = start + min(j, needed - 1 - done)
                    here -= capacity if here >= capacity else 0
                    table[source * window + j] = ring + here * geometry[RING_STRIDE]
            for first in range(0, columns, geometry[SEGMENT]):
                part = min(geometry[SEGMENT], columns - first)
                for phase in range(phases.shape[0]):
                    begin, end = phases[phase, FIRST], phases[phase, LAST]
                    count = part * inner + phases[phase, EXTRA]
                    if phases[phase, KIND] == STROKES:
                        call(kernels[HORIZONTAL], (
                            work, table, terms, weights, end, first * inner, count, step,
                            geometry[RESULT] + first * inner, pitch, x, (fetched + first * inner) * item,
                            geometry[ROW_STRIDE_IN] * item, item,
                        ))  # fmt: skip
                    elif phases[phase, KIND] == INTERVALS:
                        call(kernels[VERTICAL], (
                            work, table, intervals, begin, end, first * inner, count, step, pitch,
                            weights[weights.size - 2],
                        ))  # fmt: skip
                    else:
                        # results are stored when the row is complete, so that cache lines are written once
                        moved = first * inner if phase == phases.shape[0] - 1 else 0
                        call(kernels[HORIZONTAL], (
                            work, table, links, terms, weights, begin, end, first * inner, count, step, pitch, moved,
                            weights[weights.size - 1],
                        ))  # fmt: skip
            for q in range(rows):
                call(kernels[STORE], (
                    work, geometry[RESULT] + q * pitch, columns, geometry, constants[0], raw_out, y,
                    target + (i + q) * geometry[ROW_STRIDE_OUT],
                ))  # fmt: skip


@functools.cache
def kernel_addresses(
    compute: np.dtype[Any], storage_in: Storage, storage_out: Storage, extra: int = 0, vectors: int = 0,
    small: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the addresses of `filter_flat_tile` and of the kernels that it calls.

    If `extra` is not 0, sums stay in registers, `extra` vectors wider than the `vectors` vectors of results of a block;
    `small` says that they are 16-bit integers.
    """
    number = numba.from_dtype(compute)
    line, constants = Line(number), Line(number, 2)
    memory, whole = Line(types.uint8), Line(types.int64)
    n = types.int64
    at: list[Any] = [0] * KERNELS
    at[PACK] = address(packer(storage_in), (memory, n, n, n, n, whole, line, memory, line, n))
    at[STORE] = address(storer(storage_out), (line, n, n, whole, line, memory, memory, n))
    if extra:
        if small:
            at[VIEW] = address(pack_bytes, (n, memory, n, n, n, n, whole, line, memory, line, n, n))
        at[HORIZONTAL] = address(
            strokes_pass(extra, vectors, small), (line, whole, whole, line, n, n, n, n, n, n, memory, n, n, n)
        )
    else:
        at[VERTICAL] = address(sum_intervals, (line, whole, whole, n, n, n, n, n, n, number))
        at[HORIZONTAL] = address(sum_links, (line, whole, whole, whole, line, n, n, n, n, n, n, n, number))
    tile = address(filter_flat_tile, (whole, memory, memory, n, n, whole, constants))
    return tile, at if config.DISABLE_JIT else np.array(at, np.int64)

"""The driver: one program of terms over every plane of an array, one read and one write.

A task is a tile of columns by a strip of rows of one output plane.  It packs input rows into a ring that stays
in cache, computes STEP_ROWS output rows at a time from it, and stores them.  Every output element is written by
exactly one task with the same operations in the same order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import prange, types

from .correlate import SQUARE_TAPS, correlate_lines, correlate_runs, correlate_square
from .fused import stripe_filter
from .geometry import (
    COLUMN_FIRST,
    COLUMN_STRIDE_OUT,
    COLUMN_TAPS,
    COLUMNS_OUT,
    DIRECT,
    INNER,
    OUTER_AXES,
    OUTER_ENTRIES,
    OUTER_IN,
    OUTER_OUT,
    OUTER_SIZE,
    OUTER_TAPS,
    OUTSIDE_PLANE,
    RESULT,
    RESULT_STRIDE,
    RING,
    RING_STRIDE,
    ROW_BOUNDARY,
    ROW_FIRST,
    ROW_STRIDE_IN,
    ROW_STRIDE_OUT,
    ROW_TAPS,
    ROWS_IN,
    ROWS_OUT,
    RUN_START,
    RUN_STOP,
    SCRATCH,
    SCRATCH_STRIDE,
    SEGMENT,
    SOURCE_ROW,
    SOURCES,
    STRIP,
    STRIPS,
    TAP_START,
    TAP_STOP,
    TILE,
    TILES,
    TURNED,
)
from .jit import address, inlined, kernel, parallel, serial
from .memory import Storage
from .rows import index_of, packer, storer
from .simd import STEP_ROWS, VECTOR_BYTES, call
from .stripes import STRIPE_ROWS


@inlined
def locate_source(plane, source, geometry, outer, outer_taps):
    """Where input plane `source` of output plane `plane` starts in `x`, or OUTSIDE_PLANE."""
    at = 0
    for axis in range(geometry[OUTER_AXES] - 1, -1, -1):
        entry = OUTER_ENTRIES * axis
        size, taps = outer[entry + OUTER_SIZE], outer[entry + OUTER_TAPS]
        position = plane % size
        plane //= size
        distance = outer[outer[entry + OUTER_IN] + position * taps + outer_taps[source, axis]]
        if distance == OUTSIDE_PLANE:
            return OUTSIDE_PLANE
        at += distance
    return at


@inlined
def locate_target(plane, geometry, outer):
    """Where output plane `plane` starts in `y`."""
    at = 0
    for axis in range(geometry[OUTER_AXES] - 1, -1, -1):
        entry = OUTER_ENTRIES * axis
        size = outer[entry + OUTER_SIZE]
        at += outer[outer[entry + OUTER_OUT] + plane % size]
        plane //= size
    return at


@inlined
def compute_columns(
    lines, square, geometry, term, terms, shifts, weights, offset, count, rows, work, table, accumulate
):
    """The pass along the columns of one term, from the rows between the passes or from packed rows."""
    start, stop = terms[term, TAP_START], terms[term, TAP_STOP]
    source, source_stride = geometry[SCRATCH], geometry[SCRATCH_STRIDE]
    result, stride = geometry[RESULT], geometry[RESULT_STRIDE]
    lanes = VECTOR_BYTES // work.itemsize
    done = 0
    if terms[term, RUN_START] == terms[term, RUN_STOP]:
        source, source_stride = table[terms[term, SOURCE_ROW]] + offset, geometry[RING_STRIDE]
        while done < rows and geometry[ROW_TAPS] > 1:  # rows of a ring need not be in order
            at = table[terms[term, SOURCE_ROW] + done] + offset
            call(lines, (
                work, at, 0, 1, shifts, weights, start, stop, count, result + done * stride, stride, accumulate,
            ))  # fmt: skip
            done += 1
    while stop - start >= SQUARE_TAPS and rows - done > lanes // 2:
        call(square, (
            work, source + done * source_stride, source_stride, shifts, weights, start, stop, count,
            result + done * stride, stride, geometry[TURNED], accumulate,
        ))  # fmt: skip
        done += lanes
    if done < rows:
        call(lines, (
            work, source + done * source_stride, source_stride, rows - done, shifts, weights, start, stop, count,
            result + done * stride, stride, accumulate,
        ))  # fmt: skip


@inlined
def compute_step(
    down,
    lines,
    square,
    geometry,
    terms,
    runs,
    weights,
    shifts,
    line_weights,
    first,
    columns,
    rows,
    work,
    table,
):
    """All terms of the program for columns [first, first + columns) of `rows` <= STEP_ROWS output rows.

    `table` lists the packed rows that they need.
    """
    inner = geometry[INNER]
    count, offset = columns * inner, first * inner
    for term in range(terms.shape[0]):
        start, stop = terms[term, RUN_START], terms[term, RUN_STOP]
        along_columns = terms[term, TAP_START] < terms[term, TAP_STOP]
        two_passes = along_columns and start < stop
        if start < stop or not along_columns:
            wide = count + (geometry[COLUMN_TAPS] - 1) * inner if two_passes else count
            target = geometry[SCRATCH] if two_passes else geometry[RESULT]
            stride = geometry[SCRATCH_STRIDE] if two_passes else geometry[RESULT_STRIDE]
            call(down, (
                work, table, rows, offset, runs, weights, start, stop, wide, target, stride,
                int(term > 0 and not two_passes),
            ))  # fmt: skip
        if along_columns:
            compute_columns(
                lines, square, geometry, term, terms, shifts, line_weights, offset, count, rows, work, table,
                int(term > 0),
            )  # fmt: skip


@inlined
def locate_rows(first, needed, window, plane, geometry, table):
    """Where input rows `first` to ``first + needed`` start in `x`; False if one is a row of constants.

    The rest of `table[:window]`, for output rows beyond the last, repeats a row.
    """
    if plane == OUTSIDE_PLANE:
        return False
    for k in range(window):
        row = index_of(first + min(k, needed - 1), geometry[ROWS_IN], geometry[ROW_BOUNDARY])
        if row < 0:
            return False
        table[k] = plane + row * geometry[ROW_STRIDE_IN]
    return True


@kernel
def filter_tile(
    down, lines, square, pack, store, stripe, x, y, task, geometry, outer, outer_taps, terms, runs, weights, shifts,
    line_weights, edges, constants, work, table, sources, raw_in, raw_out,
):  # fmt: skip
    """One task: pack, compute and store a strip of rows by a tile of columns of one output plane."""
    tiles, strips = geometry[TILES], geometry[STRIPS]
    column = (task % tiles) * geometry[TILE]
    row = (task // tiles) % strips * geometry[STRIP]
    plane = task // (tiles * strips)
    columns = min(geometry[TILE], geometry[COLUMNS_OUT] - column)
    last_row = min(row + geometry[STRIP], geometry[ROWS_OUT])
    n_sources = geometry[SOURCES]
    for source in range(n_sources):
        sources[source] = locate_source(plane, source, geometry, outer, outer_taps)
    target = locate_target(plane, geometry, outer) + column * geometry[COLUMN_STRIDE_OUT]

    window = geometry[ROW_TAPS] + STEP_ROWS - 1  # packed rows that one step needs
    ring, ring_stride = geometry[RING], geometry[RING_STRIDE]
    first_column = column + geometry[COLUMN_FIRST]
    wide = columns + geometry[COLUMN_TAPS] - 1
    first_row = row + geometry[ROW_FIRST]
    packed = 0  # rows packed so far, counted from first_row
    for i in range(row, last_row, STEP_ROWS):
        done = i - row
        rows = min(STEP_ROWS, last_row - i)
        if geometry[DIRECT] and locate_rows(
            first_row + done, rows + geometry[ROW_TAPS] - 1, window, sources[0], geometry, table
        ):
            at = target + i * geometry[ROW_STRIDE_OUT]
            for q in range(0, rows, STRIPE_ROWS):
                call(stripe, (
                    x, table, q, min(STRIPE_ROWS, rows - q), column * geometry[INNER], columns * geometry[INNER],
                    runs, weights, shifts, line_weights, edges, geometry, constants[0], work, y,
                    at + q * geometry[ROW_STRIDE_OUT],
                ))  # fmt: skip
            continue
        packed = max(packed, done)
        while packed < done + rows + geometry[ROW_TAPS] - 1:
            slot = packed % window
            for source in range(n_sources):
                at = ring + (source * window + slot) * ring_stride
                call(pack, (
                    x, sources[source], first_row + packed, first_column, wide, geometry, constants[source],
                    raw_in, work, at,
                ))  # fmt: skip
            packed += 1
        for source in range(n_sources):
            for k in range(window):
                slot = (done + k) % window
                table[source * window + k] = ring + (source * window + slot) * ring_stride
        for first in range(0, columns, geometry[SEGMENT]):
            part = min(geometry[SEGMENT], columns - first)
            compute_step(
                down, lines, square, geometry, terms, runs, weights, shifts, line_weights, first, part, rows, work,
                table,
            )  # fmt: skip
            at = target + i * geometry[ROW_STRIDE_OUT] + first * geometry[COLUMN_STRIDE_OUT]
            for q in range(rows):
                call(store, (
                    work, geometry[RESULT] + q * geometry[RESULT_STRIDE], part, geometry, constants[0],
                    raw_out, y, at + q * geometry[ROW_STRIDE_OUT],
                ))  # fmt: skip


@serial
def run_serial(
    tile, down, lines, square, pack, store, stripe, x, y, first, last, geometry, outer, outer_taps, terms, runs, weights,
    shifts, line_weights, edges, constants, work, tables, raw_in, raw_out,
):  # fmt: skip
    """Tasks [first, last) on the calling thread."""
    for task in range(first, last):
        call(tile, (
            down, lines, square, pack, store, stripe, x, y, task, geometry, outer, outer_taps, terms, runs, weights,
            shifts, line_weights, edges, constants, work[0], tables[0], tables[1], raw_in[0], raw_out[0],
        ))  # fmt: skip


@parallel
def run_parallel(
    tile, down, lines, square, pack, store, stripe, x, y, first, last, geometry, outer, outer_taps, terms, runs, weights,
    shifts, line_weights, edges, constants, work, tables, raw_in, raw_out,
):  # fmt: skip
    """Tasks [first, last) on Numba's threads; each thread owns one row of every workspace."""
    for task in prange(first, last):
        thread = numba.get_thread_id()
        call(tile, (
            down, lines, square, pack, store, stripe, x, y, task, geometry, outer, outer_taps, terms, runs, weights,
            shifts, line_weights, edges, constants, work[thread], tables[2 * thread], tables[2 * thread + 1],
            raw_in[thread], raw_out[thread],
        ))  # fmt: skip


@functools.cache
def kernel_addresses(
    compute: np.dtype[Any], storage_in: Storage, storage_out: Storage, *, direct: bool, packed: bool
) -> tuple[Any, ...]:
    """What the drivers call: `filter_tile`, the arithmetic kernels, the packer, the storer, the stripe filter.

    Kernels that a pass never calls (because all its rows are filtered directly, or none) are not compiled.
    """
    number = numba.from_dtype(compute)
    line, table = types.Array(number, 1, "C"), types.Array(number, 2, "C")
    memory, integers = types.Array(types.uint8, 1, "C"), types.Array(types.int64, 1, "C")
    pairs, n = types.Array(types.int64, 2, "C"), types.int64
    down = lines = square = pack = store = stripe = 0
    if packed:
        down = address(correlate_runs, (line, integers, n, n, pairs, line, n, n, n, n, n, n))
        lines = address(correlate_lines, (line, n, n, n, integers, line, n, n, n, n, n, n))
        square = address(correlate_square, (line, n, n, integers, line, n, n, n, n, n, n, n))
        pack = address(packer(storage_in), (memory, n, n, n, n, integers, line, memory, line, n))
        store = address(storer(storage_out), (line, n, n, integers, line, memory, memory, n))
    program = (
        pairs,
        line,
        integers,
        line,
        integers,
    )  # runs, weights, shifts, weights of taps along rows, edges
    if direct:
        kernel = stripe_filter(storage_in, storage_out)
        stripe = address(kernel, (memory, integers, n, n, n, n, *program, integers, line, line, memory, n))
    tile = address(
        filter_tile,
        (
            *[n] * 6, memory, memory, n, integers, integers, pairs, pairs, *program, table, line, integers, integers,
            memory, memory,
        ),
    )  # fmt: skip
    return tile, down, lines, square, pack, store, stripe

"""The driver: one program of terms over every plane of an array, one read and one write.

A task is a tile of columns by a strip of rows of one output plane.  It packs input rows into a ring that stays
in cache, computes BLOCK_ROWS output rows at a time from it, and stores them.  Every output element is written by
exactly one task with the same operations in the same order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numba
from numba import prange

from .correlate import BLOCK_ROWS, correlate_line, correlate_runs
from .geometry import (
    COLUMN_FIRST,
    COLUMN_STRIDE_OUT,
    COLUMN_TAPS,
    COLUMNS_OUT,
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
    SOURCE_ROW,
    SOURCES,
    STRIP,
    STRIPS,
    TAP_START,
    TAP_STOP,
    TILE,
    TILES,
)
from .jit import kernel, parallel, serial
from .rows import fill_row, index_of, pack_row, store_row


@kernel
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


@kernel
def locate_target(plane, geometry, outer):
    """Where output plane `plane` starts in `y`."""
    at = 0
    for axis in range(geometry[OUTER_AXES] - 1, -1, -1):
        entry = OUTER_ENTRIES * axis
        size = outer[entry + OUTER_SIZE]
        at += outer[outer[entry + OUTER_OUT] + plane % size]
        plane //= size
    return at


@kernel
def pack_source_row(x, plane, row, first, columns, geometry, constants, raw, work, target):
    """Row `row` (any integer) of the input plane at `plane`, or of the constant beyond it."""
    row = index_of(row, geometry[ROWS_IN], geometry[ROW_BOUNDARY])
    if plane == OUTSIDE_PLANE or row < 0:
        fill_row(constants, geometry[INNER], columns, work, target)
    else:
        start = plane + row * geometry[ROW_STRIDE_IN]
        pack_row(x, start, first, columns, geometry, constants, raw, work, target)


@kernel
def compute_block(geometry, terms, runs, weights, shifts, line_weights, columns, rows, work, table):
    """All terms of the program for the `rows` <= BLOCK_ROWS output rows whose packed rows `table` lists."""
    result, result_stride = geometry[RESULT], geometry[RESULT_STRIDE]
    scratch, scratch_stride = geometry[SCRATCH], geometry[SCRATCH_STRIDE]
    inner = geometry[INNER]
    count = columns * inner
    for term in range(terms.shape[0]):
        accumulate = term > 0
        start, stop = terms[term, RUN_START], terms[term, RUN_STOP]
        tap_start, tap_stop = terms[term, TAP_START], terms[term, TAP_STOP]
        if tap_start == tap_stop:
            correlate_runs(work, table, runs, weights, start, stop, count, result, result_stride, accumulate)
            continue
        if start < stop:
            wide = (columns + geometry[COLUMN_TAPS] - 1) * inner
            correlate_runs(work, table, runs, weights, start, stop, wide, scratch, scratch_stride, False)
        for row in range(rows):
            source = scratch + row * scratch_stride if start < stop else table[terms[term, SOURCE_ROW] + row]
            target = result + row * result_stride
            correlate_line(
                work, source, shifts, line_weights, tap_start, tap_stop, count, target, accumulate
            )


@kernel
def filter_tile(
    x, y, task, geometry, outer, outer_taps, terms, runs, weights, shifts, line_weights, constants,
    work, table, sources, raw_in, raw_out,
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

    window = geometry[ROW_TAPS] + BLOCK_ROWS - 1  # packed rows that one block of output rows needs
    ring, ring_stride = geometry[RING], geometry[RING_STRIDE]
    first_column = column + geometry[COLUMN_FIRST]
    wide = columns + geometry[COLUMN_TAPS] - 1
    first_row = row + geometry[ROW_FIRST]
    packed = 0  # rows packed so far, counted from first_row
    for i in range(row, last_row, BLOCK_ROWS):
        done = i - row
        rows = min(BLOCK_ROWS, last_row - i)
        while packed < done + rows + geometry[ROW_TAPS] - 1:
            slot = packed % window
            for source in range(n_sources):
                pack_source_row(
                    x, sources[source], first_row + packed, first_column, wide, geometry, constants[source],
                    raw_in, work, ring + (source * window + slot) * ring_stride,
                )  # fmt: skip
            packed += 1
        for source in range(n_sources):
            for k in range(window):
                slot = (done + k) % window
                table[source * window + k] = ring + (source * window + slot) * ring_stride
        compute_block(geometry, terms, runs, weights, shifts, line_weights, columns, rows, work, table)
        for q in range(rows):
            store_row(
                work, geometry[RESULT] + q * geometry[RESULT_STRIDE], columns, geometry, constants[0],
                raw_out, y, target + (i + q) * geometry[ROW_STRIDE_OUT],
            )  # fmt: skip


@serial
def run_serial(
    x, y, first, last, geometry, outer, outer_taps, terms, runs, weights, shifts, line_weights, constants,
    work, tables, raw_in, raw_out,
):  # fmt: skip
    """Tasks [first, last) on the calling thread."""
    for task in range(first, last):
        filter_tile(
            x, y, task, geometry, outer, outer_taps, terms, runs, weights, shifts, line_weights, constants,
            work[0], tables[0], tables[1], raw_in[0], raw_out[0],
        )  # fmt: skip


@parallel
def run_parallel(
    x, y, first, last, geometry, outer, outer_taps, terms, runs, weights, shifts, line_weights, constants,
    work, tables, raw_in, raw_out,
):  # fmt: skip
    """Tasks [first, last) on Numba's threads; each thread owns one row of every workspace."""
    for task in prange(first, last):
        thread = numba.get_thread_id()
        filter_tile(
            x, y, task, geometry, outer, outer_taps, terms, runs, weights, shifts, line_weights, constants,
            work[thread], tables[2 * thread], tables[2 * thread + 1], raw_in[thread], raw_out[thread],
        )  # fmt: skip

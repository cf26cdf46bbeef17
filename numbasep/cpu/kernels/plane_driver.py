"""Driver of box filters and sums of terms: every plane of an array, with one read and one write.

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
from numba.core import config

from ...lowering.target import STEP_ROWS
from ..intrinsics.memory import Storage
from ..intrinsics.vectors import Line, call
from ..jit import address, driver, parallel, serial
from .addressing import locate_task
from .boxes import box_runs, box_square, sum_block
from .nan_aware import AS_STORED, BOTH, PRESENCE, normalise_row, view_row
from .packed_rows import compute_step, list_rows, sum_blocks
from .packed_sums import correlate_lines, correlate_runs, correlate_square
from .pass_arguments import byte_row, integer_row, integer_rows, integers, number_row, numbers
from .row_conversion import packer, storer
from .table_entries import (
    BLOCK_SUM,
    BLOCK_SUMS_OF,
    BLOCKS,
    BOX_ALONG,
    BOX_DOWN,
    COLUMN_FIRST,
    COLUMN_STRIDE_OUT,
    COLUMN_TAPS,
    DOWN,
    INNER,
    KERNELS,
    LINE_WEIGHTS,
    LINES,
    LIST,
    NORMAL,
    NORMALISE,
    PACK,
    RAW_IN,
    RAW_OUT,
    RESULT,
    RESULT_STRIDE,
    RING,
    RING_STRIDE,
    ROW_FIRST,
    ROW_STRIDE_OUT,
    ROW_TABLES,
    ROW_TAPS,
    RUNS,
    SEGMENT,
    SHARE,
    SHARE_TERM,
    SHIFTS,
    SIZES,
    SOURCE_TABLES,
    SOURCES,
    SQUARE,
    STEP,
    STORE,
    TERMS,
    VIEW,
    VIEWS,
    WEIGHTS,
    WORK,
)


@driver
def filter_tile(kernels, x, y, task, thread, block, constants):
    """Run one task: pack, compute and store a strip of rows by a tile of columns of one output plane."""
    geometry = integers(block, SIZES)
    terms, runs, weights = (
        integer_rows(block, TERMS),
        integer_rows(block, RUNS),
        numbers(block, WEIGHTS, constants),
    )
    shifts = integers(block, SHIFTS)
    line_weights = numbers(block, LINE_WEIGHTS, constants)
    normal = numbers(block, NORMAL, constants)
    work = number_row(block, WORK, thread, constants)
    table, sources = integer_row(block, ROW_TABLES, thread), integer_row(block, SOURCE_TABLES, thread)
    raw_in, raw_out = byte_row(block, RAW_IN, thread), byte_row(block, RAW_OUT, thread)
    n_sources = geometry[SOURCES]
    target, column, columns, row, last_row = locate_task(task, thread, block)

    window = geometry[ROW_TAPS] + STEP_ROWS - 1  # packed rows that one step needs
    first_column = column + geometry[COLUMN_FIRST]
    wide = columns + geometry[COLUMN_TAPS] - 1
    first_row = row + geometry[ROW_FIRST]
    packed = 0  # rows packed so far, counted from first_row
    summed = 0  # blocks of packed rows summed so far
    for i in range(row, last_row, STEP_ROWS):
        done = i - row
        rows = min(STEP_ROWS, last_row - i)
        packed = max(packed, done)
        while packed < done + rows + geometry[ROW_TAPS] - 1:
            slot = packed % window
            for source in range(n_sources):
                at = geometry[RING] + (source * window + slot) * geometry[RING_STRIDE]
                call(kernels[PACK], (
                    x, sources[source], first_row + packed, first_column, wide, geometry, constants[source],
                    raw_in, work, at,
                ))  # fmt: skip
                if geometry[VIEWS]:
                    presence = geometry[VIEWS] == PRESENCE or (
                        geometry[VIEWS] == BOTH and 2 * source >= n_sources
                    )
                    call(kernels[VIEW], (work, at, wide * geometry[INNER], int(presence)))
            packed += 1
        call(kernels[LIST], (done, geometry, table))
        if geometry[BLOCKS]:
            call(
                kernels[BLOCK_SUMS_OF],
                (kernels, summed, done, packed, wide * geometry[INNER], geometry, work, table),
            )
            summed = packed // STEP_ROWS
        for first in range(0, columns, geometry[SEGMENT]):
            part = min(geometry[SEGMENT], columns - first)
            terms_of_sums = geometry[SHARE_TERM] if geometry[SHARE_TERM] else terms.shape[0]
            call(kernels[STEP], (
                kernels, geometry, terms, 0, terms_of_sums, runs, weights, shifts, line_weights, first, part, rows,
                geometry[RESULT], work, table,
            ))  # fmt: skip
            if geometry[SHARE_TERM]:
                call(kernels[STEP], (
                    kernels, geometry, terms, geometry[SHARE_TERM], terms.shape[0], runs, weights, shifts, line_weights,
                    first, part, rows, geometry[SHARE], work, table,
                ))  # fmt: skip
                for q in range(rows):
                    here = q * geometry[RESULT_STRIDE]
                    call(kernels[NORMALISE], (
                        work, geometry[RESULT] + here, geometry[SHARE] + here, part * geometry[INNER], normal,
                    ))  # fmt: skip
            at = target + i * geometry[ROW_STRIDE_OUT] + first * geometry[COLUMN_STRIDE_OUT]
            for q in range(rows):
                call(kernels[STORE], (
                    work, geometry[RESULT] + q * geometry[RESULT_STRIDE], part, geometry, constants[0],
                    raw_out, y, at + q * geometry[ROW_STRIDE_OUT],
                ))  # fmt: skip


@serial
def run_serial(tile, kernels, x, y, first, last, block, constants):
    """Run tasks [first, last) on the calling thread."""
    for task in range(first, last):
        call(tile, (kernels, x, y, task, 0, block, constants))


@parallel
def run_parallel(tile, kernels, x, y, first, last, block, constants):
    """Run tasks [first, last) on Numba's threads; each thread has its own row of every workspace."""
    for task in prange(first, last):
        call(tile, (kernels, x, y, task, numba.get_thread_id(), block, constants))


@functools.cache
def kernel_addresses(
    compute: np.dtype[Any],
    storage_in: Storage,
    storage_out: Storage,
    *,
    view: int = AS_STORED,
    share: bool = False,
) -> tuple[Any, Any]:
    """Return the addresses of `filter_tile` and of the kernels that it calls.

    The kernels for NaN are only compiled if `view` or `share` says that they are called.
    """
    number = numba.from_dtype(compute)
    line, table = Line(number), Line(number, 2)
    memory, whole = Line(types.uint8), Line(types.int64)
    pairs, n = Line(types.int64, 2), types.int64
    at: list[Any] = [0] * KERNELS
    at[DOWN] = address(correlate_runs, (line, whole, n, n, pairs, line, n, n, n, n, n, n))
    at[LINES] = address(correlate_lines, (line, n, n, n, whole, line, n, n, n, n, n, n))
    at[SQUARE] = address(correlate_square, (line, n, n, whole, line, n, n, n, n, n, n, n))
    at[PACK] = address(packer(storage_in), (memory, n, n, n, n, whole, line, memory, line, n))
    at[LIST] = address(list_rows, (n, whole, whole))
    at[STEP] = address(
        compute_step,
        (whole, whole, pairs, n, n, pairs, line, whole, line, n, n, n, n, line, whole),
    )
    at[STORE] = address(storer(storage_out), (line, n, n, whole, line, memory, memory, n))
    at[BOX_DOWN] = address(box_runs, (line, whole, *[n] * 5, number, *[n] * 6))
    at[BOX_ALONG] = address(box_square, (line, *[n] * 5, number, *[n] * 6))
    at[BLOCK_SUM] = address(sum_block, (line, whole, n, n, n))
    at[BLOCK_SUMS_OF] = address(sum_blocks, (whole, n, n, n, n, whole, line, whole))
    if view:
        at[VIEW] = address(view_row, (line, n, n, n))
    if share:
        at[NORMALISE] = address(normalise_row, (line, n, n, n, line))
    tile = address(filter_tile, (whole, memory, memory, n, n, whole, table))
    return tile, at if config.DISABLE_JIT else np.array(at, np.int64)

"""Separable kernel: filters along rows and columns in one pass, for a sum of separable terms.

    y[i, j] = sum over terms t, taps k, l of v[t, k] * h[t, l] * x[i + k, j + l]

A stripe has ROWS output rows, or a multiple of ROWS if rows are short, and is divided into segments of columns.  For
each segment, `vertical` sums rows into short row buffers in the first-level cache, `fill_ends` extends these beyond the
edges of the array, and `horizontal` sums along them and writes the output.  Boundary modes repeat columns, so they can
be applied to the vertical sums.

A task is a tile of columns by a strip of rows of one output plane.  Every output element is written with the same
operations in the same order whatever the tasks, so results do not depend on the number of threads.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import config

from ..intrinsics.memory import Storage
from ..intrinsics.vectors import Line, call, lanes_of
from ..jit import address, driver, inlined
from .addressing import locate_task
from .boundary_columns import fill_ends, other_end
from .finished_rows import write_finished
from .horizontal import horizontal_pass
from .nan_aware import AS_STORED, BOTH, PRESENCE, VALUES, view_row
from .pass_arguments import byte_row, integer_rows, integers, number_bytes, number_row, numbers
from .polyphase import split_columns
from .row_conversion import packer
from .row_ring import pack_window
from .strips import filter_strip
from .table_entries import (
    COLUMN_FIRST,
    COLUMN_STEP,
    COLUMN_STRIDE_OUT,
    COLUMN_TAPS,
    COLUMNS_IN,
    CONSTANT_ROWS,
    DENSE,
    DENSE_PACKED,
    DENSE_SEGMENT,
    EDGE_ROW,
    EDGES,
    ENDS,
    FETCHED,
    FILL,
    FIRST_RUN,
    HORIZONTAL,
    INNER,
    INSIDE_FIRST,
    INSIDE_LAST,
    KERNELS,
    LAST_BLOCK,
    LEFT_ENDS,
    LINE_WEIGHTS,
    LINES_OF_TAPS,
    NORMAL,
    OUTSIDE_SUMS,
    PACK,
    PACK_WINDOW,
    PACKED,
    RAW_OUT,
    RING_STRIDE,
    ROW_STRIDE_IN,
    ROW_STRIDE_OUT,
    ROW_TAPS,
    RUN_ROW,
    RUN_STOP,
    RUNS,
    SEGMENT_PASS,
    SHARE_TERM,
    SIZES,
    SOURCES,
    SPLIT,
    SPLIT_PACKED,
    STRIP_PASS,
    SUMS,
    SUMS_STRIDE,
    TERM_STRIDE,
    TERMS,
    UNSPLIT,
    VERTICAL,
    VIEW,
    WEIGHTS,
    WINDOW,
    WORK,
    WRITE,
)
from .vertical import ROWS, dense_pass, edge_pass, numbers_to_line, vertical_pass


@inlined
def sum_rows(
    kernels, x, table, whole, rows, first, last, count, geometry, terms, term, runs, weights, work, target
):
    """Compute the vertical sums of one term for `rows` rows: `count` elements, from element `first` of the rows on."""
    start, stop = terms[term, FIRST_RUN], terms[term, RUN_STOP]
    share = 1 if geometry[SHARE_TERM] and term >= geometry[SHARE_TERM] else 0
    if whole:
        for r in range(0, rows, ROWS):
            call(kernels[VERTICAL + share], (
                x, table[r:], first, last, count, runs, start, stop, weights, work,
                target + r * geometry[SUMS_STRIDE], geometry[SUMS_STRIDE],
            ))  # fmt: skip
    else:
        for r in range(rows):
            call(kernels[EDGE_ROW + share], (
                x, table, r, first, last, count, runs, start, stop, weights, geometry[WINDOW],
                geometry[CONSTANT_ROWS], geometry[RING_STRIDE], work, target + r * geometry[SUMS_STRIDE],
            ))  # fmt: skip


@driver
def filter_dense_segment(
    kernels, x, table, rows, column, columns, origin, block, constants, thread, y, target
):
    """Compute `columns` columns, from column `column` on, of `rows` output rows without a horizontal pass.

    Columns whose windows are inside the array are computed from the array, the others from packed copies of the ends of
    rows or of whole rows.
    """
    geometry, terms, runs = integers(block, SIZES), integer_rows(block, TERMS), integer_rows(block, RUNS)
    weights, normal = numbers(block, WEIGHTS, constants), numbers(block, NORMAL, constants)
    raw, ring = byte_row(block, RAW_OUT, thread), number_bytes(block, WORK, thread, constants)
    inner, stop = geometry[INNER], column + columns
    low, high = max(geometry[INSIDE_FIRST], column), min(geometry[INSIDE_LAST], stop)
    packed = table if geometry[PACKED] else table[geometry[WINDOW] * geometry[SOURCES] :]
    for part in range(3):
        memory, rows_at, kind, below, last = ring, packed, DENSE_PACKED, -1, 1 << 62
        if part == 0:
            begin, end, first = column, min(low, stop), (column - origin) * inner
        elif part == 1:
            begin, end, first = low, high, (low + geometry[COLUMN_FIRST]) * inner
            memory, rows_at, kind, last = x, table, DENSE, geometry[LAST_BLOCK]
            if geometry[FETCHED]:
                newest = table[geometry[ROW_TAPS] + ROWS - 2]
                below = (newest + geometry[ROW_STRIDE_IN] + first) * geometry[FETCHED]
        else:
            begin, end = max(max(high, low), column), stop
            first = (geometry[LEFT_ENDS] + begin - geometry[INSIDE_LAST]) * inner
        if begin < end:
            call(kernels[kind], (
                memory, below, rows_at, first, last, rows, (end - begin) * inner, terms, geometry[SHARE_TERM], runs,
                weights, geometry, constants[0, 0], normal, raw, y,
                target + (begin - column) * geometry[COLUMN_STRIDE_OUT],
            ))  # fmt: skip


@driver
def filter_segment(
    kernels, x, table, whole, rows, column, columns, origin, block, constants, thread, y, target
):
    """Compute `columns` columns, from column `column` on, of `rows` output rows.

    Rows are summed in blocks if `whole`, otherwise one by one, because rows of their windows may be beyond a constant
    boundary.  Packed rows begin at output column `origin`.
    """
    geometry = integers(block, SIZES)
    terms, runs, weights = (
        integer_rows(block, TERMS),
        integer_rows(block, RUNS),
        numbers(block, WEIGHTS, constants),
    )
    lines, line_weights = integer_rows(block, LINES_OF_TAPS), numbers(block, LINE_WEIGHTS, constants)
    edges, normal, outside = (
        integers(block, EDGES),
        numbers(block, NORMAL, constants),
        numbers(block, OUTSIDE_SUMS, constants),
    )
    if geometry[PACKED]:
        x = number_bytes(block, WORK, thread, constants)
    work, raw = number_row(block, WORK, thread, constants), byte_row(block, RAW_OUT, thread)
    inner, size = geometry[INNER], geometry[COLUMNS_IN]
    if kernels[DENSE_SEGMENT] and whole:
        call(
            kernels[DENSE_SEGMENT],
            (kernels, x, table, rows, column, columns, origin, block, constants, thread, y, target),
        )
        return
    step = geometry[COLUMN_STEP]
    first = column * step + geometry[COLUMN_FIRST]
    stop = first + (columns - 1) * step + geometry[COLUMN_TAPS]
    low = high = first  # no column inside the array is needed
    if geometry[PACKED]:
        high = stop
    elif stop > 0 and first < size:
        low, high = max(first, 0), min(stop, size)
    least, most = 0, 0
    if high - low < size and not geometry[PACKED]:
        least, most = other_end(first, low, high, stop, geometry, edges)
    sums = geometry[UNSPLIT] if kernels[SPLIT] else geometry[SUMS]
    if geometry[FETCHED] and low < high and runs.shape[0]:
        # vertical sums have the alignment of the rows that they are computed from
        begins = table[runs[0, RUN_ROW]] + low * inner
        sums += -((low - first) * inner + numbers_to_line(x, begins, geometry[FETCHED])) % lanes_of(work)
    for term in range(terms.shape[0]):
        buffer = sums if kernels[SPLIT] else sums + term * geometry[TERM_STRIDE]
        for part in range(2):
            # columns inside the array, then the columns of its other end that the boundary repeats
            last = geometry[LAST_BLOCK]
            if part == 0:
                start, stop_at, to = low, high, buffer + (low - first) * inner
                if geometry[PACKED]:
                    start, last = (column - origin) * step, 1 << 62
                    stop_at = start + high - low
            else:
                start, stop_at, to = least, most, geometry[ENDS]
            if start < stop_at:
                sum_rows(
                    kernels, x, table, whole, rows, start * inner, last, (stop_at - start) * inner, geometry, terms,
                    term, runs, weights, work, to,
                )  # fmt: skip
        if first < low or high < stop:
            period = outside.size // terms.shape[0]
            call(kernels[FILL], (
                work, buffer, first, low, high, stop, geometry[ENDS], least, rows, geometry, edges,
                outside[term * period : (term + 1) * period],
            ))  # fmt: skip
        if kernels[SPLIT]:
            split = geometry[SUMS] + term * geometry[TERM_STRIDE]
            call(kernels[SPLIT], (work, buffer, split, rows, geometry[SUMS_STRIDE], columns, geometry))
    below = -1
    if geometry[FETCHED] and whole and not kernels[SPLIT]:
        newest = table[0]  # the row after it is fetched, which may be in the next plane
        for k in range(1, geometry[WINDOW]):
            newest = max(newest, table[k])
        below = (newest + geometry[ROW_STRIDE_IN] + low * inner) * geometry[FETCHED]
    call(kernels[HORIZONTAL], (
        x, below, work, geometry[SUMS] if kernels[SPLIT] else sums, rows, columns * inner, terms,
        geometry[SHARE_TERM], lines, line_weights,
        geometry, constants[0, 0], normal, raw, y, target, geometry[ROW_STRIDE_OUT],
    ))  # fmt: skip


@driver
def filter_separable_tile(kernels, x, y, task, thread, block, constants):
    """Compute one task: a strip of rows by a tile of columns of one output plane."""
    target, column, columns, row, last_row = locate_task(task, thread, block)
    call(
        kernels[STRIP_PASS],
        (kernels, x, y, row, last_row, column, columns, target, thread, block, constants),
    )


@functools.cache
def kernel_addresses(
    compute: np.dtype[Any],
    storage_in: Storage,
    storage_out: Storage,
    *,
    packed: bool,
    single_rows: bool,
    view: int = AS_STORED,
    share: bool = False,
    dense: bool = False,
    ends: bool = False,
    split: bool = False,
    fetching: bool = False,
    finished: bool = False,
) -> tuple[Any, Any]:
    """Return the addresses of the tile filter, which `plane_driver` calls, and of the kernels that it calls.

    Kernels that a pass never calls are not compiled.
    """
    number = numba.from_dtype(compute)
    line, constants = Line(number), Line(number, 2)
    memory, whole = Line(types.uint8), Line(types.int64)
    pairs, n = Line(types.int64, 2), types.int64
    at: list[Any] = [0] * KERNELS
    summed = Storage(f"f{compute.itemsize}") if packed else storage_in
    views = [VALUES, PRESENCE] if view == BOTH else [view] * (2 if share else 1)
    stored = [AS_STORED] * len(views)  # views of packed rows
    if dense:
        arguments = (
            memory, n, whole, n, n, n, n, pairs, n, pairs, line, whole, number, line, memory, memory, n,
        )  # fmt: skip
        if not packed:
            at[DENSE] = address(dense_pass(storage_in, tuple(views), storage_out), arguments)
        if packed or ends:
            at[DENSE_PACKED] = address(
                dense_pass(Storage(f"f{compute.itemsize}"), tuple(stored), storage_out), arguments
            )
        at[DENSE_SEGMENT] = address(
            filter_dense_segment, (whole, memory, whole, n, n, n, n, whole, constants, n, memory, n)
        )
    for i, seen in enumerate((stored if packed else views) if not dense or single_rows else ()):
        at[VERTICAL + i] = address(
            vertical_pass(summed, seen, fetching), (memory, whole, n, n, n, pairs, n, n, line, line, n, n)
        )
        if single_rows:
            at[EDGE_ROW + i] = address(
                edge_pass(summed, seen), (memory, whole, n, n, n, n, pairs, n, n, line, n, n, n, line, n)
            )
    if packed or ends:
        at[PACK] = address(packer(storage_in), (memory, n, n, n, n, whole, line, memory, line, n))
        at[PACK_WINDOW] = address(
            pack_window, (whole, memory, n, n, n, n, n, n, whole, whole, whole, constants, memory, line)
        )
    if not packed and (not dense or single_rows):
        at[FILL] = address(fill_ends, (line, n, n, n, n, n, n, n, n, whole, whole, line))
    if split:
        at[SPLIT_PACKED if dense else SPLIT] = address(split_columns, (line, n, n, n, n, n, whole))
    if (packed or ends) and view:
        at[VIEW] = address(view_row, (line, n, n, n))
    if not dense or single_rows:
        at[HORIZONTAL] = address(
            horizontal_pass(storage_out, share=share),
            (memory, n, line, n, n, n, pairs, n, pairs, line, whole, number, line, memory, memory, n, n),
        )
    if finished:
        at[WRITE] = address(write_finished, (memory, n, memory, n, n))
    at[SEGMENT_PASS] = address(
        filter_segment, (whole, memory, whole, n, n, n, n, n, whole, constants, n, memory, n)
    )
    at[STRIP_PASS] = address(filter_strip, (whole, memory, memory, n, n, n, n, n, n, whole, constants))
    tile = address(filter_separable_tile, (whole, memory, memory, n, n, whole, constants))
    return tile, at if config.DISABLE_JIT else np.array(at, np.int64)

"""Filters strips of rows of a separable pass, one stripe and one segment of columns at a time."""

from __future__ import annotations

from ..intrinsics.memory import misalignment
from ..intrinsics.row_sums import fetch_intrinsic
from ..intrinsics.vectors import LINE_BYTES, call, poke
from ..jit import driver, inlined
from .addressing import locate_window
from .pass_arguments import byte_row, integer_row, integers, number_bytes, number_row
from .table_entries import (
    COLUMN_STRIDE_OUT,
    CONSTANT_ROWS,
    EDGE_ROW,
    FINISHED,
    FINISHED_BYTES,
    INNER,
    PACK_WINDOW,
    PACKED,
    RAW_IN,
    RING,
    RING_STRIDE,
    ROW_FIRST,
    ROW_STEP,
    ROW_STRIDE_OUT,
    ROW_TABLES,
    ROW_TAPS,
    SEGMENT,
    SEGMENT_PASS,
    SIZES,
    SOURCE_TABLES,
    SOURCES,
    STREAM,
    STRIPE_ROWS,
    WORK,
    WRITE,
)
from .vertical import ROWS

fetch_written = fetch_intrinsic(ROWS, written=True)


@inlined
def ask_for_ends(y, target, columns, geometry):
    """Prefetch the cache lines at both ends of the rows of the next stripe, which are only partly overwritten.

    Processors write in order, so non-temporal stores would wait until these lines are read.
    """
    item, pitch = geometry[STREAM], geometry[STREAM] * geometry[ROW_STRIDE_OUT]
    begin = target * item + geometry[STRIPE_ROWS] * pitch
    width = columns * geometry[COLUMN_STRIDE_OUT] * item
    for r in range(0, geometry[STRIPE_ROWS], ROWS):
        if misalignment(y, begin):
            fetch_written(y, begin + r * pitch, pitch)
        if misalignment(y, begin + width):
            fetch_written(y, begin + width + r * pitch, pitch)


@driver
def filter_strip(kernels, x, y, row, last_row, column, columns, target, thread, block, constants):
    """Compute `columns` columns, from column `column` on, of rows [row, last_row) of one output plane.

    Input planes start at the offsets in SOURCE_TABLES; ``y[target]`` is column `column` of output row 0.
    """
    geometry, n_sources = integers(block, SIZES), integers(block, SIZES)[SOURCES]
    work = number_row(block, WORK, thread, constants)
    table, sources = integer_row(block, ROW_TABLES, thread), integer_row(block, SOURCE_TABLES, thread)
    step, taps = geometry[ROW_STEP], geometry[ROW_TAPS]
    if geometry[CONSTANT_ROWS]:
        for source in range(n_sources):
            at, period = geometry[CONSTANT_ROWS] + source * geometry[RING_STRIDE], constants.shape[1] - 1
            for j in range(geometry[RING_STRIDE]):
                poke(work, at + j, constants[source, 1 + j % period])
    packed = 0
    for i in range(row, last_row, geometry[STRIPE_ROWS]):
        done, rows = i - row, min(geometry[STRIPE_ROWS], last_row - i)
        whole, needed = 1, (rows - 1) * step + taps
        if geometry[RING]:
            call(kernels[PACK_WINDOW], (
                kernels, x, row, done, packed, needed, column, columns, sources, table, geometry, constants,
                byte_row(block, RAW_IN, thread), work,
            ))  # fmt: skip
            packed = done * step + needed
        if not geometry[PACKED]:
            whole = int(
                locate_window(i * step + geometry[ROW_FIRST], needed, sources, n_sources, geometry, table)
            )
        if kernels[EDGE_ROW] and rows < ROWS:
            whole = 0
        here, first, part = target + i * geometry[ROW_STRIDE_OUT], 0, geometry[SEGMENT]
        written, there = y, here
        if geometry[FINISHED]:
            written, there = number_bytes(block, WORK, thread, constants), geometry[FINISHED]
        if geometry[STREAM]:  # the first segment is longer, so that the others begin at cache lines
            part += (
                -misalignment(y, here * geometry[STREAM]) % LINE_BYTES // (geometry[STREAM] * geometry[INNER])
            )
            ask_for_ends(y, here, columns, geometry)
        while first < columns:
            call(kernels[SEGMENT_PASS], (
                kernels, x, table, whole, rows, column + first, min(part, columns - first),
                column if geometry[PACKED] else 0, block, constants, thread, written,
                there + first * geometry[COLUMN_STRIDE_OUT],
            ))  # fmt: skip
            first += part
            part = geometry[SEGMENT]
        if geometry[FINISHED]:
            item = geometry[FINISHED_BYTES]
            call(kernels[WRITE], (
                written, there * item, y, here * item, rows * geometry[ROW_STRIDE_OUT] * item,
            ))  # fmt: skip

"""Flat kernels of bytes: sums of 16-bit integers, each output row from the one before it.

From one output row to the next, the sum over a column of equal weights gains a sample and loses one.  The difference
of two output rows is a sum of 16-bit integers over the ends of columns (`factor.column_ends`).  It is added to sums
of 32 bits.  A task is a tile of columns by a strip of rows of one output plane or several.  It packs input rows, and
sums of 2 and 4 neighbours, into a ring that stays in the second-level cache.  Samples above the strip count as zero:
all sums are zero some rows before the first row that is stored, and become complete there.

On one core of Zen 4 at 3.7 GHz an unaligned load of 32 bytes takes 0.27 ns: 12.5 ns for 16 results of a disk of radius
16, which has 46 runs of ends.  The sums take 16 ns, packing and storing 10 ns.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import config

from ..intrinsics.byte_sums import LANES, differences_intrinsic, double_shorts
from ..intrinsics.memory import Storage
from ..intrinsics.row_sums import fetch_intrinsic
from ..intrinsics.vectors import LINE_BYTES, Line, call
from ..jit import address, driver, kernel
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
    KERNELS,
    LEVEL_STRIDE,
    LEVELS,
    LINES_OF_TAPS,
    OUTER,
    OUTER_SOURCES,
    PACK,
    PLANES,
    PLANES_OUT,
    RAW_IN,
    RAW_OUT,
    RESULT,
    RESULT_STRIDE,
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
    SCRATCH,
    SHIFTS,
    SIZES,
    SOURCE_TABLES,
    SOURCES,
    STORE,
    STRIP,
    STRIPE_ROWS,
    STRIPS,
    SUMS,
    SUMS_STRIDE,
    TILE,
    TILES,
    VERTICAL,
    VIEW,
    WEIGHTS,
    WINDOW,
    WORK,
)

VECTORS, FEW_VECTORS = 8, 2  # vectors per block, and after the last whole block
BLOCK, FEW = VECTORS * LANES, FEW_VECTORS * LANES

# groups[group, ...]: the terms of the ends below columns of equal weight begin at GAINED, those at the top at LOST
GAINED, LOST, END = range(3)

move_many, move_few = differences_intrinsic(VECTORS), differences_intrinsic(FEW_VECTORS)
fetch_line = fetch_intrinsic(1)


@kernel
def double_row(work, source, levels, stride, count):
    """Write sums of 2, 4, ... neighbours of a row of `count` 16-bit integers to `levels` rows after it."""
    for level in range(levels):
        for j in range(0, count, LANES):
            double_shorts(work, source + j, source + stride + j, 1 << level)
        source += stride


@kernel
def move_sums(
    work, table, terms, first, middle, last, count, rows, sums, target, pitch, weight, opens, x, ahead, stride
):
    """Move `count` sums of a group through `rows` output rows; add them to ``work[target + q * pitch]`` for row q.

    Meanwhile prefetch `rows` rows of `x`, `stride` bytes apart from byte `ahead` on.
    """
    j = 0
    while j < count:
        many = j + BLOCK <= count
        for q in range(rows):
            to = target + q * pitch + j
            if many:
                move_many(work, table, terms, first, middle, last, q, j, sums + j, to, weight, opens)
            else:
                move_few(work, table, terms, first, middle, last, q, j, sums + j, to, weight, opens)
            if opens:
                for line in range(0, BLOCK if many else FEW, LINE_BYTES):
                    fetch_line(x, ahead + q * stride + j + line, 0)
        j += BLOCK if many else FEW


@driver
def filter_bytes_tile(kernels, x, y, task, thread, block, constants):
    """Run one task: pack, sum and store a strip of rows by a tile of columns of one output plane or several.

    Adjacent output planes of a volume share all input planes but one, so only that one is packed for the next plane.
    """
    geometry, outer, outer_taps = (
        integers(block, SIZES),
        integers(block, OUTER),
        integer_rows(block, OUTER_SOURCES),
    )
    groups, terms = integer_rows(block, LINES_OF_TAPS), integers(block, SHIFTS)
    weights, work = numbers(block, WEIGHTS, constants), number_row(block, WORK, thread, constants)
    table, sources = integer_row(block, ROW_TABLES, thread), integer_row(block, SOURCE_TABLES, thread)
    raw_in, raw_out = byte_row(block, RAW_IN, thread), byte_row(block, RAW_OUT, thread)
    tiles, strips, pitch = geometry[TILES], geometry[STRIPS], geometry[RESULT_STRIDE]
    n_sources, window, step = geometry[SOURCES], geometry[WINDOW], geometry[STRIPE_ROWS]
    column = (task % tiles) * geometry[TILE]
    row = (task // tiles) % strips * geometry[STRIP]
    chunks = (geometry[PLANES_OUT] + geometry[PLANES] - 1) // geometry[PLANES]
    chunk = task // (tiles * strips)
    first_plane = chunk // chunks * geometry[PLANES_OUT] + chunk % chunks * geometry[PLANES]
    last_plane = min(first_plane + geometry[PLANES], (chunk // chunks + 1) * geometry[PLANES_OUT])
    columns = min(geometry[TILE], geometry[COLUMNS_OUT] - column)
    count = min(geometry[STRIP], geometry[ROWS_OUT] - row)
    capacity, wide = geometry[RING_ROWS], columns + geometry[COLUMN_TAPS] - 1
    lead = (
        (geometry[ROW_TAPS] + step - 2) // step * step
    )  # rows before the first, so that no sample precedes them
    zeros = geometry[RING] + n_sources * capacity * geometry[RING_STRIDE]
    for j in range(zeros, zeros + geometry[RING_STRIDE]):
        work[j] = 0
    for plane in range(first_plane, last_plane):
        target = (
            locate_planes(plane, geometry, outer, outer_taps, sources) + column * geometry[COLUMN_STRIDE_OUT]
        )
        age = plane - first_plane
        oldest = n_sources - 1 if age else 0  # first input plane that is not packed yet
        for j in range(geometry[SUMS], geometry[SUMS] + groups.shape[0] * geometry[SUMS_STRIDE]):
            work[j] = 0
        packed = 0  # rows packed so far
        for i in range(-lead, count, step):
            rows = min(step, count - i)
            needed = i + rows + geometry[ROW_TAPS] - 1
            while packed < needed:
                for source in range(oldest, n_sources):
                    slot = (source + age) % n_sources * capacity + packed % capacity
                    at = geometry[RING] + slot * geometry[RING_STRIDE]
                    here, there = row + geometry[ROW_FIRST] + packed, column + geometry[COLUMN_FIRST]
                    call(kernels[VIEW], (
                        kernels[PACK], x, sources[source], here, there, wide, geometry, constants[source], raw_in,
                        work, geometry[SCRATCH], at,
                    ))  # fmt: skip
                    call(kernels[VERTICAL], (work, 2 * at, geometry[LEVELS], geometry[LEVEL_STRIDE], wide))
                packed += 1
            start = (i - 1) % capacity
            for source in range(n_sources):
                ring = geometry[RING] + (source + age) % n_sources * capacity * geometry[RING_STRIDE]
                for j in range(window):
                    # output rows of the step below the last row read the last packed row again
                    here = start + min(j, needed - i)
                    here -= capacity if here >= capacity else 0
                    at = ring + here * geometry[RING_STRIDE]
                    table[source * window + j] = 2 * (at if i + j > 0 else zeros)
            ahead = min(max(row + geometry[ROW_FIRST] + packed, 0), geometry[ROWS_IN] - 1)
            fetched = sources[n_sources - 1] + ahead * geometry[ROW_STRIDE_IN]
            fetched += max(column + geometry[COLUMN_FIRST], 0) * geometry[COLUMN_STRIDE_IN]
            for group in range(groups.shape[0]):
                call(kernels[HORIZONTAL], (
                    work, table, terms, groups[group, GAINED], groups[group, LOST], groups[group, END], columns, step,
                    geometry[SUMS] + group * geometry[SUMS_STRIDE], geometry[RESULT], pitch, weights[group],
                    int(group == 0), x, fetched * geometry[FETCHED], geometry[ROW_STRIDE_IN] * geometry[FETCHED],
                ))  # fmt: skip
            for q in range(rows if i >= 0 else 0):
                call(kernels[STORE], (
                    work, geometry[RESULT] + q * pitch, columns, geometry, constants[0], raw_out, y,
                    target + (row + i + q) * geometry[ROW_STRIDE_OUT],
                ))  # fmt: skip


@functools.cache
def byte_kernel_addresses(storage_in: Storage, storage_out: Storage) -> tuple[Any, Any]:
    """Return the addresses of `filter_bytes_tile` and of the kernels that it calls."""
    number = numba.from_dtype(np.dtype(np.float32))
    line, constants = Line(number), Line(number, 2)
    memory, whole = Line(types.uint8), Line(types.int64)
    n = types.int64
    at: list[Any] = [0] * KERNELS
    at[PACK] = address(packer(storage_in), (memory, n, n, n, n, whole, line, memory, line, n))
    at[VIEW] = address(pack_bytes, (n, memory, n, n, n, n, whole, line, memory, line, n, n))
    at[VERTICAL] = address(double_row, (line, n, n, n, n))
    at[HORIZONTAL] = address(move_sums, (line, whole, whole, n, n, n, n, n, n, n, n, number, n, memory, n, n))
    at[STORE] = address(storer(storage_out), (line, n, n, whole, line, memory, memory, n))
    tile = address(filter_bytes_tile, (whole, memory, memory, n, n, whole, constants))
    return tile, at if config.DISABLE_JIT else np.array(at, np.int64)

"""Dense kernel: weighted sums of runs of vertical taps, over rows of the array or packed rows.

Contiguous rows are read from the array; only the elements that windows need beyond the edges of a row are copied.  Rows
at the upper and lower boundary and rows of other storage types are packed first (`row_conversion`).  They are not
packed to a ring, since the rows of a run must have a constant stride.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import config

from ...lowering.target import STEP_ROWS
from ..intrinsics.memory import Storage, copy_element, load_as, misalignment
from ..intrinsics.nontemporal import close_rows
from ..intrinsics.register_tiles import SLIDES
from ..intrinsics.row_sums import DENSE_ROWS, add_folded_run, add_run, fetch_intrinsic, zero_dense
from ..intrinsics.vectors import Line, call, lanes_of, load, peek, poke, store
from ..jit import address, driver, inlined, kernel, named
from .addressing import locate_task
from .dense_epilogue import ALIGNED_VECTORS, stripe_finisher
from .dense_unrolled import dense_sweep
from .pass_arguments import byte_row, integer_row, integer_rows, integers, number_bytes, number_row, numbers
from .row_conversion import packer, storer
from .table_entries import (
    COLUMN_FIRST,
    COLUMN_STRIDE_OUT,
    COLUMN_TAPS,
    COLUMNS_IN,
    DIRECT,
    EDGE_LAST,
    EDGES,
    ENDS,
    ENDS_STRIDE,
    FETCHED,
    FOLD,
    INNER,
    KEPT,
    KERNELS,
    OUTSIDE_PLANE,
    PACK,
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
    RUN_LENGTH,
    RUN_MIRROR,
    RUN_ROW,
    RUN_SHIFT,
    RUN_WEIGHTS,
    RUNS,
    SEGMENT,
    SIZES,
    SOURCE_TABLES,
    SOURCES,
    STORE,
    STREAM,
    STRIPE,
    STRIPE_ROWS,
    SWEEP,
    WEIGHTS,
    WORK,
)

fetch_rows = fetch_intrinsic(DENSE_ROWS)

EVERYWHERE = 1 << 62  # stands for the bounds of packed rows, which windows never exceed


@inlined
def extend_rows(
    x, table, row, copied, rows, first, stop, storage, geometry, edges, constants, work, ends, ahead
):
    """Copy elements [first, stop) of `rows` extended rows to `ahead` elements after the start of their copies.

    Row k starts at element ``table[row + k]`` of `x`, its copy at ``table[copied + k]`` of the workspace.  `edges` has
    the sources of elements beyond the edges: those left of the array from the window's reach on, then those right of
    it.  Up to a vector after `stop` is overwritten.
    """
    lanes, period = lanes_of(constants), constants.size - 1
    size, reach = geometry[COLUMNS_IN] * geometry[INNER], geometry[COLUMN_FIRST] * geometry[INNER]
    at, ahead = first, ahead - first
    while at < stop:  # rows are the inner loop, so that the source of an element is looked up once
        if 0 <= at < size:
            at = min(at, size - lanes)  # elements copied twice are equal
            for k in range(rows):
                store(work, peek(table, copied + k) + ahead + at, load_as(
                    x, peek(table, row + k) + at, storage, constants[0]
                ))  # fmt: skip
            at += lanes
        else:
            found = edges[at - reach] if at < 0 else edges[geometry[EDGE_LAST] + at - size]
            beyond = constants[1 + (at - reach) % period] if found < 0 else constants[0]
            for k in range(rows):
                target = peek(table, copied + k) + ahead + at
                if found < 0:
                    poke(work, target, beyond)
                else:
                    copy_element(x, peek(table, row + k) + found, ends, target, storage)
            at += 1


@functools.cache
def dense_filter(storage: Storage, *, stored: bool, folded: bool) -> Any:
    """Return the kernel for rows of the compute type; it writes to the workspace if results are `stored` later.

    If `folded`, runs multiply sums or differences of a column and its mirror image.
    """
    item = storage.dtype.itemsize
    finish = stripe_finisher(storage)

    @kernel
    @named(f"{storage.suffix}{'_stored' * stored}{'_folded' * folded}")
    def filter_dense(
        x, table, rows, stride, low, high, first, count, runs, weights, edges, geometry, constants, work, ends, y,
        target, array, ahead, kernels,
    ):  # fmt: skip
        """Compute `count` elements from `first` on of up to DENSE_ROWS output rows.

        Element 0 of row k of the window of row 0 is element ``table[k]`` of `x`; rows are `stride` elements apart, and
        elements [low, high) may be read.  Element `first` of output row 0 is element `target` of `y`.  `ends` are the
        bytes of `work`.  Input of the next rows is prefetched from byte `ahead` of `array` on.  If there is an unrolled
        kernel, ``kernels[SWEEP]``, it computes whole vectors of whole blocks.
        """
        like = constants[0]
        lanes = lanes_of(constants)
        stride_out = geometry[RESULT_STRIDE] if stored else geometry[ROW_STRIDE_OUT]
        origin = first + geometry[COLUMN_FIRST] * geometry[INNER]  # element under the first tap
        span = (geometry[COLUMN_TAPS] - 1) * geometry[INNER]
        window = geometry[ROW_TAPS] + STEP_ROWS - 1
        copied = window * geometry[SOURCES]  # index in the table of the first copied row
        left = lanes + span - origin if origin < low else 0  # elements copied at the left of each row
        right = max(high - lanes - span + 1, origin)  # first element copied at the right
        stop = origin + count + span if origin + count > right else right
        needed = rows + geometry[ROW_TAPS] - 1
        for source in range(geometry[SOURCES] if left or stop > right else 0):
            here = source * window
            for k in range(here, here + needed):
                table[copied + k] = geometry[ENDS] + k * geometry[ENDS_STRIDE]
            for side in range(2):
                start, end = (right, stop) if side else (origin, origin + left)
                extend_rows(
                    x, table, here, copied + here, needed, start, end, storage, geometry, edges, constants, work, ends,
                    side * left,
                )  # fmt: skip
        straight = stride_out % lanes == 0  # all rows have the same alignment
        stream = geometry[STREAM] and straight
        lines = geometry[STREAM] and not straight  # rows have different alignments
        ragged = 1 if SLIDES and not stored and lines else 0
        divisor = like / like if stored else like  # results that are stored later are divided then
        sweeps = kernels[SWEEP] and rows == geometry[STRIPE_ROWS]
        width = lanes
        if stream or (straight and count >= ALIGNED_VECTORS * lanes):
            width = -misalignment(y, target * item) % (lanes * item) // item
            width = width if width else lanes
        done = 0
        while done < count:
            column = origin + done
            memory, base, step, offset, room = x, 0, stride, column, high - span - column
            if column < low:
                memory, base, step, offset, room = ends, copied, geometry[ENDS_STRIDE], done, lanes
            elif room < lanes:
                memory, base, step, offset, room = (
                    ends, copied, geometry[ENDS_STRIDE], left + column - right, lanes,
                )  # fmt: skip
            vectors = min(count - done, room) // lanes
            if sweeps and vectors > 0 and width == lanes and ragged != 1:
                call(kernels[SWEEP], (
                    memory, table[base + runs[0, RUN_ROW]] + offset, step, vectors, runs, weights, geometry, divisor,
                    stream, ragged, work, y, target + done, stride_out, array, ahead + done * geometry[FETCHED],
                ))  # fmt: skip
                done += vectors * lanes
                continue
            if geometry[FETCHED]:
                fetch_rows(
                    array, ahead + done * geometry[FETCHED], geometry[ROW_STRIDE_IN] * geometry[FETCHED]
                )
            total = zero_dense(like)
            for run in range(runs.shape[0]):
                start = table[base + runs[run, RUN_ROW]] + offset + runs[run, RUN_SHIFT]
                if folded:
                    total = add_folded_run(
                        total, memory, start, step, storage, weights, runs[run, RUN_WEIGHTS], runs[run, RUN_LENGTH],
                        runs[run, RUN_MIRROR], geometry[FOLD],
                    )  # fmt: skip
                else:
                    total = add_run(
                        total, memory, start, step, storage, weights, runs[run, RUN_WEIGHTS], runs[run, RUN_LENGTH]
                    )  # fmt: skip
            part = min(width, count - done)
            finish(
                y, target + done, stride_out, rows, part, stream, ragged, total, divisor, work, geometry[KEPT],
            )  # fmt: skip
            done += part
            width = lanes
            ragged = 2 if ragged else 0
        if ragged and count >= lanes:
            at = target + count - count % lanes
            close_rows(y, at, stride_out, rows, storage, work, geometry[KEPT])

    return filter_dense


@inlined
def are_inside(first, needed, sources, n_sources, geometry):
    """Return whether rows [first, first + needed) of every source are inside the array."""
    for source in range(n_sources):
        if sources[source] == OUTSIDE_PLANE:
            return False
    return first >= 0 and first + needed <= geometry[ROWS_IN]


@inlined
def move_rows(work, target, source, count, stride):
    """Move `count` packed rows to the place of earlier rows."""
    for at in range(0, count * stride, lanes_of(work)):
        store(work, target + at, load(work, source + at))


@driver
def filter_dense_tile(kernels, x, y, task, thread, block, constants):
    """Run a task: a strip of rows by a tile of columns of an output plane, as `plane_driver.filter_tile`."""
    geometry = integers(block, SIZES)
    runs, weights = integer_rows(block, RUNS), numbers(block, WEIGHTS, constants)
    edges, work = integers(block, EDGES), number_row(block, WORK, thread, constants)
    ends = number_bytes(block, WORK, thread, constants)
    table, sources = integer_row(block, ROW_TABLES, thread), integer_row(block, SOURCE_TABLES, thread)
    raw_in, raw_out = byte_row(block, RAW_IN, thread), byte_row(block, RAW_OUT, thread)
    n_sources, inner = geometry[SOURCES], geometry[INNER]
    target, column, columns, row, last_row = locate_task(task, thread, block)

    needed = geometry[ROW_TAPS] + DENSE_ROWS - 1  # rows under the windows of a block of rows
    pitch = geometry[ROW_TAPS] + STEP_ROWS - 1  # entries of the table per source
    capacity, stride = geometry[RING_ROWS], geometry[RING_STRIDE]
    first_column = column + geometry[COLUMN_FIRST]
    wide = columns + geometry[COLUMN_TAPS] - 1
    first_row = row + geometry[ROW_FIRST]
    base = packed = 0  # range of the packed rows in the workspace, counted from first_row
    for i in range(row, last_row, geometry[STRIPE_ROWS]):
        done = i - row
        rows = min(geometry[STRIPE_ROWS], last_row - i)
        memory, step, low, high = ends, stride, -EVERYWHERE, EVERYWHERE
        if geometry[DIRECT] and are_inside(first_row + done, needed, sources, n_sources, geometry):
            memory, step, low, high = x, geometry[ROW_STRIDE_IN], 0, geometry[COLUMNS_IN] * inner
            for source in range(n_sources):
                for k in range(needed):
                    table[source * pitch + k] = sources[source] + (first_row + done + k) * step
        else:
            packed = max(packed, done)
            if packed == done or done + needed - base > capacity:
                for source in range(n_sources):
                    at = geometry[RING] + source * capacity * stride
                    move_rows(work, at, at + (done - base) * stride, packed - done, stride)
                base = done
            while packed < done + geometry[ROW_TAPS] - 1 + rows:
                for source in range(n_sources):
                    at = geometry[RING] + (source * capacity + packed - base) * stride
                    call(kernels[PACK], (
                        x, sources[source], first_row + packed, first_column, wide, geometry, constants[source],
                        raw_in, work, at,
                    ))  # fmt: skip
                packed += 1
            for source in range(n_sources):
                for k in range(needed):
                    at = geometry[RING] + (source * capacity + done - base + k) * stride
                    table[source * pitch + k] = at - first_column * inner
        ahead = sources[n_sources - 1] + (first_row + done + needed) * geometry[ROW_STRIDE_IN]
        ahead += first_column * inner
        at = target + i * geometry[ROW_STRIDE_OUT]
        if not kernels[STORE]:
            call(kernels[STRIPE], (
                memory, table, rows, step, low, high, column * inner, columns * inner, runs, weights, edges, geometry,
                constants[0], work, ends, y, at, x, ahead * geometry[FETCHED], kernels,
            ))  # fmt: skip
            continue
        for first in range(0, columns, geometry[SEGMENT]):
            part = min(geometry[SEGMENT], columns - first)
            call(kernels[STRIPE], (
                memory, table, rows, step, low, high, (column + first) * inner, part * inner, runs, weights, edges,
                geometry, constants[0], work, ends, ends, geometry[RESULT], x,
                (ahead + first * inner) * geometry[FETCHED], kernels,
            ))  # fmt: skip
            for q in range(rows):
                call(kernels[STORE], (
                    work, geometry[RESULT] + q * geometry[RESULT_STRIDE], part, geometry, constants[0], raw_out, y,
                    at + q * geometry[ROW_STRIDE_OUT] + first * geometry[COLUMN_STRIDE_OUT],
                ))  # fmt: skip


@functools.cache
def kernel_addresses(
    compute: np.dtype[Any], storage_in: Storage, storage_out: Storage, *, stored: bool, folded: bool, taps: int = 0,
    height: int = DENSE_ROWS,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the addresses of `filter_dense_tile`, which drivers call, and of the kernels that it calls.

    Results that are converted or scattered are `stored` by a separate kernel.  With `taps`, the loop over vertical
    taps is unrolled, for blocks of `height` rows.
    """
    number = numba.from_dtype(compute)
    line, table = Line(number), Line(number, 2)
    memory, whole = Line(types.uint8), Line(types.int64)
    pairs, n = Line(types.int64, 2), types.int64
    at: list[Any] = [0] * KERNELS
    at[PACK] = address(packer(storage_in), (memory, n, n, n, n, whole, line, memory, line, n))
    if stored:
        at[STORE] = address(storer(storage_out), (line, n, n, whole, line, memory, memory, n))
    program = (pairs, line, whole, whole, line, line)  # runs, weights, edges, geometry, constants, workspace
    stripe = (memory, whole, *[n] * 6, *program, memory, memory, n, memory, n, whole)
    rows = Storage(f"f{compute.itemsize}")
    at[STRIPE] = address(dense_filter(rows, stored=stored, folded=folded), stripe)
    if taps:
        arrays = (memory, n, n, n, pairs, line, whole, number, n, n, line, memory, n, n, memory, n)
        at[SWEEP] = address(dense_sweep(rows, taps, height), arrays)
    tile = address(filter_dense_tile, (whole, memory, memory, n, n, whole, table))
    return tile, at if config.DISABLE_JIT else np.array(at, np.int64)

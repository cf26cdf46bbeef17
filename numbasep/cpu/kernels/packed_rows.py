"""A step of the plane driver, which computes all terms from packed rows."""

from __future__ import annotations

from ...lowering.target import SQUARE_TAPS, STEP_ROWS
from ..intrinsics.vectors import call, lanes_of, peek
from ..jit import inlined, kernel
from .table_entries import (
    BLOCK_SUM,
    BLOCK_SUMS,
    BLOCKS,
    BOX_ALONG,
    BOX_DOWN,
    COLUMN_BOX,
    COLUMN_TAPS,
    DOWN,
    INNER,
    LINES,
    RESULT_STRIDE,
    RING,
    RING_STRIDE,
    ROW_BOX,
    ROW_TAPS,
    RUN_LENGTH,
    RUN_ROW,
    RUN_SHIFT,
    RUN_START,
    RUN_STOP,
    RUN_WEIGHTS,
    SCRATCH,
    SCRATCH_STRIDE,
    SOURCE_ROW,
    SOURCES,
    SQUARE,
    TAP_START,
    TAP_STOP,
    TURNED,
    TURNED_BLOCKS,
)


@inlined
def compute_columns(
    kernels, geometry, term, terms, shifts, weights, offset, count, rows, work, table, result, accumulate,
):  # fmt: skip
    """Compute the horizontal pass of a term, from the rows between the passes or from packed rows."""
    start, stop = terms[term, TAP_START], terms[term, TAP_STOP]
    source, source_stride = geometry[SCRATCH], geometry[SCRATCH_STRIDE]
    stride = geometry[RESULT_STRIDE]
    lanes = lanes_of(work)
    done = 0
    if terms[term, RUN_START] == terms[term, RUN_STOP]:
        source, source_stride = table[terms[term, SOURCE_ROW]] + offset, geometry[RING_STRIDE]
        while done < rows and geometry[ROW_TAPS] > 1:  # rows of a ring may not be in order
            at = table[terms[term, SOURCE_ROW] + done] + offset
            call(kernels[LINES], (
                work, at, 0, 1, shifts, weights, start, stop, count, result + done * stride, stride, accumulate,
            ))  # fmt: skip
            done += 1
    while done < rows and terms[term, COLUMN_BOX]:
        call(kernels[BOX_ALONG], (
            work, source + done * source_stride, source_stride, peek(shifts, start), geometry[INNER], stop - start,
            peek(weights, start), count, result + done * stride, stride, geometry[TURNED], geometry[TURNED_BLOCKS],
            accumulate,
        ))  # fmt: skip
        done += lanes
    while stop - start >= SQUARE_TAPS and rows - done > lanes // 2:
        call(kernels[SQUARE], (
            work, source + done * source_stride, source_stride, shifts, weights, start, stop, count,
            result + done * stride, stride, geometry[TURNED], accumulate,
        ))  # fmt: skip
        done += lanes
    if done < rows:
        call(kernels[LINES], (
            work, source + done * source_stride, source_stride, rows - done, shifts, weights, start, stop, count,
            result + done * stride, stride, accumulate,
        ))  # fmt: skip


@inlined
def compute_rows(
    kernels, geometry, term, terms, runs, weights, offset, count, rows, work, table, target, stride, accumulate,
):  # fmt: skip
    """Compute the vertical pass of a term from packed rows."""
    start, stop = terms[term, RUN_START], terms[term, RUN_STOP]
    if terms[term, ROW_BOX]:
        window, blocks, sources = geometry[ROW_TAPS] + STEP_ROWS - 1, geometry[BLOCKS], geometry[SOURCES]
        source = runs[start, RUN_ROW] // window
        call(kernels[BOX_DOWN], (
            work, table, sources * (window + blocks), offset + runs[start, RUN_SHIFT], source * window,
            runs[start, RUN_ROW] % window, runs[start, RUN_LENGTH], peek(weights, runs[start, RUN_WEIGHTS]), blocks,
            sources * window + source * blocks, count, target, stride, accumulate,
        ))  # fmt: skip
    else:
        call(kernels[DOWN], (
            work, table, rows, offset, runs, weights, start, stop, count, target, stride, accumulate,
        ))  # fmt: skip


@kernel
def compute_step(
    kernels, geometry, terms, first_term, last_term, runs, weights, shifts, line_weights, first, columns, rows,
    result, work, table,
):  # fmt: skip
    """Compute terms [first_term, last_term) for columns [first, first + columns) of `rows` <= STEP_ROWS output rows.

    `table` has the offsets of the packed rows.
    """
    inner = geometry[INNER]
    count, offset = columns * inner, first * inner
    for term in range(first_term, last_term):
        start, stop = terms[term, RUN_START], terms[term, RUN_STOP]
        along_columns = terms[term, TAP_START] < terms[term, TAP_STOP]
        two_passes = along_columns and start < stop
        if start < stop or not along_columns:
            wide = count + (geometry[COLUMN_TAPS] - 1) * inner if two_passes else count
            target = geometry[SCRATCH] if two_passes else result
            stride = geometry[SCRATCH_STRIDE] if two_passes else geometry[RESULT_STRIDE]
            compute_rows(
                kernels, geometry, term, terms, runs, weights, offset, wide, rows, work, table, target, stride,
                int(term > first_term and not two_passes),
            )  # fmt: skip
        if along_columns:
            compute_columns(
                kernels, geometry, term, terms, shifts, line_weights, offset, count, rows, work,
                table, result,
                int(term > first_term),
            )  # fmt: skip


@kernel
def list_rows(done, geometry, table):
    """List the offsets of the packed rows of the step at row `done`, and of their block sums."""
    window, blocks, sources = geometry[ROW_TAPS] + STEP_ROWS - 1, geometry[BLOCKS], geometry[SOURCES]
    for source in range(sources):
        for k in range(window):
            slot = source * window + (done + k) % window
            table[source * window + k] = geometry[RING] + slot * geometry[RING_STRIDE]
        for block in range(blocks):
            slot = source * blocks + (done // STEP_ROWS + block) % blocks
            table[sources * window + source * blocks + block] = (
                geometry[BLOCK_SUMS] + slot * geometry[RING_STRIDE]
            )


@kernel
def sum_blocks(kernels, summed, done, packed, count, geometry, work, table):
    """Sum the newly completed blocks of STEP_ROWS packed rows; the first `summed` blocks are done."""
    window, blocks, sources = geometry[ROW_TAPS] + STEP_ROWS - 1, geometry[BLOCKS], geometry[SOURCES]
    summed = max(summed, done // STEP_ROWS)
    while (summed + 1) * STEP_ROWS <= packed:
        block = summed - done // STEP_ROWS
        for source in range(sources):
            call(kernels[BLOCK_SUM], (
                work, table, source * window + block * STEP_ROWS, count,
                table[sources * window + source * blocks + block],
            ))  # fmt: skip
        summed += 1

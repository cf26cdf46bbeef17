"""Vertical and horizontal weighted sums of packed rows.

They read and write a workspace of the compute type in whole blocks, so every row must have the width of a block of
slack after it.  Nothing is checked.
"""

from __future__ import annotations

from ..intrinsics.register_blocks import BlockIntrinsics
from ..intrinsics.vectors import BLOCK_COLUMNS, BLOCK_ROWS, LANES64, REGISTERS, lanes_of, peek
from ..jit import kernel
from .table_entries import RUN_LENGTH, RUN_ROW, RUN_SHIFT, RUN_WEIGHTS

# Columns of a transpose that share loaded vectors; at most the side of a square of any type.
TURNED_COLUMNS = min(8 if REGISTERS == 32 else 4, LANES64)
LINE_COLUMNS = 8 if REGISTERS == 32 else 4  # vectors of a row that share each loaded weight

_rows = BlockIntrinsics(BLOCK_ROWS, BLOCK_COLUMNS)
zero_block, read_block, write_block = _rows.zero, _rows.read, _rows.write
open_window, push_row, fma_block = _rows.window, _rows.push, _rows.fma
_line = BlockIntrinsics(1, LINE_COLUMNS)
zero_line, read_line, write_line, fma_line = _line.zero, _line.read, _line.write, _line.fma
_square = BlockIntrinsics(0, 1)
zero_square, read_square, write_square = _square.zero, _square.read, _square.write
fma_square, add_square, transpose = _square.fma, _square.add, _square.transpose
read_adjacent = _square.read_adjacent
_turned = BlockIntrinsics(TURNED_COLUMNS, 1)
zero_turned, fma_turned, write_turned = _turned.zero, _turned.fma, _turned.write_adjacent
open_turned, push_turned = _turned.window_adjacent, _turned.push_adjacent


@kernel
def correlate_runs(work, table, rows, offset, runs, weights, start, stop, count, target, stride, accumulate):
    """Compute `rows` output rows of `count` elements, each the sum of `runs[start:stop]` over packed rows.

    A run is a column of taps: for output row r, tap k multiplies packed row ``table[r + RUN_ROW + k]`` from `offset`
    on, shifted by RUN_SHIFT elements.  A loaded row is used for BLOCK_ROWS output rows; whole blocks are computed.
    """
    like = work[0]
    width = BLOCK_COLUMNS * lanes_of(work)
    for row in range(0, rows, BLOCK_ROWS):
        for j in range(0, count, width):
            at = target + row * stride + j
            total = read_block(work, at, stride) if accumulate else zero_block(like)
            for run in range(start, stop):
                first, shift = row + runs[run, RUN_ROW], runs[run, RUN_SHIFT] + offset + j
                weight = runs[run, RUN_WEIGHTS]
                window = open_window(work, table, first, shift)
                for k in range(runs[run, RUN_LENGTH]):
                    window = push_row(window, work, table, first + k + BLOCK_ROWS - 1, shift)
                    total = fma_block(peek(weights, weight + k), window, total)
            write_block(work, at, stride, total)


@kernel
def correlate_lines(
    work, source, source_stride, rows, shifts, weights, start, stop, count, target, stride, accumulate
):
    """Compute `rows` output rows of `count` elements: taps `start` to `stop` along the packed rows from `source` on."""
    like = work[0]
    width = LINE_COLUMNS * lanes_of(work)
    for row in range(rows):
        here, there = source + row * source_stride, target + row * stride
        for j in range(0, count, width):
            total = read_line(work, there + j, 0) if accumulate else zero_line(like)
            for tap in range(start, stop):
                shifted = read_line(work, here + j + peek(shifts, tap), 0)
                total = fma_line(peek(weights, tap), shifted, total)
            write_line(work, there + j, 0, total)


@kernel
def correlate_square(
    work, source, source_stride, shifts, weights, start, stop, count, target, stride, turned, accumulate
):
    """Compute the same as `correlate_lines` for as many rows as a vector has lanes, in their transpose.

    Along a row, most shifted loads straddle two cache lines and cost twice as much.  In the transpose at
    `work[turned]`, a vector holds a column of all rows, and every load is aligned.
    """
    like = work[0]
    lanes = lanes_of(work)
    reach = peek(shifts, stop - 1)
    shift = peek(shifts, start)
    adjacent = reach - shift == stop - start - 1
    ready = 0
    for j in range(0, count, lanes):
        while ready < j + lanes + reach:
            square = read_square(work, source + ready, source_stride)
            write_square(work, turned + ready * lanes, lanes, transpose(square))
            ready += lanes
        total = zero_square(like)
        if (
            adjacent
        ):  # each vector is loaded once for TURNED_COLUMNS columns, which overwrite columns no longer needed
            for column in range(j, j + lanes, TURNED_COLUMNS):
                at = turned + (column + shift) * lanes
                sums = zero_turned(like)
                window = open_turned(work, at)
                at += (TURNED_COLUMNS - 1) * lanes
                for tap in range(stop - start):
                    window = push_turned(window, work, at + tap * lanes)
                    sums = fma_turned(peek(weights, start + tap), window, sums)
                write_turned(work, turned + column * lanes, sums)
            total = read_adjacent(work, turned + j * lanes)
        else:
            for tap in range(start, stop):
                column = turned + (j + peek(shifts, tap)) * lanes
                total = fma_square(peek(weights, tap), read_adjacent(work, column), total)
        total = transpose(total)
        if accumulate:
            total = add_square(read_square(work, target + j, stride), total)
        write_square(work, target + j, stride, total)

"""The two arithmetic kernels: down packed rows, and along packed rows.

Both read and write one workspace of compute numbers, in whole blocks: every row must have a block's width of
slack behind it.  Nothing is checked.
"""

from __future__ import annotations

from .geometry import RUN_LENGTH, RUN_ROW, RUN_SHIFT, RUN_WEIGHTS
from .jit import inlined
from .simd import BLOCK_COLUMNS, BLOCK_ROWS, REGISTERS, VECTOR_BYTES, BlockWords, peek

LINE_COLUMNS = 8 if REGISTERS == 32 else 4  # vectors of one row that share every weight they load

_rows = BlockWords(BLOCK_ROWS, BLOCK_COLUMNS)
zero_block, read_block, write_block = _rows.zero, _rows.read, _rows.write
open_window, push_row, fma_block = _rows.window, _rows.push, _rows.fma
_line = BlockWords(1, LINE_COLUMNS)
zero_line, read_line, write_line, fma_line = _line.zero, _line.read, _line.write, _line.fma


@inlined
def correlate_runs(work, table, offset, runs, weights, start, stop, count, target, stride, accumulate):
    """BLOCK_ROWS output rows of `count` numbers, each the sum of `runs[start:stop]` of weighted packed rows.

    A run is a column of taps: rows `table[RUN_ROW + k]` from `offset` on, shifted by RUN_SHIFT elements.  A row that is loaded
    serves all output rows of the block.
    """
    like = work[0]
    width = BLOCK_COLUMNS * (VECTOR_BYTES // work.itemsize)
    for j in range(0, count, width):
        total = read_block(work, target + j, stride) if accumulate else zero_block(like)
        for run in range(start, stop):
            first, shift = runs[run, RUN_ROW], runs[run, RUN_SHIFT] + offset
            weight = runs[run, RUN_WEIGHTS]
            window = open_window(work, table, first, shift + j)
            for k in range(runs[run, RUN_LENGTH]):
                window = push_row(window, work, table, first + k + BLOCK_ROWS - 1, shift + j)
                total = fma_block(peek(weights, weight + k), window, total)
        write_block(work, target + j, stride, total)


@inlined
def correlate_line(work, source, shifts, weights, start, stop, count, target, accumulate):
    """One output row of `count` numbers: taps `start` to `stop` along the packed row at `source`."""
    like = work[0]
    width = LINE_COLUMNS * (VECTOR_BYTES // work.itemsize)
    for j in range(0, count, width):
        total = read_line(work, target + j, 0) if accumulate else zero_line(like)
        for tap in range(start, stop):
            here = read_line(work, source + j + peek(shifts, tap), 0)
            total = fma_line(peek(weights, tap), here, total)
        write_line(work, target + j, 0, total)

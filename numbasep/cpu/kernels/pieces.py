"""Runs several passes on one piece of an array after another, whose intermediates stay in a second-level cache.

A task is a piece: it runs all tasks of each of its passes.  Pieces of the same kind share the tables of their passes;
only the places where they begin in the input and the output differ.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from ..intrinsics.vectors import Line, call
from ..jit import address, driver
from .pass_arguments import byte_row, integer_rows, integers

# Tables in the block of a joined pass: see `cpu.pieces`
STEPS_TABLE, PIECES_TABLE, LOCAL_TABLE, BLOCKS_TABLE, TILES_TABLE = range(5)
# Entries of a pass; its arrays begin at bytes of the local memory, or are the input or the output if negative
SOURCE, TARGET, TASKS, FIRST_KERNEL, FIRST_ENTRY, FIRST_CONSTANT, STEP_ENTRIES = range(7)
# Entries of a piece: its passes, and the bytes where it begins
FIRST_STEP, LAST_STEP, INPUT_AT, OUTPUT_AT, PIECE_ENTRIES = range(5)


@driver
def filter_piece(kernels, x, y, task, thread, block, constants):
    """Run the passes of one piece, with the signature of `plane_driver.filter_tile`."""
    steps, pieces = integer_rows(block, STEPS_TABLE), integer_rows(block, PIECES_TABLE)
    local, blocks, tiles = (
        byte_row(block, LOCAL_TABLE, thread),
        integers(block, BLOCKS_TABLE),
        integers(block, TILES_TABLE),
    )
    here, there = x[pieces[task, INPUT_AT] :], y[pieces[task, OUTPUT_AT] :]
    for step in range(pieces[task, FIRST_STEP], pieces[task, LAST_STEP]):
        source, target = here, there
        if steps[step, SOURCE] >= 0:
            source = local[steps[step, SOURCE] :]
        if steps[step, TARGET] >= 0:
            target = local[steps[step, TARGET] :]
        for part in range(steps[step, TASKS]):
            call(tiles[step], (
                kernels[steps[step, FIRST_KERNEL] :], source, target, part, thread,
                blocks[steps[step, FIRST_ENTRY] :], constants[steps[step, FIRST_CONSTANT] :],
            ))  # fmt: skip


def piece_address(compute: np.dtype[Any]) -> Any:
    """Return the address of `filter_piece`."""
    memory, whole, n = Line(types.uint8), Line(types.int64), types.int64
    return address(filter_piece, (whole, memory, memory, n, n, whole, Line(numba.from_dtype(compute), 2)))

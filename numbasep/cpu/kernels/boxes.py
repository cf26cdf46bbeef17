"""Box filters: sums of many equal taps that share partial sums.

STEP_ROWS = 16 adjacent windows of n >= 16 samples share their middle n - 15 samples, which are summed once, by sums of
blocks of 16 samples where possible.  The rest of each window is a suffix of the 15 samples before the middle and a
prefix of the 15 after it.  Samples are never subtracted, so sums do not drift, sums of non-negative samples are
non-negative, and a NaN affects only the windows that contain it.  (Prefixes and suffixes as in M. van Herk, "A fast
algorithm for local minimum and maximum filters", Pattern Recognition Letters 13, 1992.)  Nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from ...lowering.target import STEP_ROWS
from ..intrinsics.register_blocks import BlockIntrinsics, items_of, pack_items
from ..intrinsics.vectors import Block, add, lanes_of, load, pointer_to, span, store, vector_intrinsic
from ..jit import inlined, kernel
from .packed_sums import fma_square, read_adjacent, read_square, transpose, write_square, zero_square

_step = BlockIntrinsics(STEP_ROWS, 1)
zero_step, read_step, write_step, fma_step = _step.zero, _step.read, _step.write, _step.fma


# --------------------------------------------------------------------------- intrinsics


def _sum_windows(builder: Any, kind: Any, load_row: Callable[[Any], Any], length: Any, middle: Any) -> Any:
    """Emit the sums of all windows of a step, `middle` + suffix + prefix; `load_row` loads a sample by its number."""
    index = length.type
    sums = [middle]
    for row in range(STEP_ROWS - 2, -1, -1):
        sums.append(builder.fadd(sums[-1], load_row(ir.Constant(index, row))))
    sums.reverse()
    prefix = None
    for row in range(1, STEP_ROWS):
        sample = load_row(builder.add(length, ir.Constant(index, row - 1)))
        prefix = sample if prefix is None else builder.fadd(prefix, sample)
        sums[row] = builder.fadd(sums[row], prefix)
    return pack_items(builder, kind, sums)


def _windows_reference(rows: Callable[[int], np.ndarray], length: int, middle: np.ndarray) -> np.ndarray:
    before = np.stack([rows(row) for row in range(STEP_ROWS - 1)])
    after = np.stack([rows(length + row) for row in range(STEP_ROWS - 1)])
    return np.stack(
        [middle + before[row:].sum(axis=0) + after[:row].sum(axis=0) for row in range(STEP_ROWS)]
    ).astype(middle.dtype)


def _listed_reference(
    work: np.ndarray, table: np.ndarray, first: int, offset: int, length: int, middle: np.ndarray
) -> np.ndarray:
    return _windows_reference(
        lambda row: span(work, table[first + row] + offset, middle.size), length, middle
    )


@vector_intrinsic(_listed_reference)
def sum_listed(
    typingctx: Any, work: Any, table: Any, first: Any, offset: Any, length: Any, middle: Any
) -> Any:
    """Sum a step of windows of samples at ``table[first + row] + offset``; `middle` is the sum that they share."""
    block = Block(work.dtype, STEP_ROWS, 1)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def load_row(row: Any) -> Any:
            entry = builder.add(args[2], row)
            at = builder.load(
                pointer_to(context, builder, sig.args[1], args[1], entry, ir.IntType(64)), align=8
            )
            pointer = pointer_to(
                context, builder, sig.args[0], args[0], builder.add(at, args[3]), args[5].type
            )
            return builder.load(pointer, align=work.dtype.bitwidth // 8)

        return _sum_windows(builder, context.get_value_type(block), load_row, args[4], args[5])

    return block(work, table, types.intp, types.intp, types.intp, middle), codegen


def _spaced_reference(
    work: np.ndarray, first: int, spacing: int, length: int, middle: np.ndarray
) -> np.ndarray:
    return _windows_reference(lambda row: span(work, first + row * spacing, middle.size), length, middle)


@vector_intrinsic(_spaced_reference)
def sum_spaced(typingctx: Any, work: Any, first: Any, spacing: Any, length: Any, middle: Any) -> Any:
    """Sum as `sum_listed`, but samples `spacing` elements apart from ``work[first]`` on."""
    block = Block(work.dtype, STEP_ROWS, 1)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def load_row(row: Any) -> Any:
            at = builder.add(args[1], builder.mul(row, args[2]))
            pointer = pointer_to(context, builder, sig.args[0], args[0], at, args[4].type)
            return builder.load(pointer, align=work.dtype.bitwidth // 8)

        return _sum_windows(builder, context.get_value_type(block), load_row, args[3], args[4])

    return block(work, types.intp, types.intp, types.intp, middle), codegen


def _write_spaced_reference(work: np.ndarray, first: int, spacing: int, block: np.ndarray) -> None:
    for row, vector in enumerate(block):
        span(work, first + row * spacing, vector.size)[:] = vector


@vector_intrinsic(_write_spaced_reference)
def write_spaced(typingctx: Any, work: Any, first: Any, spacing: Any, block: Any) -> Any:
    """Store the vectors of a block of one column `spacing` elements apart."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for row, vector in enumerate(items_of(builder, args[3])):
            at = builder.add(args[1], builder.mul(args[2], ir.Constant(args[2].type, row)))
            pointer = pointer_to(context, builder, sig.args[0], args[0], at, vector.type)
            builder.store(vector, pointer, align=work.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(work, types.intp, types.intp, block), codegen


# --------------------------------------------------------------------------- kernels


@inlined
def list_middle(table, parts, first, start, stop, blocks, blocks_from):
    """List the offsets of the samples that all windows share, with block sums for whole blocks; return their number.

    Samples `start` to `stop` are at `table[first + sample]`; the sum of block b of STEP_ROWS samples, of `blocks`, is
    at `table[blocks_from + b]`.
    """
    block, last_block = (start + STEP_ROWS - 1) // STEP_ROWS, min(stop // STEP_ROWS, blocks)
    count = 0
    sample = start
    while sample < stop:
        if sample == block * STEP_ROWS and block < last_block:
            table[parts + count] = table[blocks_from + block]
            block += 1
            sample += STEP_ROWS
        else:
            table[parts + count] = table[first + sample]
            sample += 1
        count += 1
    return count


@kernel
def box_runs(
    work,
    table,
    parts,
    offset,
    first,
    row,
    length,
    weight,
    blocks,
    blocks_from,
    count,
    target,
    stride,
    accumulate,
):
    """Compute STEP_ROWS output rows of `count` elements, each `weight` times a sum of `length` packed rows.

    Output row r sums ``table[first + row + r]`` and the following rows, from `offset` on.  `table[parts:]` is scratch.
    """
    like = work[0]
    lanes = lanes_of(work)
    listed = list_middle(table, parts, first, row + STEP_ROWS - 1, row + length, blocks, blocks_from)
    for j in range(0, count, lanes):
        middle = load(work, table[parts] + offset + j)
        for part in range(1, listed):
            middle = add(middle, load(work, table[parts + part] + offset + j))
        sums = sum_listed(work, table, first + row, offset + j, length, middle)
        total = read_step(work, target + j, stride) if accumulate else zero_step(like)
        write_step(work, target + j, stride, fma_step(weight, sums, total))


@kernel
def sum_block(work, table, first, count, target):
    """Sum STEP_ROWS packed rows of `count` elements."""
    lanes = lanes_of(work)
    for j in range(0, count, lanes):
        total = load(work, table[first] + j)
        for row in range(1, STEP_ROWS):
            total = add(total, load(work, table[first + row] + j))
        store(work, target + j, total)


@kernel
def box_square(
    work,
    source,
    source_stride,
    shift,
    inner,
    length,
    weight,
    count,
    target,
    stride,
    turned,
    blocks,
    accumulate,
):
    """Compute horizontal boxes of as many rows as a vector has lanes: `length` elements `inner` apart, times `weight`.

    As in `correlate_square`, the rows are transposed to `work[turned]`; sums of blocks are at `work[blocks]`.
    """
    like = work[0]
    lanes = lanes_of(work)
    spacing = inner * lanes  # elements from one sample to the next
    group = STEP_ROWS * inner
    ready = 0  # number of columns that are transposed
    summed = 0  # number of groups of them that have block sums
    for j in range(0, count, group):
        wanted = j + group + shift + length * inner
        while ready < wanted:
            square = read_square(work, source + ready, source_stride)
            write_square(work, turned + ready * lanes, lanes, transpose(square))
            ready += lanes
        while (summed + 1) * group <= ready:
            for channel in range(inner):
                at = turned + (summed * group + channel) * lanes
                total = load(work, at)
                for sample in range(1, STEP_ROWS):
                    total = add(total, load(work, at + sample * spacing))
                store(work, blocks + (summed * inner + channel) * lanes, total)
            summed += 1
        first = (j + shift) // inner
        start, stop = first + STEP_ROWS - 1, first + length
        block, last_block = (start + STEP_ROWS - 1) // STEP_ROWS, stop // STEP_ROWS
        head = block * STEP_ROWS if block < last_block else stop
        for channel in range(inner):
            middle = load(work, turned + (start * inner + channel) * lanes)
            for sample in range(start + 1, head):
                middle = add(middle, load(work, turned + (sample * inner + channel) * lanes))
            if block < last_block:
                if head == start:
                    middle = load(work, blocks + (block * inner + channel) * lanes)
                for whole in range(block + (head == start), last_block):
                    middle = add(middle, load(work, blocks + (whole * inner + channel) * lanes))
                for sample in range(last_block * STEP_ROWS, stop):
                    middle = add(middle, load(work, turned + (sample * inner + channel) * lanes))
            sums = sum_spaced(work, turned + (first * inner + channel) * lanes, spacing, length, middle)
            write_spaced(work, turned + (j + channel) * lanes, spacing, sums)
        for column in range(j, min(j + group, count), lanes):
            before = read_square(work, target + column, stride) if accumulate else zero_square(like)
            square = transpose(read_adjacent(work, turned + column * lanes))
            write_square(work, target + column, stride, fma_square(weight, square, before))

"""Both passes of one separable term in registers: rows of the input in, finished rows out, nothing between.

Short kernels are bound by memory, so nothing is packed, stored between the passes or read back: sums down the rows of
two adjacent vectors hold every shifted vector that the pass along the columns wants.
"""

from __future__ import annotations

import functools
from typing import Any

from .geometry import (
    COLUMN_FIRST,
    COLUMNS_IN,
    EDGE_LAST,
    ENDS,
    INNER,
    ROW_STRIDE_OUT,
    RUN_LENGTH,
    RUN_ROW,
    RUN_WEIGHTS,
    STREAM,
)
from .jit import inlined, kernel, named
from .memory import Storage, misalignment
from .simd import VECTOR_BYTES, peek
from .stripes import (
    STRIPE_ROWS,
    divide_stripe,
    fma_stripe,
    mix_stripes,
    open_stripe,
    push_stripe,
    save_stripe,
    slide_stripe,
    stream_stripe,
    write_first,
    write_stripe,
    zero_stripe,
)


@inlined
def sum_rows(x, table, row, column, runs, weights, storage, like):
    """The pass down the rows for one stripe of columns that lie inside `x`."""
    total = zero_stripe(like)
    for run in range(runs.shape[0]):
        first, weight = row + runs[run, RUN_ROW], runs[run, RUN_WEIGHTS]
        window = open_stripe(x, table, first, column, storage, like)
        for k in range(runs[run, RUN_LENGTH]):
            window = push_stripe(window, x, table, first + k + STRIPE_ROWS - 1, column, storage)
            total = fma_stripe(peek(weights, weight + k), window, total)
    return total


@inlined
def filter_stripe_of(
    storage_in, storage_out, x, table, row, rows, first, count, runs, weights, shifts, line_weights, edges, geometry,
    constants, work, y, target, item,
):  # fmt: skip
    """`count` elements from `first` on of up to STRIPE_ROWS output rows.

    Window row k of output row r starts at element ``table[row + r + k]`` of `x`, and element `first` of output row 0 at
    element `target` of `y`.  `edges` lists, from the window's reach left of the array on, which of the first and
    the last vector's lanes stands where; taps reach no further than a vector.
    `shifts` ends with a negative number; `item` is the size of an element of `y`.
    """
    like = constants[0]
    lanes = VECTOR_BYTES // constants.itemsize
    size = geometry[COLUMNS_IN] * geometry[INNER]
    reach = geometry[COLUMN_FIRST] * geometry[INNER]  # from an output element to the first that it reads
    ends, end = (
        geometry[ENDS],
        STRIPE_ROWS * lanes,
    )  # kept in memory: registers are for the stripes of the main loop
    near = zero_stripe(like)
    if first + reach < 0 or first + count + reach + 2 * lanes > size:
        for side in range(2):
            far = sum_rows(x, table, row, side * (size - lanes), runs, weights, storage_in, like)
            save_stripe(work, ends + side * end, far)
    stream = geometry[STREAM] and geometry[ROW_STRIDE_OUT] % lanes == 0
    head = 0  # elements until rows are aligned
    if stream:
        head = -misalignment(y, target * item) % (lanes * item) // item
    width = min(head, count) if head else lanes
    done = 0
    ready = False  # whether `near` belongs to the next output vector
    while done < count:
        column = first + done + reach + (lanes if ready else 0)
        if column < 0:
            far = mix_stripes(work, ends, edges, column - reach)
        elif column + lanes > size:
            far = mix_stripes(work, ends, edges, geometry[EDGE_LAST] + column - (size - lanes))
        else:
            far = sum_rows(x, table, row, column, runs, weights, storage_in, like)
        if ready:
            total = near
            tap, shift = 0, peek(shifts, 0)
            if shift >= 0:
                total = zero_stripe(like)
            while (
                shift >= 0
            ):  # a loop of unknown length is not unrolled: its stripes would not fit the registers
                total = fma_stripe(peek(line_weights, tap), slide_stripe(near, far, shift), total)
                tap += 1
                shift = peek(shifts, tap)
            if constants[0] != 1:
                total = divide_stripe(total, constants[0])
            part = min(width, count - done)
            at = target + done
            if part < lanes:
                write_first(y, at, geometry[ROW_STRIDE_OUT], rows, part, storage_out, total)
            elif stream:
                stream_stripe(y, at, geometry[ROW_STRIDE_OUT], rows, storage_out, total)
            else:
                write_stripe(y, at, geometry[ROW_STRIDE_OUT], rows, storage_out, total)
            done += part
            ready = part == lanes
            width = lanes
        else:
            ready = True
        near = far


@functools.cache
def stripe_filter(storage_in: Storage, storage_out: Storage) -> Any:
    """The kernel from one kind of storage to another."""
    item = storage_out.dtype.itemsize

    @kernel
    @named(storage_in.suffix + storage_out.suffix)
    def filter_stripe(
        x,
        table,
        row,
        rows,
        first,
        count,
        runs,
        weights,
        shifts,
        line_weights,
        edges,
        geometry,
        constants,
        work,
        y,
        target,
    ):
        filter_stripe_of(
            storage_in, storage_out, x, table, row, rows, first, count, runs, weights, shifts, line_weights, edges,
            geometry, constants, work, y, target, item,
        )  # fmt: skip

    return filter_stripe

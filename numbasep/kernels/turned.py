"""Separable terms of any length straight from the array: rows in, finished rows out, in cache between the passes.

A stripe of as many rows as a vector has lanes moves along the columns.  Sums down the rows of adjacent columns are
turned in registers, so that a vector holds one column of the stripe; along those, the pass along the columns is
again one down rows, with aligned loads, and a boundary repeats vectors.  Its sums are turned back and written.
"""

from __future__ import annotations

import functools
from typing import Any

from .finish import stripe_finisher
from .geometry import (
    AHEAD,
    COLUMN_FIRST,
    COLUMN_TAPS,
    COLUMNS_IN,
    EDGE_LAST,
    END_BLOCKS,
    ENDS,
    FIRST_LINE,
    FIRST_RUN,
    INNER,
    KEPT,
    LAST_LINE,
    LEFT_ENDS,
    RIGHT_ENDS,
    ROW_STRIDE_OUT,
    ROW_TAPS,
    RUN_LENGTH,
    RUN_SHIFT,
    RUN_STOP,
    RUN_WEIGHTS,
    STREAM,
    SUMS,
    TURNED_SUMS,
    TURNED_WIDTH,
)
from .jit import inlined, kernel, named
from .memory import Storage, misalignment
from .simd import lanes_of, load, store
from .streams import close_rows
from .stripes import SLIDES, STRIPE_ROWS, ask_for_rows, zero_stripe
from .sums import row_summer
from .turned_words import (
    open_columns,
    read_stripe,
    sweep_columns,
    tail_columns,
    turn_stripe,
    write_column,
    write_columns,
    write_rows,
    write_spread,
    zero_column,
)
from .valid import AS_STORED


@inlined
def sum_columns(work, at, turned_stride, step, term_first, term_stop, terms, lines, line_weights):
    """The pass along the columns for STRIPE_ROWS of them, `step` elements of `work` apart.

    The turned sums under the first tap stand at ``work[at]``, those of the next term `turned_stride` further.
    """
    lanes = lanes_of(work)
    total = zero_stripe(work[0])
    for term in range(term_first, term_stop):
        for run in range(terms[term, FIRST_LINE], terms[term, LAST_LINE]):
            weight, length = lines[run, RUN_WEIGHTS], lines[run, RUN_LENGTH]
            newest = at + lines[run, RUN_SHIFT] * lanes
            window = open_columns(work, newest, step)
            newest += (STRIPE_ROWS - 1) * step
            k = 0
            while k + STRIPE_ROWS <= length:
                total, window = sweep_columns(total, window, work, newest, step, line_weights, weight + k)
                newest += STRIPE_ROWS * step
                k += STRIPE_ROWS
            total = tail_columns(total, window, work, newest, step, line_weights, weight + k, length - k)
        at += turned_stride
    return total


@inlined
def move_columns(work, source, source_stride, target, target_stride, count, n_terms):
    """`count` columns of the turned sums of all terms, perhaps to an overlapping place before them."""
    lanes = lanes_of(work)
    for term in range(n_terms):
        for at in range(0, count * lanes, lanes):
            store(work, target + term * target_stride + at, load(work, source + term * source_stride + at))


@inlined
def clear_column(work, target, target_stride, n_terms):
    """One column of zeros for each term."""
    for term in range(n_terms):
        write_column(work, target + term * target_stride, zero_column(work[0]))


@inlined
def repeat_columns(work, position, size, into, turned_stride, n_terms, sides, origin, edges, geometry):
    """The columns of all terms from `position` on that stand among those of the ends, to ``work[into]``.

    Returns how many these are: none where they have to be summed.
    """
    lanes = lanes_of(work)
    ends, width = geometry[ENDS], geometry[END_BLOCKS] * lanes
    ends_stride = 2 * width * lanes
    if position < 0 or position >= size:
        found = edges[position - origin if position < 0 else geometry[EDGE_LAST] + position - (size - lanes)]
        if found < 0:
            clear_column(work, into, turned_stride, n_terms)
        else:
            move_columns(work, ends + found * lanes, ends_stride, into, turned_stride, 1, n_terms)
        return 1
    if width > size:  # blocks of an end overlap
        return 0
    if sides & 1 and position + lanes <= width:
        move_columns(work, ends + position * lanes, ends_stride, into, turned_stride, lanes, n_terms)
        return lanes
    if sides & 2 and position >= size - width:
        columns = min(lanes, size - position)
        found = ends + (2 * width + position - size) * lanes
        move_columns(work, found, ends_stride, into, turned_stride, columns, n_terms)
        return columns
    return 0


@functools.cache
def turned_filter(
    storage_in: Storage, storage_out: Storage, view: int = AS_STORED, *, share: bool = False
) -> Any:
    """The kernel from one kind of storage to another.

    With `share` it divides the sums that are in `y` by those it computes, as `valid` says.
    """
    item_in, item_out = storage_in.dtype.itemsize, storage_out.dtype.itemsize
    sum_rows = row_summer(view)

    @inlined
    def sum_vector(x, table, row, rows, column, first_run, last_run, runs, weights, work, sums):
        """`rows` rows of sums at `column`, rounded up to whole stripes, at ``work[sums:]``."""
        for q in range(0, rows, STRIPE_ROWS):
            total = sum_rows(
                x, table, row + q, column, first_run, last_run, runs, weights, storage_in, work[0]
            )
            write_rows(work, sums + q * lanes_of(work), total)

    finish = stripe_finisher(storage_out, share=share)

    @kernel
    @named(f"{storage_in.suffix}{storage_out.suffix}_{view}{'_share' * share}")
    def filter_turned(
        x, table, row, rows, first, count, term_first, term_stop, terms, runs, weights, shifts, lines, line_weights,
        edges, geometry, constants, normal, work, y, target, kernels,
    ):  # fmt: skip
        """`count` elements from `first` on of up to a vector's worth of output rows.

        Window row k of output row r starts at element ``table[row + r + k]`` of `x`, and element `first` of output row
        0 at element `target` of `y`.  `edges` lists where among the sums of a row's ends, END_BLOCKS vectors each,
        columns beyond the edges are found: from the window's reach left of the array on; negative ones are zero.
        """
        lanes = lanes_of(work)
        square = lanes * lanes
        inner = geometry[INNER]
        size, group = geometry[COLUMNS_IN] * inner, STRIPE_ROWS * inner
        origin = geometry[COLUMN_FIRST] * inner  # what lies under the first tap of output element 0
        span = (geometry[COLUMN_TAPS] - 1) * inner
        sums, turned, ends = geometry[SUMS], geometry[TURNED_SUMS], geometry[ENDS]
        blocks, n_terms = geometry[END_BLOCKS], term_stop - term_first
        turned_stride, ends_stride = (geometry[TURNED_WIDTH] + lanes) * lanes, 2 * blocks * square
        straight = geometry[ROW_STRIDE_OUT] % lanes == 0  # all rows are aligned where one is
        stream = geometry[STREAM] and straight
        ragged = 1 if SLIDES and geometry[STREAM] and not straight else 0  # no two rows start alike
        start, stop = first + origin, first + count + origin + span  # of the elements that are read
        plain = n_terms == 1 and span == 0 and start >= 0 and stop <= size  # nothing to do along the columns
        sides = (geometry[LEFT_ENDS] if start < 0 else 0) | (geometry[RIGHT_ENDS] if stop > size else 0)
        end, last_end = (0 if sides & 1 else blocks), (2 * blocks if sides & 2 else blocks)
        position = base = start  # the next element to be turned; the one whose sums stand first
        width = lanes  # of the next vector: rows are brought to alignment first
        if straight:
            width = -misalignment(y, target * item_out) % (lanes * item_out) // item_out
            width = width if width else lanes
        soon = row + geometry[ROW_TAPS] - 1  # the first row that the stripe before has not read
        done = summed = 0  # output elements; finished sums replace the turned ones under their first taps
        while done < count:
            part = min(width, count - done)
            column = 0
            while summed < done + part:
                wanted = start + min(summed + group, count) + span
                if plain:
                    position, wanted = start + done, start + done + 1
                elif wanted + lanes - base > geometry[TURNED_WIDTH]:
                    kept, columns = turned + (start + done - base) * lanes, position - start - done
                    move_columns(work, kept, turned_stride, turned, turned_stride, columns, n_terms)
                    base = start + done
                while position < wanted or end < last_end:
                    into, stride = turned + (position - base) * lanes, turned_stride
                    known = 0  # columns of the next vector whose place may already hold finished sums
                    if end < last_end:
                        after = max(size - (2 * blocks - end) * lanes, 0)  # counted from the far edge
                        column = min(end * lanes, size - lanes) if end < blocks else after
                        into, stride = ends + end * square, ends_stride
                        end += 1
                    else:
                        repeated = repeat_columns(
                            work, position, size, into, stride, n_terms, sides, origin, edges, geometry
                        )
                        if repeated:
                            position += repeated
                            continue
                        column = min(position, size - lanes)
                        if column == position and not plain:  # loads are aligned from the second on
                            column -= misalignment(x, (table[row] + column) * item_in) // item_in % lanes
                            column = max(column, 0)
                        known = position - column
                        position = column + lanes
                        if geometry[AHEAD]:
                            ask_for_rows(x, table, soon, lanes, geometry[AHEAD] + column, storage_in)
                    for term in range(term_first, term_stop):
                        sum_vector(
                            x, table, row, rows, column, terms[term, FIRST_RUN], terms[term, RUN_STOP], runs, weights,
                            work, sums,
                        )  # fmt: skip
                        if not plain and not known:
                            write_columns(work, into, turn_stripe(read_stripe(work, sums)))
                        elif not plain:
                            write_columns(work, sums, turn_stripe(read_stripe(work, sums)))
                            move_columns(work, sums + known * lanes, 0, into, 0, lanes - known, 1)
                        into += stride
                if plain:
                    summed = done + part
                else:
                    at = turned + (start + summed - base) * lanes
                    for _ in range(inner):
                        total = sum_columns(
                            work, at, turned_stride, inner * lanes, term_first, term_stop, terms, lines, line_weights
                        )  # fmt: skip
                        write_spread(work, at, inner * lanes, total)
                        at += lanes
                    summed += group
            if plain:
                stripe = read_stripe(work, sums + start + done - column)
            else:
                stripe = turn_stripe(read_stripe(work, turned + (start + done - base) * lanes))
            finish(
                y, target + done, geometry[ROW_STRIDE_OUT], rows, part, stream, ragged, stripe, constants[0], normal,
                work, geometry[KEPT],
            )  # fmt: skip
            done += part
            width = lanes
            ragged = 2 if ragged else 0
        if ragged and count >= lanes:
            at = target + count - count % lanes
            close_rows(y, at, geometry[ROW_STRIDE_OUT], rows, storage_out, work, geometry[KEPT])

    return filter_turned

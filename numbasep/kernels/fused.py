"""Both passes of short separable terms in registers: rows of the input in, finished rows out, nothing between.

Such kernels are bound by memory, so nothing is packed, stored between the passes or read back: sums down the rows of
two adjacent vectors hold every shifted vector that the pass along the columns wants.
"""

from __future__ import annotations

import functools
from typing import Any

from .finish import ALIGNED_VECTORS, stripe_finisher
from .geometry import (
    AHEAD,
    COLUMN_FIRST,
    COLUMN_TAPS,
    COLUMNS_IN,
    EDGE_LAST,
    ENDS,
    FIRST_LINE,
    FIRST_RUN,
    INNER,
    KEPT,
    LAST_LINE,
    ROW_STRIDE_OUT,
    ROW_TAPS,
    RUN_LENGTH,
    RUN_ROW,
    RUN_SHIFT,
    RUN_STOP,
    RUN_WEIGHTS,
    STREAM,
    SWEEP,
    TAP_START,
    TURNED_SUMS,
)
from .jit import inlined, kernel, named
from .memory import Storage, misalignment
from .shifts import add_adjacent, mix_stripes, slide_stripe
from .simd import LINE_BYTES, call, lanes_of, peek
from .streams import close_rows
from .stripes import (
    SLIDES,
    STRIPE_ROWS,
    ask_for_rows,
    fma_stripe,
    kept_stripe,
    save_stripe,
    stripe_if,
    zero_stripe,
)
from .sums import row_summer
from .valid import AS_STORED


@inlined
def add_columns(total, near, far, terms, term, shifts, lines, line_weights, inner, start):
    """The pass of a term along the columns; output columns begin `start` behind those of `near`."""
    if inner == 1:
        for line in range(terms[term, FIRST_LINE], terms[term, LAST_LINE]):
            total = add_adjacent(
                total, near, far, line_weights, lines[line, RUN_WEIGHTS],
                start + lines[line, RUN_SHIFT],
                lines[line, RUN_LENGTH],
            )  # fmt: skip
    else:
        tap = terms[term, TAP_START]
        shift = peek(shifts, tap)
        while shift >= 0:  # a loop of unknown length is not unrolled: its stripes would not fit the registers
            total = fma_stripe(peek(line_weights, tap), slide_stripe(near, far, start + shift), total)
            tap += 1
            shift = peek(shifts, tap)
    return total


@functools.cache
def stripe_filter(
    storage_in: Storage,
    storage_out: Storage,
    view: int = AS_STORED,
    *,
    share: bool = False,
    several: bool = False,
) -> Any:
    """The kernel from one kind of storage to another.

    With `share` it divides the sums that are in `y` by those it computes, as `valid` says.  With `several` it sums
    all terms; what each summed for the vector before then stands in the workspace, not in registers.
    """
    item = storage_out.dtype.itemsize
    per_line = LINE_BYTES // storage_in.dtype.itemsize  # elements; those of a stripe may be less
    sum_rows = row_summer(view)
    finish = stripe_finisher(storage_out, share=share)

    @kernel
    @named(f"{storage_in.suffix}{storage_out.suffix}_{view}{'_share' * share}{'_several' * several}")
    def filter_stripe(
        x, table, row, rows, first, count, term, last_term, terms, runs, weights, shifts, lines, line_weights, edges,
        geometry, constants, normal, work, y, target, kernels,
    ):  # fmt: skip
        """`count` elements from `first` on of up to STRIPE_ROWS output rows, of the first term or of all.

        Window row k of output row r starts at element ``table[row + r + k]`` of `x`, and element `first` of output row
        0 at element `target` of `y`.  `edges` lists, from the window's reach left of the array on, which of the first
        and the last vector's lanes stands where; taps reach no further than a vector.  Where all is regular,
        ``kernels[SWEEP]`` does the work, if there is one.
        """
        like = constants[0]
        lanes = lanes_of(constants)
        inner = geometry[INNER]
        size = geometry[COLUMNS_IN] * inner
        reach = geometry[COLUMN_FIRST] * inner  # from an output element to the first that it reads
        first_run, last_run = terms[term, FIRST_RUN], terms[term, RUN_STOP]
        plain = geometry[COLUMN_TAPS] == 1
        behind = 0 if plain else lanes  # from the columns under the first taps to those that are summed
        ends = geometry[ENDS]  # in memory: registers are for the stripes of the main loop
        end = STRIPE_ROWS * lanes
        straight = geometry[ROW_STRIDE_OUT] % lanes == 0  # all rows are aligned where one is
        stream = geometry[STREAM] and straight
        ragged = 1 if SLIDES and geometry[STREAM] and not straight else 0  # no two rows start alike
        head = 0  # elements until rows are aligned
        if stream or (straight and count >= ALIGNED_VECTORS * lanes):
            head = -misalignment(y, target * item) % (lanes * item) // item
        stop = head + -(-(count - head) // lanes) * lanes if plain else count + reach + 2 * lanes
        if first + reach < 0 or first + stop > size:
            for part in range(2 * (last_term - term if several else 1)):
                column, number = part % 2 * (size - lanes), term + part // 2
                far = sum_rows(
                    x, table, row, column, terms[number, FIRST_RUN], terms[number, RUN_STOP], runs, weights, storage_in,
                    like,
                )  # fmt: skip
                save_stripe(work, ends + part * end, far)
        width = min(head, count) if head else lanes
        near = zero_stripe(like)
        soon = row + geometry[ROW_TAPS] - 1  # the first row that the stripe before has not read
        done = 0
        ready = plain  # whether `near` belongs to the next output vector, or none does
        sweeps = kernels[SWEEP] and rows == STRIPE_ROWS
        while done < count:
            column = first + done + reach + (behind if ready else 0)
            if sweeps and ready and column >= 0 and width == lanes and ragged != 1:
                vectors = min(count - done, size - column) // lanes
                if vectors > 0:
                    save_stripe(work, geometry[TURNED_SUMS], near)
                    call(kernels[SWEEP], (
                        x, table, row + runs[first_run, RUN_ROW], column, vectors, weights,
                        runs[first_run, RUN_WEIGHTS], line_weights, terms[term, TAP_START], soon, geometry, like,
                        stream, ragged, normal, work, y, target + done,
                    ))  # fmt: skip
                    near = kept_stripe(work, geometry[TURNED_SUMS])
                    done += vectors * lanes
                    continue
            inside = column >= 0 and column + lanes <= size
            mixed = column - reach if column < 0 else geometry[EDGE_LAST] + column - (size - lanes)
            if geometry[AHEAD] and inside and column & (per_line - 1) < lanes:
                ask_for_rows(x, table, soon, STRIPE_ROWS, geometry[AHEAD] + column, storage_in)
            if several:
                total = zero_stripe(like)
                for number in range(term, last_term):
                    if inside:
                        far = sum_rows(
                            x, table, row, column, terms[number, FIRST_RUN], terms[number, RUN_STOP], runs, weights,
                            storage_in, like,
                        )  # fmt: skip
                    else:
                        far = mix_stripes(work, ends + 2 * (number - term) * end, edges, mixed)
                    place = geometry[TURNED_SUMS] + (number - term) * end
                    if ready:
                        total = add_columns(
                            total, kept_stripe(work, place), far, terms, number, shifts, lines, line_weights, inner,
                            lanes - behind,
                        )  # fmt: skip
                    save_stripe(work, place, far)
            else:
                if inside:
                    far = sum_rows(
                        x, table, row, column, first_run, last_run, runs, weights, storage_in, like
                    )
                else:
                    far = mix_stripes(work, ends, edges, mixed)
                total = stripe_if(plain, far)
                if ready and not plain:
                    total = add_columns(total, near, far, terms, term, shifts, lines, line_weights, inner, 0)
                near = far
            if ready:
                part = min(width, count - done)
                finish(
                    y, target + done, geometry[ROW_STRIDE_OUT], rows, part, stream, ragged, total, like, normal, work,
                    geometry[KEPT],
                )  # fmt: skip
                done += part
                ready = plain or part == lanes
                width = lanes
                ragged = 2 if ragged else 0
            else:
                ready = True
        if ragged and count >= lanes:
            at = target + count - count % lanes
            close_rows(y, at, geometry[ROW_STRIDE_OUT], rows, storage_out, work, geometry[KEPT])

    return filter_stripe

"""The inner loops of `fused` and `dense` with their loops over taps written out.

One machine code for each number of taps: none of its instructions is spent on finding out what to do next, which for 3
taps is half of them.
"""

from __future__ import annotations

import functools
from typing import Any

from .dense_words import column_words, fetch_word
from .finish import stripe_finisher
from .geometry import (
    AHEAD,
    FETCHED,
    INNER,
    KEPT,
    ROW_STRIDE_IN,
    ROW_STRIDE_OUT,
    RUN_SHIFT,
    TURNED_SUMS,
)
from .jit import kernel, named
from .memory import Storage
from .shifts import weigh_columns_word
from .simd import LINE_BYTES, lanes_of
from .stripes import STRIPE_ROWS, ask_for_rows, kept_stripe, save_stripe
from .windows import weigh_rows_word


@functools.cache
def separable_sweep(storage_in: Storage, storage_out: Storage, view: int, taps: int, step: int) -> Any:
    """The kernel for `taps` adjacent taps along both axes, those along the columns `step` elements apart."""
    per_line = LINE_BYTES // storage_in.dtype.itemsize  # elements; those of a stripe may be less
    weigh_rows, weigh_columns = weigh_rows_word(view, taps), weigh_columns_word(taps, step)
    finish = stripe_finisher(storage_out, share=False)

    @kernel
    @named(f"{storage_in.suffix}{storage_out.suffix}_{view}_{taps}_{step}")
    def sweep_stripe(
        x, table, first, column, vectors, weights, weight, line_weights, tap, soon, geometry, divisor, stream, ragged,
        normal, work, y, target,
    ):  # fmt: skip
        """So many `vectors` of STRIPE_ROWS rows from element `target` of `y` on, all of whose taps lie in the array.

        Sums of the vector under their first taps stand at TURNED_SUMS, where those of the last one are left; the next
        to be summed starts `column` elements behind ``table[first]`` in the first row.
        """
        lanes = lanes_of(work)
        ahead, stride, kept = geometry[AHEAD], geometry[ROW_STRIDE_OUT], geometry[KEPT]
        near = kept_stripe(work, geometry[TURNED_SUMS])
        for at in range(target, target + vectors * lanes, lanes):
            if ahead and column & (per_line - 1) < lanes:
                ask_for_rows(x, table, soon, STRIPE_ROWS, ahead + column, storage_in)
            far = weigh_rows(x, table, first, column, storage_in, weights, weight)
            total = weigh_columns(near, far, line_weights, tap)
            finish(y, at, stride, STRIPE_ROWS, lanes, stream, ragged, total, divisor, normal, work, kept)
            near = far
            column += lanes
        save_stripe(work, geometry[TURNED_SUMS], near)

    return sweep_stripe


@functools.cache
def dense_sweep(storage: Storage, taps: int, height: int) -> Any:
    """The kernel for columns of `taps` taps each and blocks of `height` rows of compute numbers."""
    zero, add_column = column_words(taps, height)
    fetch_rows = fetch_word(height)
    finish = stripe_finisher(storage, share=False)

    @kernel
    @named(f"{storage.suffix}_{taps}_{height}")
    def sweep_dense(
        x, start, step, vectors, runs, weights, geometry, divisor, stream, ragged, work, y, target, stride, array,
        ahead,
    ):  # fmt: skip
        """So many `vectors` of a block of rows from element `target` of `y` on; rows there are `stride` apart.

        The first tap of the first row lies on element `start` of `x`; rows there are `step` apart.  Runs stand in
        adjacent columns of the same rows, their weights one behind the other.
        """
        lanes = lanes_of(work)
        columns, inner, kept = runs.shape[0], geometry[INNER], geometry[KEPT]
        fetched, pitch = geometry[FETCHED], geometry[ROW_STRIDE_IN] * geometry[FETCHED]
        start += runs[0, RUN_SHIFT]
        for done in range(0, vectors * lanes, lanes):
            if fetched:
                fetch_rows(array, ahead + done * fetched, pitch)
            total = zero(divisor)
            for column in range(columns):
                total = add_column(
                    total, x, start + done + column * inner, step, storage, weights, column * taps
                )
            finish(y, target + done, stride, height, lanes, stream, ragged, total, divisor, work, work, kept)

    return sweep_dense

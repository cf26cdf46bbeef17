"""The pass down the rows, straight from the array: what a stripe of rows sums up for one vector of columns."""

from __future__ import annotations

import functools
from typing import Any

from .geometry import RUN_LENGTH, RUN_ROW, RUN_WEIGHTS
from .jit import inlined
from .stripes import STRIPE_ROWS, zero_stripe
from .windows import window_words


@functools.cache
def row_summer(view: int) -> Any:
    """The pass down the rows for one stripe of columns that lie inside the array."""
    open_window, sweep_rows, tail_rows = window_words(view)

    @inlined
    def sum_rows(x, table, row, column, first_run, last_run, runs, weights, storage, like):
        """STRIPE_ROWS rows of sums at `column`, which lies inside the array."""
        total = zero_stripe(like)
        for run in range(first_run, last_run):
            first, weight = row + runs[run, RUN_ROW], runs[run, RUN_WEIGHTS]
            window = open_window(x, table, first, column, storage, like)
            length, k = runs[run, RUN_LENGTH], 0
            while k + STRIPE_ROWS <= length:
                newest = first + k + STRIPE_ROWS - 1
                total, window = sweep_rows(
                    total, window, x, table, newest, column, storage, weights, weight + k
                )
                k += STRIPE_ROWS
            newest = first + k + STRIPE_ROWS - 1
            total = tail_rows(
                total, window, x, table, newest, column, storage, weights, weight + k, length - k
            )
        return total

    return sum_rows

"""Inner loop of the dense kernel, with the loop over taps unrolled.

It is compiled for each number of taps, which saves the instructions that control the loops: half of all for 3 taps.
"""

from __future__ import annotations

import functools
from typing import Any

from ..intrinsics.memory import Storage
from ..intrinsics.row_sums import column_intrinsics, fetch_intrinsic
from ..intrinsics.vectors import lanes_of
from ..jit import kernel, named
from .dense_epilogue import stripe_finisher
from .table_entries import FETCHED, INNER, KEPT, ROW_STRIDE_IN, RUN_SHIFT


@functools.cache
def dense_sweep(storage: Storage, taps: int, height: int) -> Any:
    """Return the kernel for columns of `taps` taps each and blocks of `height` rows of the compute type."""
    zero, add_column = column_intrinsics(taps, height)
    fetch_rows = fetch_intrinsic(height)
    finish = stripe_finisher(storage)

    @kernel
    @named(f"{storage.suffix}_{taps}_{height}")
    def sweep_dense(
        x, start, step, vectors, runs, weights, geometry, divisor, stream, ragged, work, y, target, stride, array,
        ahead,
    ):  # fmt: skip
        """Compute `vectors` vectors of a block of rows from element `target` of `y` on; its rows are `stride` apart.

        The first tap of the first row is at element `start` of `x`, whose rows are `step` apart.  Runs are in adjacent
        columns of the same rows, and their weights are contiguous.
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
            finish(y, target + done, stride, height, lanes, stream, ragged, total, divisor, work, kept)

    return sweep_dense

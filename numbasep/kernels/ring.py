"""Packed rows: a ring of copies that are converted, contiguous, and extended beyond the edges."""

from __future__ import annotations

from .geometry import (
    COLUMN_FIRST,
    INNER,
    INSIDE_FIRST,
    INSIDE_LAST,
    LEFT_ENDS,
    PACK,
    PACKED,
    RIGHT_ENDS,
    RING,
    RING_STRIDE,
    ROW_FIRST,
    ROW_TAPS,
    SOURCES,
    VIEW,
    VIEWS,
)
from .jit import kernel
from .simd import call
from .valid import BOTH, PRESENCE
from .vertical import ROWS


@kernel
def pack_columns(
    kernels, x, first_row, packed, needed, sources, column, wide, offset, geometry, constants, raw, work
):
    """`wide` columns of rows [packed, needed) of every source, from input column `column` on, to the ring of rows."""
    window, n_sources = geometry[ROW_TAPS] + ROWS - 1, geometry[SOURCES]
    for k in range(packed, needed):
        for source in range(n_sources):
            at = geometry[RING] + (source * window + k % window) * geometry[RING_STRIDE] + offset
            call(kernels[PACK], (
                x, sources[source], first_row + k, column, wide, geometry, constants[source], raw, work, at,
            ))  # fmt: skip
            if geometry[VIEWS]:
                presence = geometry[VIEWS] == PRESENCE or (
                    geometry[VIEWS] == BOTH and 2 * source >= n_sources
                )
                call(kernels[VIEW], (work, at, wide * geometry[INNER], int(presence)))


@kernel
def pack_window(
    kernels, x, row, done, packed, needed, column, columns, sources, table, geometry, constants, raw, work
):  # fmt: skip
    """The rows of the window of the block `done` rows below `row` to the ring, and where they stand there.

    `packed` rows have been packed for the blocks before, `needed` are read by this one.
    """
    window, n_sources = geometry[ROW_TAPS] + ROWS - 1, geometry[SOURCES]
    first, begin, left = row + geometry[ROW_FIRST], geometry[COLUMN_FIRST], geometry[LEFT_ENDS]
    low, high = max(packed, done), done + needed
    for part in range(2):  # the left and the right ends, or whole rows
        if geometry[PACKED]:
            start, wide, offset = column + begin, columns + geometry[PACKED] - 1, 0
            wanted = part == 0
        elif part == 0:
            start, wide, offset = begin, left, 0
            wanted = column < geometry[INSIDE_FIRST]
        else:
            start, wide, offset = begin + geometry[INSIDE_LAST], geometry[RIGHT_ENDS], left * geometry[INNER]
            wanted = column + columns > geometry[INSIDE_LAST]
        if wanted:
            pack_columns(
                kernels, x, first, low, high, sources, start, wide, offset, geometry, constants, raw, work
            )
    shift = 0 if geometry[PACKED] else window * n_sources
    for source in range(n_sources):
        for k in range(window):
            slot = source * window + (done + min(k, needed - 1)) % window
            table[shift + source * window + k] = geometry[RING] + slot * geometry[RING_STRIDE]

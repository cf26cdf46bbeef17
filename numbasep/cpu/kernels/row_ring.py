"""Ring buffer of packed rows, which are converted, contiguous and extended beyond the edges."""

from __future__ import annotations

from ..intrinsics.vectors import call
from ..jit import driver
from .nan_aware import BOTH, PRESENCE
from .table_entries import (
    COLUMN_FIRST,
    COLUMN_STEP,
    INNER,
    INSIDE_FIRST,
    INSIDE_LAST,
    LEFT_ENDS,
    PACK,
    PACKED,
    PHASE_ROWS,
    RIGHT_ENDS,
    RING,
    RING_STRIDE,
    RING_WINDOW,
    ROW_FIRST,
    ROW_STEP,
    ROW_TAPS,
    SOURCES,
    SPLIT_PACKED,
    UNSPLIT,
    VIEW,
    VIEWS,
    WINDOW,
)


@driver
def pack_columns(
    kernels, x, first_row, packed, needed, sources, column, columns, wide, offset, geometry, constants, raw, work
):  # fmt: skip
    """Pack `wide` columns of rows [packed, needed) of every source, from input column `column` on, to the ring.

    With a stride, rows that no window reads are skipped.  In a polyphase pass, rows are split into the phases that
    `columns` outputs read.
    """
    capacity, n_sources = geometry[RING_WINDOW], geometry[SOURCES]
    for k in range(packed, needed):
        if k % geometry[ROW_STEP] >= geometry[ROW_TAPS]:
            continue
        for source in range(n_sources):
            place = geometry[RING] + (source * capacity + k % capacity) * geometry[RING_STRIDE] + offset
            at = geometry[UNSPLIT] if kernels[SPLIT_PACKED] else place
            call(kernels[PACK], (
                x, sources[source], first_row + k, column, wide, geometry, constants[source], raw, work, at,
            ))  # fmt: skip
            if geometry[VIEWS]:
                presence = geometry[VIEWS] == PRESENCE or (
                    geometry[VIEWS] == BOTH and 2 * source >= n_sources
                )
                call(kernels[VIEW], (work, at, wide * geometry[INNER], int(presence)))
            if kernels[SPLIT_PACKED]:
                call(kernels[SPLIT_PACKED], (work, at, place, 1, 0, columns, geometry))


@driver
def pack_window(
    kernels, x, row, done, packed, needed, column, columns, sources, table, geometry, constants, raw, work
):  # fmt: skip
    """Pack the rows under the windows of the block `done` rows below `row`, and list their offsets in the ring.

    `packed` rows have been packed for previous blocks; this block reads `needed`.
    """
    window, each, n_sources = geometry[WINDOW], geometry[PHASE_ROWS], geometry[SOURCES]
    step, capacity, across = geometry[ROW_STEP], geometry[RING_WINDOW], geometry[COLUMN_STEP]
    first, begin, left = row * step + geometry[ROW_FIRST], geometry[COLUMN_FIRST], geometry[LEFT_ENDS]
    start_row = done * step
    low, high = max(packed, start_row), start_row + needed
    for part in range(2):  # the left and the right ends, or whole rows
        if geometry[PACKED]:
            start, wide, offset = column * across + begin, (columns - 1) * across + geometry[PACKED], 0
            wanted = part == 0
        elif part == 0:
            start, wide, offset = begin, left, 0
            wanted = column < geometry[INSIDE_FIRST]
        else:
            start, wide, offset = begin + geometry[INSIDE_LAST], geometry[RIGHT_ENDS], left * geometry[INNER]
            wanted = column + columns > geometry[INSIDE_LAST]
        if wanted:
            pack_columns(
                kernels, x, first, low, high, sources, start, columns, wide, offset, geometry, constants, raw, work
            )  # fmt: skip
    shift = 0 if geometry[PACKED] else window * n_sources
    for phase in range(window // each):
        for j in range(each):
            here = (start_row + min(phase + j * step, needed - 1)) % capacity
            for source in range(n_sources):
                slot = source * capacity + here
                table[shift + source * window + phase * each + j] = (
                    geometry[RING] + slot * geometry[RING_STRIDE]
                )

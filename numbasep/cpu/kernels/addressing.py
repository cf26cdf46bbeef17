"""Start addresses of the planes that a task reads and writes."""

from __future__ import annotations

from ..jit import driver
from .row_conversion import index_of
from .table_entries import (
    OUTER_AXES,
    OUTER_ENTRIES,
    OUTER_IN,
    OUTER_OUT,
    OUTER_SIZE,
    OUTER_TAPS,
    OUTSIDE_PLANE,
    PHASE_ROWS,
    ROW_BOUNDARY,
    ROW_STEP,
    ROW_STRIDE_IN,
    ROWS_IN,
    WINDOW,
)


@driver
def locate_source(plane, source, geometry, outer, outer_taps):
    """Return the offset in `x` of input plane `source` of output plane `plane`, or OUTSIDE_PLANE."""
    at = 0
    for axis in range(geometry[OUTER_AXES] - 1, -1, -1):
        entry = OUTER_ENTRIES * axis
        size, taps = outer[entry + OUTER_SIZE], outer[entry + OUTER_TAPS]
        position = plane % size
        plane //= size
        distance = outer[outer[entry + OUTER_IN] + position * taps + outer_taps[source, axis]]
        if distance == OUTSIDE_PLANE:
            return OUTSIDE_PLANE
        at += distance
    return at


@driver
def locate_target(plane, geometry, outer):
    """Return the offset in `y` of output plane `plane`."""
    at = 0
    for axis in range(geometry[OUTER_AXES] - 1, -1, -1):
        entry = OUTER_ENTRIES * axis
        size = outer[entry + OUTER_SIZE]
        at += outer[outer[entry + OUTER_OUT] + plane % size]
        plane //= size
    return at


@driver
def locate_window(first, needed, sources, n_sources, geometry, table):
    """Write the offsets in `x` of the input rows of a block to `table`; return whether all are in the array.

    Rows are ordered by phase.  Rows beyond a constant boundary are OUTSIDE_PLANE.  Entries after the `needed` rows, for
    output rows beyond the last, repeat the last row.
    """
    inside, window, each, step = True, geometry[WINDOW], geometry[PHASE_ROWS], geometry[ROW_STEP]
    size, pitch = geometry[ROWS_IN], geometry[ROW_STRIDE_IN]
    within = first >= 0 and first + needed <= size
    for phase in range(window // each):
        for source in range(n_sources):
            at, start = source * window + phase * each, sources[source]
            if within and start != OUTSIDE_PLANE:  # most blocks, which need no boundary
                for j in range(each):
                    table[at + j] = start + (first + min(phase + j * step, needed - 1)) * pitch
                continue
            for j in range(each):
                row = index_of(first + min(phase + j * step, needed - 1), size, geometry[ROW_BOUNDARY])
                missing = row < 0 or start == OUTSIDE_PLANE
                inside = inside and not missing
                table[at + j] = OUTSIDE_PLANE if missing else start + row * pitch
    return inside

"""Start addresses of the planes that a task reads and writes."""

from __future__ import annotations

from ..jit import driver
from .pass_arguments import integer_row, integer_rows, integers
from .row_conversion import index_of
from .table_entries import (
    COLUMN_STRIDE_OUT,
    COLUMNS_OUT,
    OUTER,
    OUTER_AXES,
    OUTER_ENTRIES,
    OUTER_IN,
    OUTER_OUT,
    OUTER_SIZE,
    OUTER_SOURCES,
    OUTER_TAPS,
    OUTSIDE_PLANE,
    PHASE_ROWS,
    ROW_BOUNDARY,
    ROW_STEP,
    ROW_STRIDE_IN,
    ROWS_IN,
    ROWS_OUT,
    SIZES,
    SOURCE_TABLES,
    SOURCES,
    STRIP,
    STRIPS,
    TILE,
    TILES,
    WINDOW,
)


@driver
def locate_planes(plane, geometry, outer, outer_taps, sources):
    """Write the offset in `x` of each input plane of output plane `plane` to `sources`; return the offset in `y`.

    Input planes beyond a constant boundary are OUTSIDE_PLANE.
    """
    target, n_sources = 0, geometry[SOURCES]
    for source in range(n_sources):
        sources[source] = 0
    for axis in range(geometry[OUTER_AXES] - 1, -1, -1):
        entry = OUTER_ENTRIES * axis
        size, taps = outer[entry + OUTER_SIZE], outer[entry + OUTER_TAPS]
        position = plane % size
        plane //= size
        target += outer[outer[entry + OUTER_OUT] + position]
        for source in range(n_sources):
            distance = outer[outer[entry + OUTER_IN] + position * taps + outer_taps[source, axis]]
            missing = distance == OUTSIDE_PLANE or sources[source] == OUTSIDE_PLANE
            sources[source] = OUTSIDE_PLANE if missing else sources[source] + distance
    return target


@driver
def locate_task(task, thread, block):
    """Locate the part of the output that a task computes: a strip of rows by a tile of columns of an output plane.

    Write the offsets of the input planes to the thread's table; return the offset of the part in `y`, its first column,
    its number of columns, its first row, and the row after its last.
    """
    geometry, sources = integers(block, SIZES), integer_row(block, SOURCE_TABLES, thread)
    outer, outer_taps = integers(block, OUTER), integer_rows(block, OUTER_SOURCES)
    tiles, strips = geometry[TILES], geometry[STRIPS]
    column, row = task % tiles * geometry[TILE], task // tiles % strips * geometry[STRIP]
    columns = min(geometry[TILE], geometry[COLUMNS_OUT] - column)
    target = locate_planes(task // (tiles * strips), geometry, outer, outer_taps, sources)
    last_row = min(row + geometry[STRIP], geometry[ROWS_OUT])
    return target + column * geometry[COLUMN_STRIDE_OUT], column, columns, row, last_row


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

"""The driver of passes that pack nothing, as all their rows lie in the array: `plane.filter_tile` without the rest.

Most first calls of a process need no other, and it compiles in half the time.
"""

from __future__ import annotations

from .geometry import (
    COLUMN_STRIDE_OUT,
    COLUMNS_OUT,
    EDGES,
    INNER,
    LINE_WEIGHTS,
    LINES_OF_TAPS,
    NORMAL,
    OUTER,
    OUTER_SOURCES,
    ROW_FIRST,
    ROW_STRIDE_OUT,
    ROW_TABLES,
    ROW_TAPS,
    ROWS_OUT,
    RUNS,
    SHARE_TERM,
    SHIFTS,
    SIZES,
    SOURCE_TABLES,
    SOURCES,
    STRIP,
    STRIPE,
    STRIPE_ROWS,
    STRIPS,
    TERMS,
    TILE,
    TILES,
    WEIGHTS,
    WORK,
)
from .jit import kernel
from .places import locate_rows, locate_source, locate_target
from .simd import STEP_ROWS, call
from .tables import integer_row, integer_rows, integers, number_row, numbers


@kernel
def filter_direct_tile(kernels, x, y, task, thread, block, constants):
    """One task, as `plane.filter_tile`: a strip of rows by a tile of columns of one output plane."""
    geometry, outer = integers(block, SIZES), integers(block, OUTER)
    outer_taps, terms, runs = (
        integer_rows(block, OUTER_SOURCES),
        integer_rows(block, TERMS),
        integer_rows(block, RUNS),
    )
    weights, line_weights = numbers(block, WEIGHTS, constants), numbers(block, LINE_WEIGHTS, constants)
    shifts, lines, edges = (
        integers(block, SHIFTS),
        integer_rows(block, LINES_OF_TAPS),
        integers(block, EDGES),
    )
    normal, work = numbers(block, NORMAL, constants), number_row(block, WORK, thread, constants)
    table, sources = integer_row(block, ROW_TABLES, thread), integer_row(block, SOURCE_TABLES, thread)
    tiles, strips, stripe = geometry[TILES], geometry[STRIPS], geometry[STRIPE_ROWS]
    column = (task % tiles) * geometry[TILE]
    row = (task // tiles) % strips * geometry[STRIP]
    plane = task // (tiles * strips)
    count = min(geometry[TILE], geometry[COLUMNS_OUT] - column) * geometry[INNER]
    last_row = min(row + geometry[STRIP], geometry[ROWS_OUT])
    n_sources, share_term = geometry[SOURCES], geometry[SHARE_TERM]
    for source in range(n_sources):
        sources[source] = locate_source(plane, source, geometry, outer, outer_taps)
    target = locate_target(plane, geometry, outer) + column * geometry[COLUMN_STRIDE_OUT]
    window = geometry[ROW_TAPS] + STEP_ROWS - 1  # rows that one step needs
    for i in range(row, last_row, STEP_ROWS):
        rows = min(STEP_ROWS, last_row - i)
        locate_rows(
            i + geometry[ROW_FIRST],
            rows + geometry[ROW_TAPS] - 1,
            window,
            sources,
            n_sources,
            geometry,
            table,
        )
        for q in range(0, rows, stripe):
            for part in range(2 if share_term else 1):  # sums, then the share that they are divided by
                term = share_term if part else 0
                last_term = terms.shape[0] if part or not share_term else share_term
                call(kernels[STRIPE + part], (
                    x, table, q, min(stripe, rows - q), column * geometry[INNER], count, term, last_term, terms, runs,
                    weights, shifts, lines, line_weights, edges, geometry, constants[0], normal, work, y,
                    target + (i + q) * geometry[ROW_STRIDE_OUT], kernels,
                ))  # fmt: skip

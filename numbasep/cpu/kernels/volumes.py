"""Filters volumes piece by piece: along an outer axis, then along the rows and columns of the planes.

A task is a strip of rows of ROWS planes.  The sums along the outer axis, for the strip and its halo, are written to the
workspace, where the vertical and horizontal passes read them from the second-level cache.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import config

from ..intrinsics.vectors import Line, call
from ..jit import address, driver
from .addressing import locate_planes, locate_window
from .pass_arguments import ENTRY, integer_row, integer_rows, integers, number_bytes
from .row_conversion import index_of
from .table_entries import (
    BETWEEN,
    COLUMNS_OUT,
    DENSE_SEGMENT,
    KERNELS,
    OUTER,
    OUTER_SOURCES,
    PLANES,
    RAW_OUT,
    ROW_BOUNDARY,
    ROW_FIRST,
    ROW_STRIDE_IN,
    ROW_STRIDE_OUT,
    ROW_TABLES,
    ROW_TAPS,
    ROWS_IN,
    ROWS_OUT,
    SIZES,
    SOURCE_TABLES,
    STRIP,
    STRIP_PASS,
    STRIPS,
    WORK,
)
from .vertical import ROWS

# Offset in a block of the tables of the pass along the outer axis.
OTHER_TABLES = (RAW_OUT + 1) * (1 if config.DISABLE_JIT else ENTRY)


@driver
def filter_volume_tile(kernels, x, y, task, thread, block, constants):
    """Compute one task.

    In `kernels`, `block` and `constants`, the entries of the pass along the outer axis follow those of the other pass.
    """
    geometry, outer, front = integers(block, SIZES), integers(block, OUTER), block[OTHER_TABLES:]
    sizes, front_kernels = integers(front, SIZES), kernels[KERNELS:]
    table, sources = integer_row(front, ROW_TABLES, thread), integer_row(front, SOURCE_TABLES, thread)
    blocks, strips, together = -(-sizes[ROWS_OUT] // ROWS), geometry[STRIPS], geometry[PLANES]
    first_plane = task % blocks * ROWS  # varies fastest, as the next block reads some of the planes again
    row = task // blocks % strips * geometry[STRIP]
    beside = task // (blocks * strips) % together
    volume = task // (blocks * strips * together)
    planes = min(ROWS, sizes[ROWS_OUT] - first_plane)
    last_row = min(row + geometry[STRIP], geometry[ROWS_OUT])

    size, width = geometry[ROWS_IN], geometry[ROW_STRIDE_IN]
    first, needed = row + geometry[ROW_FIRST], last_row - row + geometry[ROW_TAPS] - 1
    low, high = first, first + needed
    if first < 0 or high > size:
        low, high = size, 0
        for j in range(needed):
            at = index_of(first + j, size, geometry[ROW_BOUNDARY])
            low, high = min(low, at), max(high, at + 1)

    between_at = locate_planes(
        volume, sizes, integers(front, OUTER), integer_rows(front, OUTER_SOURCES), sources
    )
    locate_window(first_plane + sizes[ROW_FIRST], planes - 1 + sizes[ROW_TAPS], sources, 1, sizes, table)
    between, start = number_bytes(block, WORK, thread, constants), geometry[BETWEEN]
    column = (beside * size + low) * width
    call(front_kernels[DENSE_SEGMENT], (
        front_kernels, x, table, planes, column, (high - low) * width, 0, front, constants[1:], thread, between,
        start,
    ))  # fmt: skip

    outer_taps, read = integer_rows(block, OUTER_SOURCES), integer_row(block, SOURCE_TABLES, thread)
    at = between_at // (size * width) + beside
    for i in range(planes):
        plane = at + (first_plane + i) * sizes[PLANES]
        target = locate_planes(plane, geometry, outer, outer_taps, read)
        read[0] = start + i * sizes[ROW_STRIDE_OUT] - low * width
        call(kernels[STRIP_PASS], (
            kernels, between, y, row, last_row, 0, geometry[COLUMNS_OUT], target, thread, block, constants,
        ))  # fmt: skip


def volume_tile(compute: np.dtype[Any]) -> Any:
    """Return the address of the tile filter."""
    memory, whole = Line(types.uint8), Line(types.int64)
    n, constants = types.int64, Line(numba.from_dtype(compute), 2)
    return address(filter_volume_tile, (whole, memory, memory, n, n, whole, constants))

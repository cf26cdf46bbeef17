"""Packs rows of bytes as 16-bit integers, for flat kernels that sum bytes as such integers."""

from __future__ import annotations

from ..intrinsics.short_integers import narrow_vectors, widen_bytes
from ..intrinsics.vectors import call, lanes_of
from ..jit import inlined, kernel
from .row_conversion import index_of
from .table_entries import (
    COLUMN_STRIDE_IN,
    COLUMNS_IN,
    OUTSIDE_PLANE,
    ROW_BOUNDARY,
    ROW_STRIDE_IN,
    ROWS_IN,
)


@inlined
def pack_by_numbers(pack, x, plane, row, first, columns, geometry, constants, raw, work, scratch, target):
    """Pack columns of a row as numbers to `scratch` and convert these; up to a vector beyond them is overwritten."""
    if columns > 0:
        call(pack, (x, plane, row, first, columns, geometry, constants, raw, work, scratch))
        for j in range(0, columns, 2 * lanes_of(work)):
            narrow_vectors(work, scratch + j, target + j)


@kernel
def pack_bytes(pack, x, plane, row, first, columns, geometry, constants, raw, work, scratch, target):
    """Pack a row of bytes as 16-bit integers to ``work[target]``.

    Whole vectors inside the array are read directly; the rest is packed by the kernel `pack` and converted.
    """
    inside, step = index_of(row, geometry[ROWS_IN], geometry[ROW_BOUNDARY]), 2 * lanes_of(work)
    stop, to = first + columns, 2 * target
    low = min(max(first, 0), stop)
    whole = max(min(stop, geometry[COLUMNS_IN]) - low, 0) // step * step
    if plane == OUTSIDE_PLANE or inside < 0 or geometry[COLUMN_STRIDE_IN] != 1:
        low, whole = first, 0
    pack_by_numbers(pack, x, plane, row, first, low - first, geometry, constants, raw, work, scratch, to)
    source, at = plane + inside * geometry[ROW_STRIDE_IN] + low, to + low - first
    for j in range(0, whole, step):
        widen_bytes(work, x, at + j, source + j)
    low += whole
    pack_by_numbers(
        pack, x, plane, row, low, stop - low, geometry, constants, raw, work, scratch, to + low - first
    )

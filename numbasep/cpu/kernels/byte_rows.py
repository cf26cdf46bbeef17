"""Packs rows of bytes as integers of 16 bits, for flat kernels that are summed up as such."""

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
    """Columns of a row, as numbers to `scratch`, from there as integers of 16 bits; up to a vector is overwritten."""
    if columns > 0:
        call(pack, (x, plane, row, first, columns, geometry, constants, raw, work, scratch))
        for j in range(0, columns, 2 * lanes_of(work)):
            narrow_vectors(work, scratch + j, target + j)


@kernel
def pack_bytes(pack, x, plane, row, first, columns, geometry, constants, raw, work, scratch, target):
    """A row of bytes as integers of 16 bits, to the element `target` of `work`.

    What lies inside the array is read at once; the rest is packed by the kernel `pack`.
    """
    inside, step = index_of(row, geometry[ROWS_IN], geometry[ROW_BOUNDARY]), 2 * lanes_of(work)
    behind, to = first + columns, 2 * target
    low = min(max(first, 0), behind)
    whole = max(min(behind, geometry[COLUMNS_IN]) - low, 0) // step * step
    if plane == OUTSIDE_PLANE or inside < 0 or geometry[COLUMN_STRIDE_IN] != 1:
        low, whole = first, 0
    pack_by_numbers(pack, x, plane, row, first, low - first, geometry, constants, raw, work, scratch, to)
    source, at = plane + inside * geometry[ROW_STRIDE_IN] + low, to + low - first
    for j in range(0, whole, step):
        widen_bytes(work, x, at + j, source + j)
    low += whole
    pack_by_numbers(
        pack, x, plane, row, low, behind - low, geometry, constants, raw, work, scratch, to + low - first
    )

"""Fills the columns beyond the edges of row buffers."""

from __future__ import annotations

from ..intrinsics.vectors import peek, poke
from ..jit import driver, inlined
from .table_entries import COLUMN_FIRST, COLUMNS_IN, EDGE_LAST, INNER, SUMS_STRIDE


@driver
def fill_ends(work, buffer, first, low, high, stop, other, other_low, rows, geometry, edges, outside):
    """Columns [first, low) and [high, stop) of row buffers, which lie beyond the edges, from where the boundary says.

    ``work[buffer]`` is column `first`; columns [low, high) are summed there.  ``work[other]`` is column `other_low` of
    sums of the other end of the row.  `outside` is what the vertical pass sums up beyond a constant boundary.
    """
    inner, size, stride = geometry[INNER], geometry[COLUMNS_IN], geometry[SUMS_STRIDE]
    period = outside.size
    for side in range(2):
        begin, end = (first, min(low, stop)) if side == 0 else (max(high, first), stop)
        for column in range(begin, end):
            if column < 0:
                source = peek(edges, column - geometry[COLUMN_FIRST])
            else:
                source = peek(edges, geometry[EDGE_LAST] + column - size)
            to = buffer + (column - first) * inner
            if source < 0:
                for r in range(rows):
                    for j in range(inner):
                        poke(work, to + r * stride + j, outside[j % period])
                continue
            if low <= source < high:
                at = buffer + (source - first) * inner
            else:
                at = other + (source - other_low) * inner
            for r in range(rows):
                for j in range(inner):
                    poke(work, to + r * stride + j, peek(work, at + r * stride + j))


@inlined
def other_end(first, low, high, stop, geometry, edges):
    """The range of columns that columns beyond the edges repeat, and that are not among [low, high).

    It fits a row buffer: segments that are shorter than the row are longer than the windows.
    """
    least, most = geometry[COLUMNS_IN], -1
    for side in range(2):
        begin, end = (first, min(low, stop)) if side == 0 else (max(high, first), stop)
        for column in range(begin, end):
            if column < 0:
                source = peek(edges, column - geometry[COLUMN_FIRST])
            else:
                source = peek(edges, geometry[EDGE_LAST] + column - geometry[COLUMNS_IN])
            if source >= 0 and not low <= source < high:
                least, most = min(least, source), max(most, source)
    return least, most + 1

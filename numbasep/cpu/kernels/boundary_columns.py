"""Fills the columns of row buffers that are beyond the edges of the array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ..intrinsics.vectors import LLVM_TYPES, TARGET, peek, pointer_to, poke, vector_intrinsic
from ..jit import driver, inlined
from .table_entries import COLUMN_FIRST, COLUMNS_IN, EDGE_LAST, INNER, SUMS_STRIDE

COPIED_ROWS = TARGET.block_rows  # row buffers have this number of rows, or a multiple
FEW = 4  # largest number of adjacent elements per column for which `copy_down` is used


def _copy_down_reference(work: np.ndarray, source: int, target: int, stride: int) -> None:
    for r in range(COPIED_ROWS):
        work[target + r * stride] = work[source + r * stride]


@vector_intrinsic(_copy_down_reference)
def copy_down(typingctx: Any, work: Any, source: Any, target: Any, stride: Any) -> Any:
    """Copy element `source` to element `target` in each of COPIED_ROWS rows, `stride` elements apart."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = LLVM_TYPES[work.dtype]
        one, other = (pointer_to(context, builder, sig.args[0], args[0], at, kind) for at in args[1:3])
        for r in range(COPIED_ROWS):
            step = builder.mul(args[3], args[3].type(r))
            builder.store(builder.load(builder.gep(one, [step])), builder.gep(other, [step]))
        return context.get_dummy_value()

    return types.void(work, types.intp, types.intp, types.intp), codegen


@driver
def fill_ends(work, buffer, first, low, high, stop, other, other_low, rows, geometry, edges, outside):
    """Fill columns [first, low) and [high, stop) of row buffers, beyond the edges, according to the boundary mode.

    ``work[buffer]`` is column `first`; columns [low, high) hold vertical sums.  ``work[other]`` is column `other_low`
    of the sums at the other end of the row.  `outside` holds the vertical sums beyond a constant boundary.
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
            if inner <= FEW:
                for j in range(inner):
                    for r in range(0, rows, COPIED_ROWS):
                        copy_down(work, at + j + r * stride, to + j + r * stride, stride)
                continue
            for r in range(rows):
                for j in range(inner):
                    poke(work, to + r * stride + j, peek(work, at + r * stride + j))


@inlined
def other_end(first, low, high, stop, geometry, edges):
    """Return the range of columns outside [low, high) that the boundary repeats beyond the edges.

    It fits a row buffer, because a segment that is shorter than the row is longer than the windows.
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

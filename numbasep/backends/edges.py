"""Which passes are filtered straight from the array, and where they find the columns beyond its edges.

Those columns are found among the sums down the rows: a boundary repeats columns, so the pass down the rows gives the
same numbers there, bit for bit, as on rows that were extended first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..boundary import OUTSIDE, source_index
from ..kernels.memory import Storage
from ..kernels.simd import lanes
from ..kernels.stripes import SLIDES
from ..kernels.valid import AS_STORED
from .layout import Planes, plain_window
from .program import Program

_FAR, _UNUSED = -3, -4  # a column that stands in neither vector; one that no tap reads
MOST_BOX_ROWS = 40  # equal row taps up to which summing them one by one is still cheaper than packing
MOST_CONVERSIONS = 17  # row taps up to which stored integers may be converted once for each row they serve


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Columns near and beyond the edges, by their lanes in the first and the last vector of a row."""

    table: npt.NDArray[np.int64]
    """From the first element read, then from the last vector on; OUTSIDE where there is a boundary constant of 0."""
    last: int
    """Where the part for the last vector begins."""


def direct_edges(
    planes: Planes, program: Program, storage: Storage, compute: np.dtype[Any],
    constants: npt.NDArray[Any], views: int,
) -> Edges | None:  # fmt: skip
    """Where `kernels.fused` finds columns beyond the edges, or None if the pass has to pack its rows.

    Parameters
    ----------
    planes, program
        What is computed on which layout.
    storage : Storage
        How the input lies in memory.
    compute : numpy.dtype
        float32 or float64.
    constants : (1 or 2, 1 + period) array
        Divisor and boundary value.
    views : int
        How the input is seen (`kernels.valid`).
    """
    rows, columns, inner = planes.rows, planes.columns, planes.inner
    window, width = plain_window(columns), lanes(compute)
    elements, first = columns.size_in * inner, window.first * inner
    fits = (
        SLIDES
        and program.direct_runs > 0
        and not (program.boxes and plain_window(rows).taps > MOST_BOX_ROWS)
        and columns.stride_in == columns.stride_out == inner
        and not storage.swapped
        and (storage.dtype == compute or plain_window(rows).taps <= MOST_CONVERSIONS)
        and elements >= width
        and (window.taps - 1) * inner <= width
        and -width <= first
        and np.isfinite(program.weights).all()
    )
    if not fits:
        return None
    stop = first + (columns.size_out + window.taps - 1) * inner
    left = _lanes_at(np.arange(first, width), elements, inner, int(window.boundary), width, stop)
    behind = np.arange(elements - width, max(stop, elements) + 3 * width)
    right = _lanes_at(behind, elements, inner, int(window.boundary), width, stop)
    table = np.concatenate([left, right])
    reaches_out = bool((table == OUTSIDE).any())
    if (table == _FAR).any() or (reaches_out and (views != AS_STORED or constants[:, 1:].any())):
        return None
    return Edges(np.where(table == _UNUSED, OUTSIDE, table), left.size)


def _lanes_at(
    positions: npt.NDArray[np.int64], elements: int, inner: int, boundary: int, width: int, stop: int
) -> npt.NDArray[np.int64]:
    """For each element position: its lane in the first vector of a row, or `width` + its lane in the last."""
    found = np.empty(positions.size, np.int64)
    for i, position in enumerate(positions):
        column = source_index(int(position) // inner, elements // inner, boundary)
        element = column * inner + int(position) % inner
        if position >= stop:
            found[i] = _UNUSED
        elif column == OUTSIDE:
            found[i] = OUTSIDE
        elif element >= elements - width:
            found[i] = width + element - (elements - width)
        else:
            found[i] = element if element < width else _FAR
    return found

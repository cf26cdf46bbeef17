"""Which dense passes read the array itself, and the columns beyond its edges that they copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..boundary import OUTSIDE, source_index
from ..kernels.dense_words import DENSE_ROWS
from ..kernels.memory import Storage
from ..kernels.simd import VECTOR_BYTES
from ..lowering.layout import Planes, plain_window
from ..passes import MOST_SPAN, MOST_WAYS, rows_in_a_set


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Elements beyond the edges of a row by their sources in the row, for dense kernels."""

    table: npt.NDArray[np.int64]
    """From the first element read to the start of the row, then from its end on; OUTSIDE for the boundary's value."""
    last: int
    """Where the part behind the row begins."""
    width: int
    """Elements that kernels copy of each row, of both ends together."""


def dense_ends(planes: Planes, storage: Storage, compute: np.dtype[Any], height: int) -> Ends | None:
    """What the kernel of a dense pass has to know of rows that it reads from the array; None if it has to pack them.

    Parameters
    ----------
    planes : Planes
        Roles of the axes.
    storage : Storage
        How the input lies in memory.
    compute : numpy.dtype
        float32 or float64.
    height : int
        Rows of output that it computes at a time.
    """
    columns, inner, window = planes.columns, planes.inner, plain_window(planes.columns)
    lanes, size = VECTOR_BYTES // compute.itemsize, columns.size_in * inner
    first, span, item = window.first * inner, (window.taps - 1) * inner, compute.itemsize
    rows = height + plain_window(planes.rows).taps - 1
    if (
        storage != Storage(f"f{item}")
        or columns.stride_in != inner
        or size < lanes
        or span > MOST_SPAN
        or (
            height == DENSE_ROWS
            and rows_in_a_set(rows, planes.rows.stride_in * item, span * item) > MOST_WAYS
        )
    ):
        return None
    stop = max(size, first + columns.size_out * inner + span) + 2 * lanes + span
    positions = np.concatenate([np.arange(first, 0), np.arange(size, stop)])
    left = lanes + span - first if first < 0 else 0
    right = max(stop - (size - lanes - span), 0)
    table = _sources(positions, size, inner, int(window.boundary))
    return Ends(table, max(-first, 0), left + right)


def _sources(
    positions: npt.NDArray[np.int64], elements: int, inner: int, boundary: int
) -> npt.NDArray[np.int64]:
    """The element that each position of the continued row shows, or OUTSIDE."""
    columns, at = np.unique(positions // inner, return_inverse=True)
    found = np.array([source_index(int(c), elements // inner, boundary) for c in columns], np.int64)[at]
    return np.where(found == OUTSIDE, OUTSIDE, found * inner + positions % inner)

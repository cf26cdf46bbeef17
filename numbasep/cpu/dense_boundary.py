"""Tables of the columns beyond the edges of an array, which dense passes copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arguments.boundary import OUTSIDE, source_index
from ..lowering.task import Task
from .intrinsics.vectors import VECTOR_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Table of the elements beyond the edges of a row for dense kernels."""

    table: npt.NDArray[np.int64]
    """Element of the row that each copies, or OUTSIDE: elements before the row, then those after it."""
    last: int
    """Index of the first element after the row."""
    width: int
    """Elements of both ends of each row that kernels copy."""


def dense_ends(task: Task) -> Ends:
    """Return the columns beyond the edges for a dense pass that reads rows from the array directly."""
    columns, inner, window = task.planes.columns, task.inner, task.along
    lanes, size = VECTOR_BYTES // task.item, columns.size_in * inner
    first, span = window.first * inner, task.span
    stop = max(size, first + columns.size_out * inner + span) + 2 * lanes + span
    positions = np.concatenate([np.arange(first, 0), np.arange(size, stop)])
    left = lanes + span - first if first < 0 else 0
    right = max(stop - (size - lanes - span), 0)
    table = _sources(positions, size, inner, int(window.boundary))
    return Ends(table, max(-first, 0), left + right)


def _sources(
    positions: npt.NDArray[np.int64], elements: int, inner: int, boundary: int
) -> npt.NDArray[np.int64]:
    """Return the element that each position of the extended row copies, or OUTSIDE."""
    columns, at = np.unique(positions // inner, return_inverse=True)
    found = np.array([source_index(int(c), elements // inner, boundary) for c in columns], np.int64)[at]
    return np.where(found == OUTSIDE, OUTSIDE, found * inner + positions % inner)

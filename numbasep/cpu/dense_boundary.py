"""Columns beyond the edges of an array, as copied by dense passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arguments.boundary import OUTSIDE, source_index
from ..lowering.task import Task
from .intrinsics.vectors import VECTOR_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Elements beyond the edges of a row by their sources in the row, for dense kernels."""

    table: npt.NDArray[np.int64]
    """From the first element read to the start of the row, then from its end on; OUTSIDE for the boundary's value."""
    last: int
    """Where the part behind the row begins."""
    width: int
    """Elements that kernels copy of each row, of both ends together."""


def dense_ends(task: Task) -> Ends:
    """The columns beyond the edges of rows that the kernel of a dense pass reads from the array."""
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
    """The element that each position of the continued row shows, or OUTSIDE."""
    columns, at = np.unique(positions // inner, return_inverse=True)
    found = np.array([source_index(int(c), elements // inner, boundary) for c in columns], np.int64)[at]
    return np.where(found == OUTSIDE, OUTSIDE, found * inner + positions % inner)

"""Flat kernels by the differences of adjacent output rows, for integers, whose sums may be subtracted.

A column of equal weights moves by one row from one output row to the next: its sum gains the sample below its last row,
and loses the sample at its first row.  So the difference of two output rows is a sum over the ends of columns::

    y[q, j] - y[q - 1, j] = sum over columns c of w_c (x[q + last_c, j + c] - x[q - 1 + first_c, j + c])

Ends of adjacent columns in the same row are a run, which sums of 2 or 4 neighbours shorten.  A disk of radius 16 takes
46 additions and subtractions, whatever the processor shares among rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .arguments import Array

MOST_LEVELS = 2  # sums of up to ``2 ** MOST_LEVELS`` neighbours
MOST_ENDS = 128  # columns per group: the difference of sums of as many bytes fits 16 bits with a sign
LEVEL_COST = 2  # additions that a row of sums of neighbours takes, with its stores


class End(NamedTuple):
    """A sum of adjacent samples in one row."""

    row: int
    """Row, numbered over all planes of the window extended by the row before it: row 0 of a plane is that before."""
    column: int
    """First column."""
    level: int
    """The samples are ``2 ** level``."""


@dataclass(frozen=True, slots=True)
class EndGroup:
    """Columns of equal weight, at most `MOST_ENDS`."""

    weight: float
    """Weight."""
    gained: tuple[End, ...]
    """Ends below the columns."""
    lost: tuple[End, ...]
    """Ends at the top of the columns."""


@dataclass(frozen=True, slots=True)
class ColumnEnds:
    """Groups of columns."""

    groups: tuple[EndGroup, ...]
    """Groups, whose weighted sums are the result."""
    levels: int
    """Largest level."""

    @property
    def operations(self) -> int:
        """Operations per output element: differences, and for each group the new sum and its multiplication."""
        terms = sum(len(group.gained) + len(group.lost) for group in self.groups)
        return terms + self.levels + 2 * len(self.groups)


def column_ends(table: Array) -> ColumnEnds | None:
    """Return the ends of the columns of a kernel of few weights, or None if a column has too many.

    Examples
    --------
    >>> y, x = np.ogrid[-16:17, -16:17]
    >>> column_ends(x * x + y * y <= 256).operations
    50
    """
    planes = np.asarray(table).reshape(-1, *table.shape[-2:])
    found: list[tuple[float, Array, Array]] = []
    for weight in np.unique(planes[planes != 0]).tolist():
        mask = np.pad(planes == weight, ((0, 0), (1, 1), (0, 0))).astype(np.int8)
        steps = np.diff(mask, axis=1)  # row i: between rows i - 1 and i of the window
        counts = np.count_nonzero(steps > 0, axis=(0, 1))
        if counts.max() > MOST_ENDS:
            return None
        first, total = 0, 0
        for column, count in enumerate(counts.tolist()):
            if total + count > MOST_ENDS:
                found.append((weight, *_ends(steps, first, column)))
                first, total = column, 0
            total += count
        found.append((weight, *_ends(steps, first, counts.size)))
    made = [_grouped(found, levels) for levels in range(MOST_LEVELS + 1)]
    return min(made, key=lambda ends: ends.operations + LEVEL_COST * ends.levels)


def _ends(steps: Array, first: int, last: int) -> tuple[Array, Array]:
    """Return the runs of ends of the columns from `first` to `last`: those gained and those lost."""
    part = np.zeros_like(steps)
    part[..., first:last] = steps[..., first:last]
    rows = part.reshape(-1, part.shape[-1])
    return _runs(rows < 0), _runs(rows > 0)


def _runs(mask: Array) -> Array:
    """Return (row, first column, length) of the runs of each row."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges > 0)
    return np.stack([rows, starts, np.nonzero(edges < 0)[1] - starts], axis=1)


def _grouped(found: Sequence[tuple[float, Array, Array]], levels: int) -> ColumnEnds:
    groups = [
        EndGroup(weight, _in_powers(gained, levels), _in_powers(lost, levels))
        for weight, gained, lost in found
    ]
    return ColumnEnds(tuple(groups), levels)


def _in_powers(runs: Array, levels: int) -> tuple[End, ...]:
    """Split runs into sums of ``2 ** level`` neighbours, for levels up to `levels`."""
    ends = []
    for row, start, length in runs.tolist():
        at, stop = start, start + length
        for level in range(levels, -1, -1):
            while stop - at >= 1 << level:
                ends.append(End(row, at, level))
                at += 1 << level
    return tuple(ends)

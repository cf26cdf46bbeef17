"""`Task`: counts of the taps and the planes of one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..arguments.boundary import Boundary
from ..arguments.problem import Window
from ..system.caching import cached_property
from .layout import Planes, plain_window


class Weights(NamedTuple):
    """Counts of dense weights."""

    taps: int
    """Number of weights that are multiplied."""
    runs: int
    """Number of runs of adjacent weights along the row axis."""
    planes: int
    """Number of planes with weights."""
    columns: int
    """Number of columns with weights."""
    folded: tuple[int, int] | None = None
    """Number of weights and runs in the first half of the columns, if the kernel is even or odd along them."""


class Terms(Protocol):
    """Counts of separable terms: an entry for each term and each axis."""

    @property
    def factors(self) -> tuple[tuple[int, ...], ...]:
        """Number of taps that are multiplied."""

    @property
    def runs(self) -> tuple[tuple[int, ...], ...]:
        """Number of runs of adjacent taps."""

    @property
    def boxes(self) -> tuple[tuple[bool, ...], ...]:
        """Whether the taps are adjacent and equal."""

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Index of the first term with the same taps along the axis."""


class Part(NamedTuple):
    """Counts of one separable term in one pass."""

    rows: int
    """Number of taps along the row axis."""
    row_runs: int
    """Number of runs of adjacent taps among them."""
    row_box: bool
    """Whether they are equal and adjacent."""
    columns: int
    """Number of taps along the column axis."""
    column_box: bool
    """Whether they are equal and adjacent."""


@dataclass(frozen=True)
class Task:
    """One pass, before a kernel is chosen: its taps, its planes and its types."""

    planes: Planes
    """Roles of the axes."""
    count: int
    """Number of output planes."""
    sources: int
    """Number of input planes per output plane."""
    item: int
    """Itemsize of the (real) compute dtype: 4 or 8."""
    item_in: int
    """Itemsize of the (real) input numbers."""
    plain_in: bool
    """Whether the input has the compute dtype; else it is converted."""
    plain_out: bool
    """Whether the output has the compute dtype."""
    weights: Weights | None = None
    """Dense weights; None for separable terms."""
    groups: tuple[tuple[Part, ...], ...] = ()
    """Separable terms; the terms of a group have the same taps along the columns."""
    slots: int = 0
    """Diagonals of the matrix that filters short rows, for all intermediates together (`shapes`); 0 for other rows."""
    masked: bool = False
    """Whether missing samples are left out (`cpu.kernels.nan_aware`)."""
    beyond: bool = False
    """Whether some input planes are beyond a constant boundary."""

    @cached_property
    def down(self) -> Window:
        """Window along the row axis."""
        return plain_window(self.planes.rows)

    @cached_property
    def along(self) -> Window:
        """Window along the column axis."""
        return plain_window(self.planes.columns)

    @property
    def inner(self) -> int:
        """Adjacent numbers per column."""
        return self.planes.inner

    @property
    def rows(self) -> int:
        """Number of rows of an output plane."""
        return self.planes.rows.size_out

    @cached_property
    def width(self) -> int:
        """Numbers in an output row."""
        return self.planes.columns.size_out * self.inner

    @cached_property
    def span(self) -> int:
        """Distance in numbers from the first to the last column of a window."""
        return (self.along.taps - 1) * self.inner

    @cached_property
    def numbers(self) -> int:
        """Numbers in the output."""
        return self.count * self.rows * self.width

    @property
    def strided(self) -> bool:
        """Whether the window has a step above 1 along rows or columns."""
        return self.down.step > 1 or self.along.step > 1

    @property
    def separable(self) -> bool:
        """Whether every term is a product of taps along the row axis and taps along the column axis."""
        return self.weights is None or self.weights.columns == 1

    @property
    def constant_rows(self) -> bool:
        """Whether rows beyond the edges have a constant value."""
        return self.beyond or self.down.boundary == Boundary.CONSTANT

    @property
    def converted(self) -> bool:
        """Whether the input or the output is converted."""
        return not (self.plain_in and self.plain_out)

    @property
    def rows_read(self) -> int:
        """Number of rows of an input plane that are read."""
        return min((self.rows - 1) * self.down.step + self.down.taps, self.rows * self.down.taps)

    @cached_property
    def reach(self) -> int:
        """Numbers of an input row that an output row reads."""
        return (self.width - self.inner) * self.along.step + self.along.taps * self.inner

    @property
    def row_phases(self) -> int:
        """Number of runs into which the step divides adjacent taps along the row axis."""
        return min(self.down.step, self.down.taps)

    def window_rows(self, height: int) -> int:
        """Return the number of input rows that `height` output rows read."""
        return (height - 1) * self.down.step + self.down.taps


def plane_count(planes: Planes) -> int:
    """Return the number of output planes."""
    return math.prod(axis.size_out for axis in planes.outer)


def part_of(terms: Terms, t: int, rows: int | None, columns: int | None) -> Part:
    """Return the counts of term `t` for the row and the column axis, given as indices of windows or None."""
    down = (
        (1, 1, False) if rows is None else (terms.factors[t][rows], terms.runs[t][rows], terms.boxes[t][rows])
    )
    along = (1, False) if columns is None else (terms.factors[t][columns], terms.boxes[t][columns])
    return Part(*down, *along)

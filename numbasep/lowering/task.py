"""`Task`: the taps and the planes of one pass, in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..arguments.boundary import Boundary
from ..arguments.problem import Window
from ..system.caching import cached_property
from .layout import Planes, plain_window


class Weights(NamedTuple):
    """Dense weights, in numbers."""

    taps: int
    """Weights that multiply."""
    runs: int
    """Maximal runs of adjacent ones down the rows."""
    planes: int
    """Planes of rows and columns that hold some."""
    columns: int
    """Columns that hold some."""
    folded: tuple[int, int] | None = None
    """Weights and runs in the first half of the columns, if the others mirror these or their negatives."""


class Terms(Protocol):
    """Separable terms, in numbers: an entry for each term along each axis."""

    @property
    def factors(self) -> tuple[tuple[int, ...], ...]:
        """Taps that multiply."""

    @property
    def runs(self) -> tuple[tuple[int, ...], ...]:
        """Maximal runs of adjacent ones."""

    @property
    def boxes(self) -> tuple[tuple[bool, ...], ...]:
        """Whether these are adjacent and equal."""

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The first term that has the same taps along the axis."""


class Part(NamedTuple):
    """A separable term in one pass."""

    rows: int
    """Taps down the rows."""
    row_runs: int
    """Runs of adjacent ones."""
    row_box: bool
    """Whether they are equal and adjacent."""
    columns: int
    """Taps along the columns."""
    column_box: bool
    """Whether these are equal and adjacent."""


@dataclass(frozen=True)
class Task:
    """One pass as it is asked for: what is summed, on which planes, from and to which numbers."""

    planes: Planes
    """Roles of the axes."""
    count: int
    """Planes of output."""
    sources: int
    """Input planes of each."""
    item: int
    """Bytes of a number that sums are taken in: 4 or 8."""
    item_in: int
    """Bytes of a number of the input."""
    plain_in: bool
    """Whether the input holds such numbers as sums are taken in; otherwise it is converted."""
    plain_out: bool
    """Whether the output does."""
    weights: Weights | None = None
    """Dense weights; None for separable terms."""
    groups: tuple[tuple[Part, ...], ...] = ()
    """Separable terms; those of a group share their taps along the columns."""
    slots: int = 0
    """Diagonals of the matrix that filters short rows, of all intermediates together (`shapes`); 0: rows are long."""
    masked: bool = False
    """Whether samples are left out that are not there (`cpu.kernels.nan_aware`)."""
    beyond: bool = False
    """Whether planes of the input lie beyond a constant boundary."""

    @cached_property
    def down(self) -> Window:
        """How rows are filtered."""
        return plain_window(self.planes.rows)

    @cached_property
    def along(self) -> Window:
        """How columns are."""
        return plain_window(self.planes.columns)

    @property
    def inner(self) -> int:
        """Numbers of a column."""
        return self.planes.inner

    @property
    def rows(self) -> int:
        """Rows of a plane of output."""
        return self.planes.rows.size_out

    @cached_property
    def width(self) -> int:
        """Numbers of a row of output."""
        return self.planes.columns.size_out * self.inner

    @cached_property
    def span(self) -> int:
        """Numbers from the first column of a window to its last."""
        return (self.along.taps - 1) * self.inner

    @cached_property
    def numbers(self) -> int:
        """Numbers of output."""
        return self.count * self.rows * self.width

    @property
    def strided(self) -> bool:
        """Whether rows or columns are left out."""
        return self.down.step > 1 or self.along.step > 1

    @property
    def separable(self) -> bool:
        """Whether every term is taps down the rows by taps along the columns."""
        return self.weights is None or self.weights.columns == 1

    @property
    def constant_rows(self) -> bool:
        """Whether rows beyond the edges are a constant."""
        return self.beyond or self.down.boundary == Boundary.CONSTANT

    @property
    def converted(self) -> bool:
        """Whether numbers are converted on their way."""
        return not (self.plain_in and self.plain_out)

    @property
    def rows_read(self) -> int:
        """Rows of an input plane that are read."""
        return min((self.rows - 1) * self.down.step + self.down.taps, self.rows * self.down.taps)

    @cached_property
    def reach(self) -> int:
        """Numbers of a row of input under the windows of a row of output."""
        return (self.width - self.inner) * self.along.step + self.along.taps * self.inner

    @property
    def row_phases(self) -> int:
        """Runs that adjacent taps down the rows are cut into."""
        return min(self.down.step, self.down.taps)

    def window_rows(self, height: int) -> int:
        """Rows under the windows of `height` rows of output."""
        return (height - 1) * self.down.step + self.down.taps


def plane_count(planes: Planes) -> int:
    """Planes of output."""
    return math.prod(axis.size_out for axis in planes.outer)


def part_of(terms: Terms, t: int, rows: int | None, columns: int | None) -> Part:
    """A term down the rows and along the columns; axes are positions among the windows."""
    down = (
        (1, 1, False) if rows is None else (terms.factors[t][rows], terms.runs[t][rows], terms.boxes[t][rows])
    )
    along = (1, False) if columns is None else (terms.factors[t][columns], terms.boxes[t][columns])
    return Part(*down, *along)

"""Polyphase decomposition of strided filters: a filter of stride s is the sum of s shorter filters of stride 1.

    y[i] = sum over k of w[k] * x[si + k] = sum over p < s and m of w[sm + p] * x_p[i + m],    x_p[j] = x[sj + p]

(P. P. Vaidyanathan, "Multirate Systems and Filter Banks", 1993, section 4.3.)  Vertically, a phase is a part of the
table of rows.  Horizontally, it is a part of a row buffer, into which its elements are packed
(`cpu.kernels.polyphase`).  The kernels of filters without a stride then compute the sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.problem import Window
from .kernels import table_entries as g
from .tap_tables import TapTables

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Phases:
    """Division of the taps of a window into phases."""

    step: int
    """Stride in input positions."""
    taps: int
    """Number of taps of the window."""

    @property
    def count(self) -> int:
        """Number of phases that have taps."""
        return min(self.step, self.taps)

    @property
    def longest(self) -> int:
        """Maximum number of taps of a phase."""
        return -(-self.taps // self.step)

    def reach(self, outputs: int) -> int:
        """Return the number of input positions under the windows of adjacent outputs."""
        return (outputs - 1) * self.step + self.taps

    def entries(self, outputs: int) -> int:
        """Return the number of positions of a phase that adjacent outputs read."""
        return outputs + self.longest - 1


def phases_of(window: Window) -> Phases:
    """Return the phases of a filtered axis."""
    return Phases(window.step, window.taps)


def by_phase(
    program: TapTables, rows: Phases, columns: Phases, height: int, inner: int, pitch: int
) -> TapTables:
    """Split the runs and lines of a program into those of each phase, for blocks of `height` rows.

    Parameters
    ----------
    program : TapTables
        Program whose runs of a source start at a multiple of the rows under the windows of a block.
    rows, columns : Phases
        Phases of the windows.
    height : int
        Rows per block.
    inner : int
        Elements per column.
    pitch : int
        Elements from one phase of a row to the next.
    """
    made = _PhaseTables([], [], [], [])
    terms = program.terms.copy()
    for term in terms:
        first, last = term[g.FIRST_RUN], term[g.RUN_STOP]
        term[g.RUN_START] = term[g.FIRST_RUN] = len(made.runs)
        for run in program.runs[first:last]:
            made.add_run(run, program.weights, rows, columns, height, inner, pitch)
        term[g.RUN_STOP] = len(made.runs)
        first, last = term[g.FIRST_LINE], term[g.LAST_LINE]
        term[g.FIRST_LINE] = len(made.lines)
        for line in program.lines[first:last]:
            made.add_line(line, program.line_weights, columns, inner, pitch)
        term[g.LAST_LINE] = len(made.lines)
    dtype = program.weights.dtype
    return replace(
        program, terms=terms, runs=np.array(made.runs, np.int64).reshape(-1, g.RUN),
        weights=np.array(made.weights, dtype), lines=np.array(made.lines, np.int64).reshape(-1, g.RUN),
        line_weights=np.array(made.line_weights, dtype),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _PhaseTables:
    """Growing tables of a program."""

    runs: list[list[int]]
    weights: list[float]
    lines: list[list[int]]
    line_weights: list[float]

    def add_run(
        self, run: Array, weights: Array, rows: Phases, columns: Phases, height: int, inner: int, pitch: int
    ) -> None:
        """Append the phases of a run of adjacent taps down a column."""
        source, row = divmod(int(run[g.RUN_ROW]), height + rows.taps - 1)
        column, each = int(run[g.RUN_SHIFT]) // inner, rows.entries(height)
        shift = column % columns.step * pitch + column // columns.step * inner
        for phase, at, taken in _cut(row, int(run[g.RUN_LENGTH]), rows.step):
            where = (source * rows.count + phase) * each + at
            self.runs.append([where, shift, len(taken), len(self.weights), 0])
            self.weights.extend(float(weights[run[g.RUN_WEIGHTS] + k]) for k in taken)

    def add_line(self, line: Array, weights: Array, columns: Phases, inner: int, pitch: int) -> None:
        """Append the phases of a line of adjacent taps along a row."""
        for phase, at, taken in _cut(int(line[g.RUN_SHIFT]) // inner, int(line[g.RUN_LENGTH]), columns.step):
            self.lines.append([0, phase * pitch + at * inner, len(taken), len(self.line_weights), 0])
            self.line_weights.extend(float(weights[line[g.RUN_WEIGHTS] + k]) for k in taken)


def _cut(first: int, taps: int, step: int) -> Iterator[tuple[int, int, range]]:
    """Yield each phase of the positions from `first` on: its number, the position of its first tap, and its taps.

    Examples
    --------
    >>> [(phase, at, list(taken)) for phase, at, taken in _cut(1, 4, 2)]
    [(1, 0, [0, 2]), (0, 1, [1, 3])]
    """
    for start in range(min(step, taps)):
        yield (first + start) % step, (first + start) // step, range(start, taps, step)

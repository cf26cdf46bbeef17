"""Tables of integers and weights for separable terms and dense kernels, which drivers read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..lowering.target import STEP_ROWS
from ..planning.facts import FOLDED_COLUMNS
from ..planning.operators import Factor, window_factor
from .kernels import table_entries as g

Array = npt.NDArray[Any]
_ONE = window_factor(np.ones(1))
BOX_OPERATIONS = 6  # approximate operations of a box of any length
BOX_TAPS = 16  # minimum of equal adjacent taps for `cpu.kernels.boxes`: at least a step of rows


@dataclass(frozen=True, slots=True, eq=False)
class PlaneTerm:
    """A separable term over rows and columns of an input plane."""

    source: int
    """Number of the input plane."""
    row: Factor = _ONE
    """Vertical taps."""
    column: Factor = _ONE
    """Horizontal taps."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaneWeights:
    """Dense weights over rows and columns of an input plane."""

    source: int
    """Number of the input plane."""
    weights: Array
    """Weights (vertical taps, horizontal taps)."""
    sparse: bool
    """Whether zero weights are skipped."""


Parts = Sequence[Sequence[PlaneTerm]] | Sequence[PlaneWeights]


@dataclass(frozen=True, slots=True, eq=False)
class TapTables:
    """Tables of a program for `cpu.kernels.plane_driver`; see `cpu.kernels.table_entries` for their columns."""

    terms: Array
    """(terms, TERM): runs and horizontal taps of each term."""
    runs: Array
    """(runs, RUN): runs of vertically adjacent taps."""
    weights: Array
    """Weights of the runs."""
    shifts: Array
    """Element offsets of the horizontal taps; -1 after the last tap of a term."""
    lines: Array
    """(lines, RUN): lines of horizontally adjacent taps, at least one per term."""
    line_weights: Array
    """Weights of the horizontal taps."""
    share_term: int = 0
    """First term of the sum of valid weights, by which results are divided; 0 if there is none."""
    fold: int = 0
    """1 or -1 if runs of a dense program also multiply their mirror images along the row, with this sign; else 0."""

    @property
    def dense(self) -> bool:
        """Whether the program is a single term with runs in several columns, for `cpu.kernels.dense`."""
        if len(self.terms) > 1 or self.share_term:
            return False
        (term,) = self.terms
        shifts = self.runs[term[g.RUN_START] : term[g.RUN_STOP], g.RUN_SHIFT]
        return bool(term[g.TAP_START] == term[g.TAP_STOP] and shifts.size and (shifts != shifts[0]).any())

    @property
    def operations(self) -> int:
        """Fused multiply-adds per output element."""
        long_runs = self.runs[self.terms[self.terms[:, g.ROW_BOX] > 0, g.RUN_START], g.RUN_LENGTH].sum()
        line_taps = self.terms[:, g.TAP_STOP] - self.terms[:, g.TAP_START]
        long_lines = line_taps[self.terms[:, g.COLUMN_BOX] > 0].sum()
        boxes = (self.terms[:, [g.ROW_BOX, g.COLUMN_BOX]] > 0).sum() * BOX_OPERATIONS
        return int(self.weights.size + line_taps.sum() - long_runs - long_lines + boxes)


def divided(program: TapTables, divisor: float) -> TapTables:
    """Divide the weights of a program's runs by a power of two, instead of its results.

    Results are the same to the bit unless a product leaves the range of normal numbers.
    """
    weights = program.weights.copy()
    for term in program.terms[: program.share_term or None]:
        for run in program.runs[term[g.FIRST_RUN] : term[g.RUN_STOP]]:
            part = slice(run[g.RUN_WEIGHTS], run[g.RUN_WEIGHTS] + run[g.RUN_LENGTH])
            weights[part] = program.weights[part] / divisor
    return replace(program, weights=weights)


def fold_columns(program: TapTables, span: int) -> TapTables:
    """Halve the runs of a dense program that is even or odd along the rows; return other programs unchanged.

    An even kernel multiplies ``x[c + i] + x[c - i]``, an odd one ``x[c + i] - x[c - i]``.  These sums are shared by all
    rows of a block.  Taps on the axis of symmetry are halved, which is exact, since they multiply their sample twice.

    Parameters
    ----------
    program : TapTables
        Tables of any program.
    span : int
        Elements from the first column of the window to the last.
    """
    runs, weights = program.runs, program.weights
    columns = np.unique(runs[:, g.RUN_SHIFT])
    if not program.dense or columns.size < FOLDED_COLUMNS:
        return program
    mirrored = runs.copy()
    mirrored[:, g.RUN_SHIFT] = span - runs[:, g.RUN_SHIFT]
    fields = [g.RUN_SHIFT, g.RUN_ROW, g.RUN_LENGTH]
    order, opposites = (np.lexsort(table[:, fields].T) for table in (runs, mirrored))
    if (runs[order][:, fields] != mirrored[opposites][:, fields]).any():
        return program
    taps, opposite = _weights_of(runs[order], weights), _weights_of(runs[opposites], weights)
    fold = 1 if np.array_equal(taps, opposite) else -1 if np.array_equal(taps, -opposite) else 0
    if not fold:
        return program
    halved = weights.copy()
    kept = runs[2 * runs[:, g.RUN_SHIFT] <= span].copy()
    kept[:, g.RUN_MIRROR] = span - 2 * kept[:, g.RUN_SHIFT]
    for run in kept[kept[:, g.RUN_MIRROR] == 0]:
        halved[run[g.RUN_WEIGHTS] :][: run[g.RUN_LENGTH]] *= 0.5
    terms = program.terms.copy()
    terms[0, g.RUN_STOP] = len(kept)
    return replace(program, terms=terms, runs=kept, weights=halved, fold=fold)


def _weights_of(runs: Array, weights: Array) -> Array:
    """Return the concatenated taps of runs."""
    return np.concatenate([weights[run[g.RUN_WEIGHTS] :][: run[g.RUN_LENGTH]] for run in runs])


def _is_box(weights: Sequence[float] | Array) -> bool:
    return len(weights) >= BOX_TAPS and bool(np.all(np.asarray(weights) == weights[0]))


class _TapTableBuilder:
    """Builder of the tables of a program."""

    def __init__(self, window: int, inner: int) -> None:
        self.window, self.inner = window, inner
        self.terms: list[list[int]] = []
        self.runs: list[list[int]] = []
        self.weights: list[float] = []
        self.shifts: list[int] = []
        self.lines: list[list[int]] = []
        self.line_weights: list[float] = []

    def column_of_taps(self, source: int, positions: Array, taps: Array, column: int) -> None:
        """Append vertical taps at ascending positions, split into runs of adjacent taps."""
        for run in np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1):
            row = source * self.window + int(run[0])
            self.runs.append([row, column * self.inner, run.size, len(self.weights), 0])
            self.weights += taps[run].tolist()

    def lines_of_taps(self, taps: int) -> None:
        """Append the horizontal taps from `taps` on, split into lines of taps `inner` elements apart."""
        shifts = np.array(self.shifts[taps:], np.int64)
        starts = np.flatnonzero(np.diff(shifts, prepend=-1 - self.inner) != self.inner)
        for start, stop in pairwise([*starts, shifts.size]):
            self.lines.append([0, int(shifts[start]), int(stop - start), taps + int(start), 0])

    def term(self, runs: int, taps: int, source_row: int = 0, *, rows: bool = True) -> None:
        """Append a term of the runs from `runs` on and the horizontal taps from `taps` on.

        If not `rows`, the runs are a single tap of weight 1, which only some kernels use.
        """
        first_run, first_line, last_tap = runs, len(self.lines), len(self.shifts)
        runs = runs if rows else len(self.runs)
        one_run = len(self.runs) - runs == 1
        row_box = one_run and _is_box(self.weights[self.runs[runs][3] :])
        shifts, line = self.shifts[taps:], self.line_weights[taps:]
        adjacent = bool(shifts) and shifts[-1] - shifts[0] == (len(shifts) - 1) * self.inner
        stands = len(self.runs) > runs or self.window == STEP_ROWS  # rows are contiguous, not in a ring
        column_box = adjacent and _is_box(line) and stands
        if not shifts and len(self.runs) > first_run:  # a single horizontal tap is part of the runs
            self.shifts.append(self.runs[first_run][1])
            self.line_weights.append(1.0)
        self.lines_of_taps(taps)
        self.shifts.append(-1)
        self.line_weights.append(0.0)
        self.terms.append([
            runs, len(self.runs), taps, last_tap, source_row, int(row_box), int(column_box), first_run, first_line,
            len(self.lines),
        ])  # fmt: skip

    def add_term(self, term: PlaneTerm) -> None:
        """Append a separable term; if it has a single tap along an axis, it becomes a one-dimensional pass."""
        rows, columns = term.row.positions, term.column.positions
        runs, taps = len(self.runs), len(self.shifts)
        if not rows.size or not columns.size:
            return None
        if columns.size == 1:
            column = int(columns[0])
            self.column_of_taps(term.source, rows, term.row.taps * term.column.taps[column], column)
            return self.term(runs, taps)
        scale = None
        if rows.size == 1 and (self.window == STEP_ROWS or not _is_box(term.column.taps[columns])):
            scale = float(term.row.taps[rows[0]])
            self.column_of_taps(term.source, rows, np.ones_like(term.row.taps), 0)
        else:
            self.column_of_taps(term.source, rows, term.row.taps, 0)
        self.shifts += (columns * self.inner).tolist()
        self.line_weights += (term.column.taps[columns] * (1.0 if scale is None else scale)).tolist()
        source_row = term.source * self.window + int(rows[0])
        return self.term(runs, taps, source_row, rows=scale is None)

    def add_terms(self, terms: Sequence[PlaneTerm]) -> None:
        """Append terms with equal horizontal taps; their vertical sums are added before the horizontal pass."""
        runs, taps = len(self.runs), len(self.shifts)
        for term in terms:
            self.column_of_taps(term.source, term.row.positions, term.row.taps, 0)
        columns = terms[0].column
        self.shifts += (columns.positions * self.inner).tolist()
        self.line_weights += columns.taps[columns.positions].tolist()
        self.term(runs, taps)

    def add_dense(self, parts: Sequence[PlaneWeights]) -> None:
        """Append the dense weights of all sources as a term of runs."""
        runs, taps = len(self.runs), len(self.shifts)
        for part in parts:
            for column in range(part.weights.shape[1]):
                taps_down = part.weights[:, column]
                positions = np.flatnonzero(taps_down) if part.sparse else np.arange(taps_down.size)
                if positions.size:
                    self.column_of_taps(part.source, positions, taps_down, column)
        self.term(runs, taps)

    def add(self, parts: Parts) -> None:
        """Append groups of separable terms with equal horizontal taps, or dense weights."""
        dense = [part for part in parts if isinstance(part, PlaneWeights)]
        if dense:
            self.add_dense(dense)
            return
        for group in parts:
            assert not isinstance(group, PlaneWeights)
            if len(group) == 1:
                self.add_term(group[0])
            else:
                self.add_terms(group)

    def build(self, dtype: np.dtype[Any], share_term: int) -> TapTables:
        """Return the tables as arrays; `dtype` is the compute type."""
        if not self.terms:
            self.term(0, 0)  # no nonzero tap: the result is zero everywhere

        def integers(values: list[Any], width: int) -> Array:
            return np.array(values, np.int64).reshape(-1, width)

        return TapTables(
            integers(self.terms, g.TERM),
            integers(self.runs, g.RUN),
            np.array(self.weights or [0.0], dtype),  # kernels read the first for its type
            np.array(self.shifts, np.int64),
            integers(self.lines, g.RUN),
            np.array(self.line_weights, dtype),
            share_term,
        )


def build_program(
    parts: Parts,
    window: int,
    inner: int,
    dtype: np.dtype[Any],
    share: Parts = (),
) -> TapTables:
    """Build the tables for separable terms or dense weights.

    Parameters
    ----------
    parts : sequence
        Groups of terms with equal horizontal taps, or the weights of each source.
    window : int
        Packed rows per source: vertical taps + STEP_ROWS - 1.
    inner : int
        Elements from one column to the next.
    dtype : numpy.dtype
        Compute type, float32 or float64.
    share : sequence, optional
        The same for the sum of valid weights, by which results are divided.
    """
    builder = _TapTableBuilder(window, inner)
    builder.add(parts)
    share_term = len(builder.terms) if share else 0
    builder.add(share)
    return builder.build(dtype, share_term)

"""How a separable pass is prepared: which rows it packs, its tiles, tables, and places in the workspace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import config

from ..boundary import Boundary, source_index
from ..kernels import geometry as g
from ..kernels import separable as kernels
from ..kernels.horizontal import LINE_ROWS, LINE_VECTORS
from ..kernels.phases import MOST_SHUFFLED
from ..kernels.simd import FUSES, STEP_ROWS, VECTOR_BYTES
from ..kernels.valid import BOTH, PRESENCE, VALUES, view_twin
from ..kernels.vertical import ROWS, VECTORS
from ..lowering.layout import Planes, plain_window
from ..passes import LEAST_ROW_BYTES, MOST_WAYS, buffer_columns, rows_in_a_set
from .phases import Phases, by_phase, phases_of
from .planes import PlanePass
from .program import Program
from .request import FETCH_BYTES, PassRequest, divide, finish
from .tiles import round_up, skew

Array = npt.NDArray[Any]

PLAIN = bool(config.DISABLE_JIT)  # then kernels are NumPy, which rounds products, too


def prepare_separable(p: PassRequest) -> PlanePass:
    """A pass of `kernels.separable`."""
    down, along, inner = p.planes.rows, p.planes.columns, p.planes.inner
    taps_down, window = plain_window(down).taps, plain_window(along)
    by_rows, by_columns = phases_of(plain_window(down)), phases_of(window)
    rows = _find_rows(p)
    program, item = _buffered(p.program, taps_down), p.compute.itemsize
    lanes, n_terms, split = VECTOR_BYTES // item, len(program.terms), window.step > 1
    constants = (p.constants if rows.packed else _seen(p.constants, p.views)).astype(p.compute)
    window_rows, table_rows = by_rows.reach(ROWS) * p.sources, by_rows.count * by_rows.entries(ROWS)
    kept = window_rows * (item if rows.packed else p.storage_in.dtype.itemsize)
    parts = divide(p, kept * window.step, ROWS)
    buffer_taps = window.taps if p.program.separable else 1
    segment = _segment(parts.tile, buffer_taps, inner, n_terms, item, window.step)
    block = max(LINE_VECTORS, VECTORS) * lanes
    pitches = _pitches(rows, by_columns, parts.tile, segment, buffer_taps, inner, lanes)
    if p.strided:
        program = by_phase(program, by_rows, by_columns, ROWS, inner, pitches.phase)
    places, at = {}, block
    for name, size in {
        g.SUMS: n_terms * ROWS * pitches.sums * rows.buffered,
        g.ENDS: ROWS * pitches.sums * (rows.buffered and not rows.packed),
        g.CONSTANT_ROWS: p.sources * pitches.ring * rows.beyond,
        g.RING: window_rows * pitches.ring * (rows.packed or rows.ends),
        g.UNSPLIT: (pitches.ring if rows.dense else ROWS * pitches.sums) * split,
    }.items():
        places[name] = at if size else 0
        at += round_up(size, lanes)
    width = along.size_in * inner
    last = width - VECTORS * lanes - (0 if p.program.separable else (window.taps - 1) * inner)
    fetched = p.count * down.size_in * width * p.storage_in.dtype.itemsize >= FETCH_BYTES and not rows.packed
    entries = {
        g.SEGMENT: segment, g.SUMS_STRIDE: pitches.sums, g.TERM_STRIDE: ROWS * pitches.sums,
        g.RING_STRIDE: pitches.ring, g.RING_WINDOW: by_rows.reach(ROWS), g.WINDOW: table_rows,
        g.PHASE_ROWS: by_rows.entries(ROWS), g.PHASE_STRIDE: pitches.phase, g.SPLIT_TAPS: window.taps,
        g.COLUMN_TAPS: buffer_taps, g.PACKED: window.taps if rows.packed else 0, g.LAST_BLOCK: last,
        g.TABLES: 2 * table_rows * p.sources, g.LEFT_ENDS: rows.left, g.RIGHT_ENDS: rows.right,
        g.INSIDE_FIRST: rows.inside_first, g.INSIDE_LAST: rows.inside_last, g.EDGE_LAST: max(0, -window.first),
        g.FETCHED: p.storage_in.dtype.itemsize if fetched and not (p.strided and rows.dense) else 0,
        g.STREAM: item * (p.streamed and down.stride_out * item % VECTOR_BYTES == 0), **places,
    }  # fmt: skip
    addresses = kernels.kernel_addresses(
        p.compute, p.storage_in, p.storage_out, packed=rows.packed, single_rows=rows.single, view=p.views,
        share=program.share_term > 0, dense=rows.dense, ends=rows.ends, split=split,
        fetching=fetched and p.strided,
    )  # fmt: skip
    return finish(
        p, addresses, program, parts, entries, at + 2 * block, edges=_edge_table(p.planes), constants=constants,
        outside=_outside_sums(program, constants, table_rows),
        block=max(LINE_ROWS * LINE_VECTORS, ROWS * VECTORS) * lanes,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pitches:
    """Elements from one row of the workspace to the next."""

    sums: int
    """Of row buffers."""
    ring: int
    """Of packed rows."""
    phase: int
    """From one phase of a row to the next; 0 where phases are not taken apart."""


def _pitches(
    rows: _Rows, columns: Phases, tile: int, segment: int, taps: int, inner: int, lanes: int
) -> _Pitches:
    """The pitches for row buffers of `segment` columns under `taps` taps and packed rows of `tile` columns."""
    block = max(LINE_VECTORS, VECTORS) * lanes

    def pitch(numbers: int, blocks: int) -> int:
        return skew(round_up(numbers + blocks * block, lanes), lanes)

    packed = columns.reach(tile) if rows.packed else rows.left + rows.right
    sums = pitch(((segment - 1) * columns.step + taps) * inner + lanes, 3)
    ring = pitch(packed * inner, 2) if rows.packed or rows.ends else VECTORS * lanes
    if columns.step == 1:
        return _Pitches(sums, ring, 0)
    phase = pitch(columns.entries(tile if rows.dense else segment) * inner, 1)
    whole = pitch(phase * max(columns.count, min(columns.step, MOST_SHUFFLED)), 3)
    return _Pitches(sums, max(ring, whole), phase) if rows.dense else _Pitches(max(sums, whole), ring, phase)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where the kernels find their rows."""

    packed: bool
    """Whether rows are packed first, extended beyond the edges."""
    dense: bool
    """Whether vertical sums go straight to the output: weights without structure, or taps down the rows only."""
    beyond: bool
    """Whether rows beyond a constant boundary are read in place."""
    single: bool
    """Whether rows are summed one by one, near such a boundary or because there are few."""
    inside_first: int
    """First output column whose window lies in the array, for dense sums."""
    inside_last: int
    """First one behind those."""
    left: int
    """Packed columns that the output columns before them read."""
    right: int
    """And those behind."""

    @property
    def ends(self) -> bool:
        """Whether the ends of rows are packed."""
        return self.dense and not self.packed and self.left + self.right > 0

    @property
    def buffered(self) -> bool:
        """Whether some vertical sums go to row buffers."""
        return not self.dense or self.single


def _find_rows(p: PassRequest) -> _Rows:
    """Which rows are read from the array, and which are packed."""
    down, along, inner, item = p.planes.rows, p.planes.columns, p.planes.inner, p.compute.itemsize
    window, width = plain_window(along), along.size_in * inner
    split = window.step > 1
    first = min(max(-window.first, 0), along.size_out)
    last = max(first, min(along.size_in - window.taps + 1 - window.first, along.size_out))
    left, right = (n + window.taps - 1 if n else 0 for n in (first, along.size_out - last))
    beyond = p.missing or plain_window(down).boundary == Boundary.CONSTANT
    packed = along.stride_in != inner or width < VECTORS * VECTOR_BYTES // item
    packed = packed or not np.isfinite(p.program.weights).all()
    dense = not p.program.separable or (window.taps == 1 and not packed and not split)
    if not p.program.separable:
        rows = phases_of(plain_window(down)).reach(ROWS)
        ways = rows_in_a_set(rows, down.stride_in * p.storage_in.dtype.itemsize, window.taps * item)
        short = width * item < LEAST_ROW_BYTES or 4 * (left + right) > along.size_out
        short = short or width < (window.taps - 1) * inner + VECTORS * VECTOR_BYTES // item
        packed = packed or beyond or short or ways > MOST_WAYS or split
    if packed:
        first = last = along.size_out
    beyond = beyond and not packed
    single = beyond or (not packed and not dense and down.size_out < ROWS)
    return _Rows(packed, dense, beyond, single, first, last, left, right)


def _buffered(program: Program, taps: int) -> Program:
    """The program with row windows that fit ROWS, and each column offset in one place.

    A term's taps along the columns are applied to the row buffers; only weights without structure, in several columns,
    keep theirs among the runs.
    """
    runs, lines = program.runs.copy(), program.lines.copy()
    if program.separable:
        runs[:, g.RUN_SHIFT] = 0
    else:
        lines[:, g.RUN_SHIFT] = 0
    source, row = np.divmod(runs[:, g.RUN_ROW], taps + STEP_ROWS - 1)
    runs[:, g.RUN_ROW] = source * (taps + ROWS - 1) + row
    return replace(program, runs=runs, lines=lines)


def _seen(constants: Array, views: int) -> Array:
    """Boundary values as a pass sees them."""
    seen = constants.copy()
    half = len(seen) // 2 if views == BOTH else len(seen)
    if views in (VALUES, BOTH):
        seen[:half, 1:] = view_twin(seen[:half, 1:], VALUES)
    if views == PRESENCE:
        seen[:, 1:] = view_twin(seen[:, 1:], PRESENCE)
    if views == BOTH:
        seen[half:, 1:] = view_twin(seen[half:, 1:], PRESENCE)
    return seen


def _outside_sums(program: Program, constants: Array, window: int) -> Array:
    """What each term's vertical pass sums up where all rows are the boundary value."""
    period = constants.shape[1] - 1
    sums = np.zeros((len(program.terms), period), constants.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        for term, total in zip(program.terms, sums, strict=True):
            for run in program.runs[term[g.FIRST_RUN] : term[g.RUN_STOP]]:
                value = constants[run[g.RUN_ROW] // window, 1:]
                for weight in program.weights[run[g.RUN_WEIGHTS] :][: run[g.RUN_LENGTH]]:
                    total[:] = [_fused(weight, v, t) for v, t in zip(value, total, strict=True)]
    return sums.reshape(-1)


def _fused(weight: Any, value: Any, total: Any) -> Any:
    """``weight * value + total`` as the kernels round it: once, where the processor can."""
    plain = weight * value + total
    if PLAIN or not FUSES or not value or not np.isfinite(plain):
        return plain
    exact = Fraction(float(weight)) * Fraction(float(value)) + Fraction(float(total))
    near = float(exact)
    rounded = Fraction(near)
    if (
        plain.itemsize == 4 and rounded != exact
    ):  # towards the odd one of both neighbours: rounding again does no harm
        bits = np.array(near).view(np.int64)
        bits -= abs(rounded) > abs(exact)
        bits |= 1
        near = float(bits.view(np.float64))
    return plain.dtype.type(near)


def _edge_table(planes: Planes) -> Array:
    """The column that each column beyond the edges repeats, those on the left first; OUTSIDE for the boundary value."""
    window, size = plain_window(planes.columns), planes.columns.size_in
    stop = window.first + window.reach
    beyond = [*range(min(window.first, 0), 0), *range(size, max(stop, size))]
    return np.array([source_index(i, size, int(window.boundary)) for i in beyond], np.int64)


def _segment(tile: int, taps: int, inner: int, n_terms: int, item: int, step: int) -> int:
    """Columns computed at a time: row buffers of half a first-level cache, far more than the halo between passes."""
    wanted = -(-buffer_columns(ROWS, n_terms, item, inner, taps) // step)
    return tile if tile <= wanted + wanted // 2 else round_up(wanted, 64)

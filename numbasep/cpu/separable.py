"""Prepares separable passes: packed rows, tiles, tables, layout of the workspace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import config

from ..arguments.boundary import source_index
from ..lowering.access import STRIPE_BYTES, RowAccess, buffer_columns, row_access
from ..lowering.target import LINE_VECTORS, STEP_ROWS, VECTORS
from ..lowering.task import Task
from .intrinsics.vectors import FUSES, TARGET, VECTOR_BYTES
from .kernels import separable as kernels
from .kernels import table_entries as g
from .kernels.horizontal import LINE_ROWS
from .kernels.nan_aware import BOTH, PRESENCE, VALUES, view_reference
from .kernels.polyphase import MOST_SHUFFLED
from .kernels.vertical import ROWS
from .pass_request import FETCH_BYTES, PassRequest, divide, finish
from .plane_pass import PlanePass
from .polyphase import Phases, by_phase, phases_of
from .tap_tables import TapTables
from .tiles import round_up, skew

Array = npt.NDArray[Any]

LEAST_GATHERED, MOST_GATHERED = 2048, 64 << 10  # bytes of a stripe whose finished rows are gathered
MOST_BLOCKS = 4  # most blocks of ROWS rows in a stripe
PLAIN = bool(config.DISABLE_JIT)  # whether kernels run in NumPy, which rounds products


def prepare_separable(p: PassRequest) -> PlanePass:
    """Prepare a pass of `cpu.kernels.separable`."""
    task, sources = p.task, p.task.sources
    down, along, inner, window, item = (
        task.planes.rows,
        task.planes.columns,
        task.inner,
        task.along,
        task.item,
    )
    by_rows, by_columns = phases_of(task.down), phases_of(window)
    # weights beyond the range of float32 become infinite and must not be multiplied by the zeros of a buffer
    rows = row_access(task, TARGET, packed=not np.isfinite(p.program.weights).all())
    height = _height(task, rows, len(p.program.terms))
    program = _buffered(p.program, task.down.taps, height, separable=task.separable)
    lanes, n_terms, split = VECTOR_BYTES // item, len(program.terms), window.step > 1
    constants = (p.constants if rows.packed else _seen(p.constants, p.views)).astype(p.compute)
    window_rows, table_rows = by_rows.reach(height) * sources, by_rows.count * by_rows.entries(height)
    kept = window_rows * (item if rows.packed else p.storage_in.dtype.itemsize)
    parts = divide(p, kept * window.step, height)
    buffer_taps = window.taps if task.separable else 1
    segment = _segment(parts.tile, buffer_taps, inner, n_terms, item, window.step)
    finished = p.streamed and parts.tiles == 1 and _adjoin(task, height)
    block = max(LINE_VECTORS, VECTORS) * lanes
    pitches = _pitches(rows, by_columns, parts.tile, segment, buffer_taps, inner, lanes)
    if task.strided:
        program = by_phase(program, by_rows, by_columns, height, inner, pitches.phase)
    places, at = {}, block
    for name, size in {
        g.SUMS: n_terms * height * pitches.sums * rows.buffered,
        g.ENDS: height * pitches.sums * (rows.buffered and not rows.packed),
        g.CONSTANT_ROWS: sources * pitches.ring * rows.beyond,
        g.RING: window_rows * pitches.ring * (rows.packed or rows.ends),
        g.UNSPLIT: (pitches.ring if rows.dense else height * pitches.sums) * split,
        g.FINISHED: height * task.width * finished,
    }.items():
        places[name] = at if size else 0
        at += round_up(size, lanes)
    width = along.size_in * inner
    last = width - VECTORS * lanes - (0 if task.separable else task.span)
    fetched = (
        task.count * down.size_in * width * p.storage_in.dtype.itemsize >= FETCH_BYTES and not rows.packed
    )
    entries = {
        g.SEGMENT: segment, g.SUMS_STRIDE: pitches.sums, g.TERM_STRIDE: height * pitches.sums,
        g.RING_STRIDE: pitches.ring, g.RING_WINDOW: by_rows.reach(height), g.WINDOW: table_rows,
        g.PHASE_ROWS: by_rows.entries(height), g.PHASE_STRIDE: pitches.phase, g.SPLIT_TAPS: window.taps,
        g.STRIPE_ROWS: height, g.COLUMN_TAPS: buffer_taps, g.PACKED: window.taps if rows.packed else 0,
        g.LAST_BLOCK: last, g.FINISHED_BYTES: item, g.TABLES: 2 * table_rows * sources,
        g.LEFT_ENDS: rows.left, g.RIGHT_ENDS: rows.right,
        g.INSIDE_FIRST: rows.inside_first, g.INSIDE_LAST: rows.inside_last, g.EDGE_LAST: max(0, -window.first),
        g.FETCHED: p.storage_in.dtype.itemsize if fetched and not (task.strided and rows.dense) else 0,
        g.STREAM: item * (p.streamed and not finished and down.stride_out * item % VECTOR_BYTES == 0), **places,
    }  # fmt: skip
    addresses = kernels.kernel_addresses(
        p.compute, p.storage_in, p.storage_out, packed=rows.packed, single_rows=rows.single, view=p.views,
        share=program.share_term > 0, dense=rows.dense, ends=rows.ends, split=split,
        fetching=fetched and task.strided, finished=finished,
    )  # fmt: skip
    return finish(
        p, addresses, program, parts, entries, at + 2 * block, edges=_edge_table(task), constants=constants,
        outside=_outside_sums(program, constants, table_rows),
        block=max(LINE_ROWS * LINE_VECTORS, ROWS * VECTORS) * lanes,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pitches:
    """Row strides in the workspace, in elements."""

    sums: int
    """Row stride of row buffers."""
    ring: int
    """Row stride of packed rows."""
    phase: int
    """Stride of the phases of a row; 0 without polyphase decomposition."""


def _pitches(
    rows: RowAccess, columns: Phases, tile: int, segment: int, taps: int, inner: int, lanes: int
) -> _Pitches:
    """Return the pitches for row buffers of `segment` columns and `taps` taps, and packed rows of `tile` columns."""
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


def _height(task: Task, access: RowAccess, n_terms: int) -> int:
    """Return the number of rows of a stripe; several blocks of short rows share the overhead of a stripe."""
    if access.packed or access.dense or access.single or task.strided:
        return ROWS
    block = ROWS * (task.width + task.span) * n_terms * task.item
    return ROWS * max(1, min(MOST_BLOCKS, STRIPE_BYTES // block, -(-task.rows // ROWS)))


def _adjoin(task: Task, height: int) -> bool:
    """Return whether the rows of an output stripe are adjacent in memory and of a size that is worth gathering."""
    row, most = (
        task.width * task.item,
        MOST_GATHERED if task.width * task.item % VECTOR_BYTES else STRIPE_BYTES,
    )
    together = LEAST_GATHERED <= min(height, task.rows) * row <= most
    return together and task.planes.rows.stride_out == task.width


def _buffered(program: TapTables, taps: int, height: int, *, separable: bool) -> TapTables:
    """Return the program for stripes of `height` rows, with the column offsets of taps in either lines or runs.

    Separable terms have them in lines, which are applied to the row buffers; dense weights have them in runs.
    """
    runs, lines = program.runs.copy(), program.lines.copy()
    if separable:
        runs[:, g.RUN_SHIFT] = 0
    else:
        lines[:, g.RUN_SHIFT] = 0
    source, row = np.divmod(runs[:, g.RUN_ROW], taps + STEP_ROWS - 1)
    runs[:, g.RUN_ROW] = source * (taps + height - 1) + row
    return replace(program, runs=runs, lines=lines)


def _seen(constants: Array, views: int) -> Array:
    """Return the boundary values in the input mode `views`."""
    seen = constants.copy()
    half = len(seen) // 2 if views == BOTH else len(seen)
    if views in (VALUES, BOTH):
        seen[:half, 1:] = view_reference(seen[:half, 1:], VALUES)
    if views == PRESENCE:
        seen[:, 1:] = view_reference(seen[:, 1:], PRESENCE)
    if views == BOTH:
        seen[half:, 1:] = view_reference(seen[half:, 1:], PRESENCE)
    return seen


def _outside_sums(program: TapTables, constants: Array, window: int) -> Array:
    """Return the vertical sums of each term where all rows have the boundary value."""
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
    """Return ``weight * value + total`` as rounded by the kernels, once if the processor has FMA instructions."""
    plain = weight * value + total
    if PLAIN or not FUSES or not value or not np.isfinite(plain):
        return plain
    exact = Fraction(float(weight)) * Fraction(float(value)) + Fraction(float(total))
    near = float(exact)
    rounded = Fraction(near)
    if (
        plain.itemsize == 4 and rounded != exact
    ):  # round to odd, so that the second rounding gives the correctly rounded result
        bits = np.array(near).view(np.int64)
        bits -= abs(rounded) > abs(exact)
        bits |= 1
        near = float(bits.view(np.float64))
    return plain.dtype.type(near)


def _edge_table(task: Task) -> Array:
    """Return the column that each column beyond the edges copies, or OUTSIDE, for the left edge first."""
    window, size = task.along, task.planes.columns.size_in
    stop = window.first + window.reach
    beyond = [*range(min(window.first, 0), 0), *range(size, max(stop, size))]
    return np.array([source_index(i, size, int(window.boundary)) for i in beyond], np.int64)


def _segment(tile: int, taps: int, inner: int, n_terms: int, item: int, step: int) -> int:
    """Return the columns computed at a time: row buffers fit the second-level cache and far exceed the halo."""
    wanted = -(-buffer_columns(ROWS, n_terms, item, inner, taps) // step)
    return tile if tile <= wanted + wanted // 2 else round_up(wanted, 64)

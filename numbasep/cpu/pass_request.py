"""Preparation common to all kinds of passes: division into tasks, tables, and the prepared call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..lowering.counts import Blocking
from ..lowering.task import Task
from ..system.caching import cached_property
from . import threads
from .intrinsics.memory import Storage
from .intrinsics.vectors import LINE_BYTES
from .kernels import table_entries as g
from .outer_axes import OuterAxis, pack_outer
from .plane_pass import SPARE_BYTES, PlanePass, storage_of
from .tap_tables import TapTables
from .tiles import round_up, strip_rows, tile_columns

Array = npt.NDArray[Any]

STREAM_BYTES = 8 << 20  # outputs of at least this size use non-temporal stores
FETCH_BYTES = 1 << 20  # inputs of at least this size are prefetched
BATCH_WORK = 1 << 31  # element operations per thread, less than a second, between checks for signals (Ctrl-C)


@dataclass(frozen=True, eq=False)
class PassRequest:
    """A pass of a plan with the tables for a memory layout."""

    task: Task
    """Planes and windows of the pass."""
    blocking: Blocking
    """Blocking of the kernel."""
    program: TapTables
    """Tables of the taps."""
    storage_in: Storage
    """Storage type of the input."""
    storage_out: Storage
    """Storage type of the output."""
    compute: np.dtype[Any]
    """Type of the sums, float32 or float64."""
    views: int
    """Input mode: values, validity or both (`cpu.kernels.nan_aware`)."""
    tables: Sequence[OuterAxis]
    """Outer axes, followed by those of stacked intermediates."""
    outer_taps: Array
    """(sources, outer axes): tap of each source along each outer axis."""
    constants: Array
    """(sources, 1 + period): divisor and boundary value of each source."""
    normal: Sequence[float]
    """Constants of the normalisation of NaN-aware convolutions; empty otherwise."""
    workers: int | None
    """Requested number of threads, or None."""

    @property
    def converted(self) -> bool:
        """Whether results are converted when they are stored."""
        return self.storage_out != storage_of(self.compute)

    @property
    def stored(self) -> bool:
        """Whether finished rows need a separate store, since they are converted or scattered."""
        return self.task.planes.columns.stride_out != self.task.inner or self.converted

    def window_rows(self, step: int) -> int:
        """Return the number of rows of all sources that `step` output rows read."""
        return (self.task.down.taps + step - 1) * self.task.sources

    @property
    def streamed(self) -> bool:
        """Whether output rows use non-temporal stores: large, contiguous and not converted.

        This is faster even if the next pass reads the output: writing 8 distant rows at once takes longer than reading.
        """
        return self.task.numbers * self.task.item >= STREAM_BYTES and not self.stored

    @cached_property
    def work(self) -> int:
        """Element operations per column; with a stride, separable terms sum rows at the skipped columns, too."""
        program, left_out = self.program, self.task.along.step - 1
        further = program.weights.size * left_out if left_out and self.task.separable else 0
        return self.task.inner * (program.operations + further + 4)

    @cached_property
    def missing(self) -> bool:
        """Whether some input planes are beyond a constant boundary."""
        return any((table.offsets_in == g.OUTSIDE_PLANE).any() for table in self.tables)


@dataclass(frozen=True, slots=True)
class Tasks:
    """Division of the output into tasks."""

    tile: int
    """Columns per task."""
    tiles: int
    """Number of tasks along the columns."""
    strip: int
    """Rows per task."""
    strips: int
    """Number of tasks along the rows."""
    threads: int
    """Number of threads that share the tasks."""


def divide(p: PassRequest, kept: int, step: int) -> Tasks:
    """Divide the output into tiles whose rows fit the cache, and these into strips for all threads.

    `kept` is the bytes in cache per column of a tile; rows are computed `step` at a time.  Long tasks are divided so
    that signals are handled in time.
    """
    task, period = p.task, p.constants.shape[1] - 1
    down, along, inner, count = task.planes.rows, task.planes.columns, task.inner, task.count
    tile = tile_columns(along.size_out, task.along.taps, inner, kept, period)
    tile = min(tile, round_up(BATCH_WORK // (step * p.work) + 1, 64 * period))
    tiles = max(1, -(-along.size_out // tile))
    thread_count = threads.thread_count(p.workers) if p.blocking.shared else 1
    strip = strip_rows(down.size_out, task.down.taps, thread_count, count * tiles, step)
    strip = min(strip, round_up(BATCH_WORK // (tile * p.work) + 1, step))
    return Tasks(tile, tiles, strip, max(1, -(-down.size_out // strip)), thread_count)


def finish(
    p: PassRequest,
    kernels: tuple[Any, Any],
    program: TapTables,
    parts: Tasks,
    entries: dict[int, int],
    work_elements: int,
    *,
    edges: Array,
    constants: Array,
    outside: Array | None = None,
    block: int = 0,
) -> PlanePass:
    """Make the prepared pass from the kernel's entries of the geometry, tables and workspace.

    `block` is the maximum of elements that are stored at a time before they are scattered.
    """
    inner = p.task.inner
    gather = max(1, 512 // inner)
    geometry = np.zeros(g.GEOMETRY, np.int64)
    for name, value in {
        **sizes(p.task), g.VIEWS: p.views, g.SOURCES: p.task.sources, g.OUTER_AXES: len(p.tables), g.GATHER: gather,
        g.STRIP: parts.strip, g.STRIPS: parts.strips, g.TILE: parts.tile, g.TILES: parts.tiles,
        g.SHARE_TERM: program.share_term, g.STREAM: p.compute.itemsize * p.streamed, **entries,
    }.items():  # fmt: skip
        geometry[name] = value
    tasks = p.task.count * parts.strips * parts.tiles
    work_bytes = round_up(work_elements * p.compute.itemsize, LINE_BYTES)
    # a task alone that several threads could not share; with one thread, another call may have more
    alone = not p.blocking.shared or (tasks == 1 and parts.threads > 1)
    batch = parts.threads * max(1, BATCH_WORK // (parts.strip * parts.tile * p.work))
    return PlanePass(
        kernels=kernels,
        program=program,
        geometry=geometry,
        outer=pack_outer(p.tables),
        outer_taps=p.outer_taps,
        edges=edges,
        constants=constants.astype(p.compute),
        normal=np.array(p.normal, p.compute),
        outside=np.zeros(0, p.compute) if outside is None else outside,
        tasks=tasks,
        batch=batch,
        threads=min(parts.threads, tasks) or 1,
        small=alone and tasks <= batch and work_bytes <= SPARE_BYTES,
        raw_in=gather * inner * p.storage_in.dtype.itemsize,
        raw_out=max(gather * inner, block) * p.storage_out.dtype.itemsize,
        work_bytes=work_bytes,
        table_bytes=round_up(8 * int(geometry[g.TABLES]), LINE_BYTES),
        spare=[],
    )


def sizes(task: Task) -> dict[int, int]:
    """Return the entries of the geometry that describe the arrays and windows."""
    rows, columns, row_window, column_window = task.planes.rows, task.planes.columns, task.down, task.along
    return {
        g.ROWS_IN: rows.size_in, g.ROWS_OUT: rows.size_out, g.ROW_FIRST: row_window.first,
        g.ROW_TAPS: row_window.taps, g.ROW_BOUNDARY: int(row_window.boundary),
        g.ROW_STRIDE_IN: rows.stride_in, g.ROW_STRIDE_OUT: rows.stride_out,
        g.COLUMNS_IN: columns.size_in, g.COLUMNS_OUT: columns.size_out, g.COLUMN_FIRST: column_window.first,
        g.COLUMN_TAPS: column_window.taps, g.COLUMN_BOUNDARY: int(column_window.boundary),
        g.COLUMN_STRIDE_IN: columns.stride_in, g.COLUMN_STRIDE_OUT: columns.stride_out, g.INNER: task.inner,
        g.ROW_STEP: row_window.step, g.COLUMN_STEP: column_window.step,
    }  # fmt: skip

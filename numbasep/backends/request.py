"""One pass as it is asked for, and what every way to run it decides alike: tasks, tables, and the prepared pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cost import PARALLEL_WORK
from ..kernels import geometry as g
from ..kernels.dense_words import DENSE_ROWS, FEW_ROWS, FEW_TAPS
from ..kernels.memory import Storage
from ..kernels.simd import LINE_BYTES, VECTOR_BYTES
from ..kernels.valid import AS_STORED
from ..lowering.layout import Planes, plain_window
from ..passes import WRITTEN_OUT, few_weights, pays_as_boxes, vertical_sums_pay
from . import threads
from .outer import OuterAxis, pack_outer
from .planes import SPARE_BYTES, PlanePass, storage_of
from .program import Program, fold_columns
from .tiles import round_up, strip_rows, tile_columns

Array = npt.NDArray[Any]

STREAM_BYTES = 8 << 20  # outputs from here on are written past the caches
FETCH_BYTES = 1 << 20  # inputs from here on are fetched ahead
BATCH_WORK = 1 << 31  # element operations of a thread, under a second, between two looks for signals (Ctrl-C)


@dataclass(frozen=True, eq=False)
class PassRequest:
    """What one pass computes, on which layout, before it is decided how."""

    planes: Planes
    """Roles of the axes."""
    program: Program
    """What to compute in a plane."""
    count: int
    """Planes of output."""
    sources: int
    """Input planes of each."""
    storage_in: Storage
    """How the input lies in memory."""
    storage_out: Storage
    """And the output."""
    compute: np.dtype[Any]
    """float32 or float64."""
    views: int
    """How the input is seen (`kernels.valid`)."""
    tables: Sequence[OuterAxis]
    """Outer axes, those of stacked intermediates last."""
    outer_taps: Array
    """(sources, outer axes): which tap of each outer axis a source is."""
    constants: Array
    """(sources, 1 + period): divisor and boundary value."""
    normal: Sequence[float]
    """What a normalised convolution divides by."""
    workers: int | None
    """Threads wished for."""
    read_next: bool
    """Whether the output is an intermediate that the next pass reads."""

    @property
    def strided(self) -> bool:
        """Whether rows or columns are left out."""
        return plain_window(self.planes.rows).step > 1 or plain_window(self.planes.columns).step > 1

    @property
    def elements(self) -> int:
        """Of the output."""
        return self.count * self.planes.rows.size_out * self.planes.columns.size_out * self.planes.inner

    @cached_property
    def dense(self) -> bool:
        """Whether the kernels of `kernels.dense` run it."""
        columns, item = self.planes.columns, self.compute.itemsize
        row_bytes, span = columns.size_out * self.planes.inner * item, plain_window(columns).taps - 1
        plain = self.compute == np.float32 and self.storage_in == self.storage_out == storage_of(self.compute)
        few = few_weights(
            self.program.weights.size, plain_window(self.planes.rows).taps, self.planes.rows.stride_in * item,
            span * self.planes.inner * item, DENSE_ROWS, plain=plain,
        )  # fmt: skip
        regular = columns.stride_in == self.planes.inner
        regular = regular and not vertical_sums_pay(row_bytes, VECTOR_BYTES, few=few)
        fitting = self.program.dense and self.views == AS_STORED and not self.strided
        return fitting and (regular or VECTOR_BYTES == 64)

    @cached_property
    def executed(self) -> Program:
        """The tables that kernels walk; few taps written out are faster than folded."""
        span = (plain_window(self.planes.columns).taps - 1) * self.planes.inner
        fold = self.dense and not 0 < self._columns <= FEW_TAPS
        return fold_columns(self.program, span) if fold else self.program

    @cached_property
    def _columns(self) -> int:
        """The taps of each column of a dense kernel, all alike; 0 where loops over them are not written out."""
        regular = self.dense and self.sources == 1 and self.elements >= WRITTEN_OUT
        return self.program.columns(self.planes.inner) if regular else 0

    @property
    def boxed(self) -> bool:
        """Whether equal taps are summed as boxes (`kernels.boxes`)."""
        numbers = self.planes.rows.size_out * self.planes.columns.size_out * self.planes.inner
        pays = pays_as_boxes(plain_window(self.planes.rows).taps, numbers)
        return self.program.boxes and pays and not self.strided

    @property
    def written_out(self) -> int:
        """For `kernels.sweeps.dense_sweep`: the taps of each column, or 0."""
        return 0 if self.executed.fold else self._columns

    @property
    def height(self) -> int:
        """Rows of output that a dense kernel computes at a time."""
        return FEW_ROWS if 0 < self.written_out <= FEW_TAPS else DENSE_ROWS

    @property
    def converted(self) -> bool:
        """Whether results are stored as other numbers than they are computed in."""
        return self.storage_out != storage_of(self.compute)

    @property
    def stored(self) -> bool:
        """Whether finished rows are no vectors of the output yet: converted, or scattered."""
        return self.planes.columns.stride_out != self.planes.inner or self.converted

    def window_rows(self, step: int) -> int:
        """Rows that `step` output rows read, of all sources."""
        return (plain_window(self.planes.rows).taps + step - 1) * self.sources

    @property
    def streamed(self) -> bool:
        """Whether rows of the output are written past the caches: large, adjacent, as computed, not read again."""
        return (
            self.elements * self.compute.itemsize >= STREAM_BYTES and not self.stored and not self.read_next
        )

    @cached_property
    def work(self) -> int:
        """Element operations of a column: separable terms sum rows at all columns, also those that are left out."""
        program, left_out = self.program, plain_window(self.planes.columns).step - 1
        further = program.weights.size * left_out if left_out and program.separable else 0
        return self.planes.inner * (program.operations + further + 4)

    @cached_property
    def missing(self) -> bool:
        """Whether planes of the input lie beyond a constant boundary."""
        return any((table.offsets_in == g.OUTSIDE_PLANE).any() for table in self.tables)


@dataclass(frozen=True, slots=True)
class Tasks:
    """How the output is divided."""

    tile: int
    """Columns of a task."""
    tiles: int
    """Tasks along the columns."""
    strip: int
    """Rows of a task."""
    strips: int
    """Tasks along the rows."""
    threads: int
    """Threads that share them, if there are as many."""
    serial: bool
    """Whether there is too little to do for several."""


def divide(p: PassRequest, kept: int, step: int) -> Tasks:
    """Tiles whose rows stay in cache, and strips of them for all threads; no task takes long.

    `kept` bytes are needed for each column of a tile; rows are computed `step` at a time.
    """
    down, along, inner, period = p.planes.rows, p.planes.columns, p.planes.inner, p.constants.shape[1] - 1
    tile = tile_columns(along.size_out, plain_window(along).taps, inner, kept, period)
    tile = min(tile, round_up(BATCH_WORK // (step * p.work) + 1, 64 * period))
    tiles = max(1, -(-along.size_out // tile))
    serial = p.count * down.size_out * along.size_out * p.work < PARALLEL_WORK
    count = 1 if serial else threads.thread_count(p.workers)
    strip = strip_rows(down.size_out, plain_window(down).taps, count, p.count * tiles, step)
    strip = min(strip, round_up(BATCH_WORK // (tile * p.work) + 1, step))
    return Tasks(tile, tiles, strip, max(1, -(-down.size_out // strip)), count, serial)


def finish(
    p: PassRequest,
    kernels: tuple[Any, Any],
    program: Program,
    parts: Tasks,
    entries: dict[int, int],
    work_elements: int,
    *,
    edges: Array,
    constants: Array,
    outside: Array | None = None,
    block: int = 0,
) -> PlanePass:
    """The prepared pass, from what a way to run it has decided: entries of the geometry, tables, workspace.

    `block` is the most elements that are stored at a time before they are scattered.
    """
    inner = p.planes.inner
    gather = max(1, 512 // inner)
    geometry = np.zeros(g.GEOMETRY, np.int64)
    for name, value in {
        **sizes(p.planes), g.VIEWS: p.views, g.SOURCES: p.sources, g.OUTER_AXES: len(p.tables), g.GATHER: gather,
        g.STRIP: parts.strip, g.STRIPS: parts.strips, g.TILE: parts.tile, g.TILES: parts.tiles,
        g.SHARE_TERM: program.share_term, g.STREAM: p.compute.itemsize * p.streamed, **entries,
    }.items():  # fmt: skip
        geometry[name] = value
    tasks = p.count * parts.strips * parts.tiles
    work_bytes = round_up(work_elements * p.compute.itemsize, LINE_BYTES)
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
        small=parts.serial and tasks <= batch and work_bytes <= SPARE_BYTES,
        raw_in=gather * inner * p.storage_in.dtype.itemsize,
        raw_out=max(gather * inner, block) * p.storage_out.dtype.itemsize,
        work_bytes=work_bytes,
        table_bytes=round_up(8 * int(geometry[g.TABLES]), LINE_BYTES),
        spare=[],
    )


def sizes(planes: Planes) -> dict[int, int]:
    """The entries of the geometry that say what the arrays and the windows are."""
    rows, columns = planes.rows, planes.columns
    row_window, column_window = plain_window(rows), plain_window(columns)
    return {
        g.ROWS_IN: rows.size_in, g.ROWS_OUT: rows.size_out, g.ROW_FIRST: row_window.first,
        g.ROW_TAPS: row_window.taps, g.ROW_BOUNDARY: int(row_window.boundary),
        g.ROW_STRIDE_IN: rows.stride_in, g.ROW_STRIDE_OUT: rows.stride_out,
        g.COLUMNS_IN: columns.size_in, g.COLUMNS_OUT: columns.size_out, g.COLUMN_FIRST: column_window.first,
        g.COLUMN_TAPS: column_window.taps, g.COLUMN_BOUNDARY: int(column_window.boundary),
        g.COLUMN_STRIDE_IN: columns.stride_in, g.COLUMN_STRIDE_OUT: columns.stride_out, g.INNER: planes.inner,
        g.ROW_STEP: row_window.step, g.COLUMN_STEP: column_window.step,
    }  # fmt: skip

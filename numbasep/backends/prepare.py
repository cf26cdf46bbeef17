"""What a pass is prepared to: which kernels run it, on which rows, in which tiles and tables; nothing runs here."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..boundary import Boundary
from ..cost import PARALLEL_WORK
from ..kernels import dense
from ..kernels import geometry as g
from ..kernels import plane as drivers
from ..kernels.dense_words import DENSE_ROWS, FEW_ROWS, FEW_TAPS
from ..kernels.memory import Storage
from ..kernels.simd import STEP_ROWS, VECTOR_BYTES
from ..kernels.valid import AS_STORED
from ..passes import WRITTEN_OUT, pays_as_boxes
from . import threads
from .edges import Edges, Ends, dense_ends, direct_edges
from .layout import OuterAxis, Planes, outer_table, plain_window
from .planes import SPARE_BYTES, PlanePass, storage_of
from .program import Program, fold_columns
from .tiles import dense_workspace, round_up, strip_rows, tile_columns, workspace

Array = npt.NDArray[Any]

STREAM_BYTES = 8 << 20  # outputs from here on are written past the caches
RING_STEPS = 3  # further steps of packed rows of a dense pass, before rows are moved to the start
FETCH_BYTES = 1 << 20  # inputs from here on are fetched ahead of dense passes
BATCH_WORK = 1 << 31  # element operations of a thread, under a second, between two looks for signals (Ctrl-C)


@dataclass(frozen=True, eq=False)
class _Pass:
    """What is asked for."""

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

    @property
    def elements(self) -> int:
        """Of the output."""
        return self.count * self.planes.rows.size_out * self.planes.columns.size_out * self.planes.inner

    @cached_property
    def dense(self) -> bool:
        """Whether the kernels of `kernels.dense` run it."""
        return self.program.dense and self.views == AS_STORED

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
        return self.program.boxes and pays_as_boxes(plain_window(self.planes.rows).taps, numbers)

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

    @property
    def window_rows(self) -> int:
        """Rows that the output rows of a step read."""
        return plain_window(self.planes.rows).taps + STEP_ROWS - 1

    @cached_property
    def work(self) -> int:
        """Element operations of a column."""
        return self.planes.inner * (self.program.operations + 4)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Where kernels find their rows."""

    edges: Edges | None
    """In the array, for separable terms: where they find columns beyond its edges."""
    ends: Ends | None
    """The same for dense kernels."""
    packed: bool
    """Whether some rows are packed first."""


@dataclass(frozen=True, slots=True)
class _Tasks:
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


def prepare_pass(
    planes: Planes,
    sources: Sequence[tuple[int, ...]],
    source_tables: Sequence[OuterAxis],
    program: Program,
    *,
    origins: tuple[int, int],
    dtype_in: np.dtype[Any],
    dtype_out: np.dtype[Any],
    compute: np.dtype[Any],
    constants: Array,
    cast: str,
    workers: int | None,
    views: int = AS_STORED,
    normal: Sequence[float] = (),
    read_next: bool = False,
) -> PlanePass:
    """Choose tiles, strips and threads for one program on one layout.

    Parameters
    ----------
    planes : Planes
        Roles of the axes.
    sources : sequence of tuple of int
        For each input plane of an output plane, its tap along every outer axis.
    source_tables : sequence of OuterAxis
        Outer axes that exist only in the input (stacked intermediates); their taps come last in `sources`.
    program : Program
        What to compute in a plane.
    origins : tuple of int
        Element offsets of position 0 in the flat input and output.
    dtype_in, dtype_out, compute : numpy.dtype
        Array types (not storage types), and float32 or float64.
    constants : (sources, 1 + period) array
        Divisor and boundary value of each source.
    cast : str
        "truncate" or "saturate".
    workers : int or None
        Threads wished for.
    views : int, optional
        How the input is seen (`kernels.valid`).
    normal : sequence of float, optional
        What a normalised convolution divides by: sum of the weights, least share that counts, rounding of the share.
    read_next : bool, optional
        Whether the output is an intermediate that the next pass reads.
    """
    tables = [outer_table(axis) for axis in planes.outer]
    tables.append(OuterAxis(np.array([[origins[0]]]), np.array([origins[1]])))
    tables += source_tables
    outer_taps = np.array(
        [(*taps[: len(planes.outer)], 0, *taps[len(planes.outer) :]) for taps in sources], np.int64
    )
    wanted = _Pass(
        planes, program, math.prod(table.offsets_out.size for table in tables), len(sources),
        storage_of(dtype_in), storage_of(dtype_out, cast), compute, views,
    )  # fmt: skip
    if not wanted.dense and not wanted.boxed and not os.environ.get("OLD"):
        from .separable import prepare_separable
        return prepare_separable(wanted, tables, outer_taps, origins, constants, workers, normal, read_next)
    missing = any((table.offsets_in == g.OUTSIDE_PLANE).any() for table in tables)
    rows = _find_rows(wanted, constants, missing=missing)
    program = wanted.executed
    parts = _divide(wanted, rows, constants.shape[1] - 1, workers)
    places, work_elements = _place(wanted, rows, parts.tile)
    gather = max(1, 512 // planes.inner)
    geometry = np.zeros(g.GEOMETRY, np.int64)
    for name, value in {
        **_sizes(planes), g.VIEWS: views, g.SOURCES: len(sources),
        g.STREAM: int(not read_next and _streams(wanted, rows)),
        g.STRIP: parts.strip, g.STRIPS: parts.strips, g.TILE: parts.tile, g.TILES: parts.tiles,
        g.OUTER_AXES: len(tables), g.GATHER: gather, g.SHARE_TERM: program.share_term,
        g.FOLD: program.fold,
        g.DIRECT: int(rows.edges is not None or rows.ends is not None), **places,
    }.items():  # fmt: skip
        geometry[name] = value
    tasks, beyond = wanted.count * parts.strips * parts.tiles, rows.edges or rows.ends
    work_bytes = round_up(work_elements * compute.itemsize, VECTOR_BYTES)
    batch = parts.threads * max(1, BATCH_WORK // (parts.strip * parts.tile * wanted.work))
    return PlanePass(
        kernels=_kernels(wanted, rows),
        program=program,
        geometry=geometry,
        outer=_pack_outer(tables),
        outer_taps=outer_taps,
        edges=beyond.table if beyond else np.zeros(0, np.int64),
        constants=constants.astype(compute),
        normal=np.array(normal, compute),
        outside=np.zeros(0, compute),
        tasks=tasks,
        batch=batch,
        threads=min(parts.threads, tasks) or 1,
        small=parts.serial and tasks <= batch and work_bytes <= SPARE_BYTES,
        raw_in=gather * planes.inner * wanted.storage_in.dtype.itemsize,
        raw_out=gather * planes.inner * wanted.storage_out.dtype.itemsize,
        work_bytes=work_bytes,
        table_bytes=round_up(8 * geometry[g.TABLES], VECTOR_BYTES),
        spare=[],
    )


def _find_rows(p: _Pass, constants: Array, *, missing: bool) -> _Rows:
    """Whether rows are read from the array; `missing` planes beyond a boundary, and rows, are packed."""
    edges: Edges | None = None
    ends: Ends | None = None
    if p.dense:
        ends = dense_ends(p.planes, p.storage_in, p.compute, p.height)
    elif not p.program.share_term or not p.converted:
        edges = direct_edges(p.planes, p.program, p.storage_in, p.compute, constants, p.views)
    beyond = plain_window(p.planes.rows).boundary == Boundary.CONSTANT or missing
    return _Rows(edges, ends, packed=beyond or (edges is None and ends is None))


def _spare_rows(p: _Pass, rows: _Rows) -> int:
    """Further packed rows of each source."""
    return RING_STEPS * STEP_ROWS if p.dense and not rows.ends else 0


def _divide(p: _Pass, rows: _Rows, period: int, workers: int | None) -> _Tasks:
    """Tiles whose rows stay in cache, and strips of them for all threads; no task takes long."""
    down, along, inner = p.planes.rows, p.planes.columns, p.planes.inner
    item, kept = p.compute.itemsize, p.storage_in.dtype.itemsize * p.window_rows * p.sources
    if rows.packed:
        kept = item * (p.window_rows * p.sources + 2 * STEP_ROWS)
    kept += item * _spare_rows(p, rows) * p.sources
    tile = tile_columns(along.size_out, plain_window(along).taps, inner, kept, period)
    tile = min(tile, round_up(BATCH_WORK // (STEP_ROWS * p.work) + 1, 64 * period))
    tiles = max(1, -(-along.size_out // tile))
    serial = p.count * down.size_out * along.size_out * p.work < PARALLEL_WORK
    count = 1 if serial else threads.thread_count(workers)
    step = p.height if p.dense else STEP_ROWS
    strip = strip_rows(down.size_out, plain_window(down).taps, count, p.count * tiles, step)
    strip = min(strip, round_up(BATCH_WORK // (tile * p.work) + 1, step))
    return _Tasks(tile, tiles, strip, max(1, -(-down.size_out // strip)), count, serial)


def _place(p: _Pass, rows: _Rows, tile: int) -> tuple[dict[int, int], int]:
    """Where everything stands in a thread's workspace, and its elements."""
    lanes, item_in = VECTOR_BYTES // p.compute.itemsize, p.storage_in.dtype.itemsize
    if not p.dense:
        ring_rows = p.window_rows * p.sources if rows.packed else 0
        return workspace(
            p.planes, p.program, tile, ring_rows, p.sources, lanes, rows.edges, item_in=item_in, packed=rows.packed
        )  # fmt: skip
    ring_rows = p.window_rows + _spare_rows(p, rows)
    places, elements = dense_workspace(
        p.planes, tile, ring_rows, p.sources, lanes, rows.ends, stored=p.stored
    )
    down, along, inner = p.planes.rows, p.planes.columns, p.planes.inner
    large = p.count * down.size_in * along.size_in * inner * item_in >= FETCH_BYTES
    places[g.STRIPE_ROWS] = p.height
    places[g.FETCHED] = item_in if large and along.stride_in == inner else 0
    return places, elements


def _kernels(p: _Pass, rows: _Rows) -> tuple[Any, Any]:
    """Addresses of what the drivers call."""
    if p.dense:
        return dense.kernel_addresses(
            p.compute,
            p.storage_in,
            p.storage_out,
            stored=p.stored,
            folded=p.executed.fold != 0,
            taps=p.written_out,
            height=p.height,
        )
    edges = rows.edges
    return drivers.kernel_addresses(
        p.compute, p.storage_in, p.storage_out, direct=edges is not None, packed=rows.packed, view=p.views,
        turned=edges is not None and not edges.short, boxes=rows.packed and p.program.boxes,
        share=p.program.share_term > 0, several=edges is not None and edges.several,
        square=_square(p) if edges is not None and edges.short else None,
    )  # fmt: skip


def _square(p: _Pass) -> tuple[int, int] | None:
    """For `kernels.sweeps`: how many taps there are along both axes, and the distance of those along the columns."""
    inner = p.planes.inner
    taps = p.program.square(inner) if p.elements >= WRITTEN_OUT else 0
    return (taps, inner) if taps else None


def _sizes(planes: Planes) -> dict[int, int]:
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
    }  # fmt: skip


def _streams(p: _Pass, rows: _Rows) -> bool:
    """Whether rows of the output are written past the caches: large, adjacent, stored as computed, not read again."""
    large = p.elements * p.compute.itemsize >= STREAM_BYTES
    return large and not p.stored and not (rows.edges and p.program.share_term)


def _pack_outer(tables: Sequence[OuterAxis]) -> Array:
    """Headers and offset tables of the outer axes in one array."""
    header = np.zeros((len(tables), g.OUTER_ENTRIES), np.int64)
    parts: list[Array] = [header.reshape(-1)]
    at = header.size
    for entry, table in zip(header, tables, strict=True):
        entry[g.OUTER_SIZE], entry[g.OUTER_TAPS] = table.offsets_out.size, table.offsets_in.shape[1]
        entry[g.OUTER_IN], entry[g.OUTER_OUT] = at, at + table.offsets_in.size
        parts += [table.offsets_in.reshape(-1), table.offsets_out]
        at += table.offsets_in.size + table.offsets_out.size
    return np.concatenate(parts)

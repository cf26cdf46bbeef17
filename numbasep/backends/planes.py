"""One pass of the plane driver: geometry, tiles and tables for a pair of arrays, and the call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..boundary import Boundary
from ..cost import PARALLEL_WORK
from ..kernels import dense
from ..kernels import geometry as g
from ..kernels import plane as drivers
from ..kernels.dense_words import DENSE_ROWS
from ..kernels.memory import Storage
from ..kernels.simd import STEP_ROWS, VECTOR_BYTES
from ..kernels.tables import make_block
from ..kernels.valid import AS_STORED
from . import threads
from .edges import dense_ends, direct_edges
from .layout import OuterAxis, Planes, outer_table, plain_window
from .program import Program
from .tiles import dense_workspace, round_up, strip_rows, tile_columns, workspace

Array = npt.NDArray[Any]

STREAM_BYTES = 8 << 20  # outputs from here on are written past the caches
RING_STEPS = 3  # further steps of packed rows of a dense pass, before rows are moved to the start
FETCH_BYTES = 1 << 20  # inputs from here on are fetched ahead of dense passes
SPARE_BYTES = 512 << 10  # a pass keeps workspaces of together up to so many bytes
BATCH_WORK = 1 << 31  # element operations of a thread, under a second, between two looks for signals (Ctrl-C)


class _Memory:
    """Presents raw memory to NumPy; keeps its owner alive."""

    def __init__(self, owner: Array, address: int, count: int) -> None:
        self._owner = owner
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (count,),
            "typestr": "|u1",
            "version": 3,
        }


def storage_of(dtype: np.dtype[Any], cast: str = "truncate") -> Storage:
    """How kernels see arrays of `dtype`: bool as uint8, complex as its parts."""
    if dtype.kind == "b":
        return Storage("u1", saturate=cast == "saturate")
    if dtype.kind == "c":
        return Storage(f"f{dtype.itemsize // 2}", not dtype.isnative)
    saturate = cast == "saturate" and dtype.kind in "iu"
    return Storage(f"{dtype.kind}{dtype.itemsize}", not dtype.isnative, saturate)


def flat_memory(array: Array) -> tuple[Array, int]:
    """All memory an array spans as flat, writeable bytes, and which real element stands at position 0."""
    if array.flags.c_contiguous and array.flags.writeable:
        return array.reshape(-1).view(np.uint8), 0
    item = array.itemsize // (2 if array.dtype.kind == "c" else 1)
    spans = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
    low = sum(s for s in spans if s < 0)
    count = sum(s for s in spans if s > 0) - low + array.itemsize
    address = array.__array_interface__["data"][0] + low
    return np.asarray(_Memory(array, address, count)), -low // item


@dataclass(frozen=True, slots=True, eq=False)
class PlanePass:
    """A prepared pass: everything but the arrays."""

    kernels: tuple[Any, Any]
    """Addresses that the drivers call: of the tile filter, and of what it calls in turn."""
    program: Program
    """What is computed in a plane."""
    geometry: Array
    """Sizes and strides, by the names in `kernels.geometry`."""
    outer: Array
    """Offset tables of the outer axes."""
    outer_taps: Array
    """(sources, outer axes): which tap of each outer axis a source is."""
    edges: Array
    """Where columns beyond the edges are found, for rows that are filtered directly."""
    constants: Array
    """(sources, 1 + period): divisor and boundary value."""
    normal: Array
    """What a normalised convolution divides by: see `kernels.valid`."""
    tasks: int
    """Tiles by strips by planes."""
    batch: int
    """Tasks that are run without a return to Python."""
    threads: int
    """Threads that share the tasks."""
    small: bool
    """Whether it runs at once and on the calling thread, however many there are."""
    raw_in: int
    """Bytes for a gathered piece of an input row."""
    raw_out: int
    """Bytes for a piece of an output row before it is scattered."""

    work_bytes: int
    """Of one thread's rows."""
    table_bytes: int
    """Of one thread's row table."""
    spare: list[tuple[Any, ...]]
    """Small workspaces of earlier calls, ready to be used again; large ones go back to the common pool."""

    @property
    def workspace(self) -> int:
        """Bytes of scratch memory that a call uses."""
        return self.threads * (self.work_bytes + 2 * self.table_bytes)

    def _divide(self, buffer: Array) -> tuple[Any, ...]:
        """The block of all tables, those of every thread in `buffer`; and what it points to."""
        count, dtype, program = self.threads, self.constants.dtype, self.program
        rows = count * self.work_bytes
        work = buffer[:rows].view(dtype).reshape(count, -1)
        work.fill(0)  # whole vectors are computed: left-over bits behind a row could be slow denormals
        tables = buffer[rows : self.workspace].view(np.int64).reshape(2 * count, -1)
        raw = [np.empty((count, size), np.uint8) for size in (self.raw_in, self.raw_out)]
        block = make_block([
            self.geometry, self.outer, self.outer_taps, program.terms, program.runs, program.weights,
            program.shifts, program.lines, program.line_weights, self.edges, self.normal,
            work, tables[:count], tables[count:], *raw,
        ])  # fmt: skip
        return block, buffer, raw

    def __call__(self, x: Array, y: Array) -> None:
        """Run on the flat memory of both arrays (`flat_memory`)."""
        if self.workspace > SPARE_BYTES:
            with threads.borrow(self.workspace) as buffer:
                self._run(x, y, self._divide(buffer))
            return
        try:
            scratch = self.spare.pop()
        except IndexError:
            scratch = self._divide(threads.aligned(self.workspace))
        self._run(x, y, scratch)
        self._keep(scratch)

    def run_small(self, x: Array, y: Array) -> None:
        """As a call, for a `small` pass on contiguous arrays: nothing is left to decide."""
        try:
            scratch = self.spare.pop()
        except IndexError:
            scratch = self._divide(threads.aligned(self.workspace))
        flat_x, flat_y = x.reshape(-1).view(np.uint8), y.reshape(-1).view(np.uint8)
        drivers.run_serial(*self.kernels, flat_x, flat_y, 0, self.tasks, scratch[0], self.constants)
        self._keep(scratch)

    def _keep(self, scratch: tuple[Any, ...]) -> None:
        if (len(self.spare) + 1) * self.workspace <= SPARE_BYTES:
            self.spare.append(scratch)

    def _run(self, x: Array, y: Array, scratch: tuple[Any, ...]) -> None:
        if self.threads == 1:
            self._run_batches(drivers.run_serial, x, y, scratch)
        else:
            with threads.parallel_region(self.threads):
                self._run_batches(drivers.run_parallel, x, y, scratch)

    def _run_batches(self, run: Any, x: Array, y: Array, scratch: tuple[Any, ...]) -> None:
        """All tasks; Python handles signals between two batches, so that Ctrl-C ends a long call."""
        for first in range(0, self.tasks, self.batch):
            run(*self.kernels, x, y, first, min(first + self.batch, self.tasks), scratch[0], self.constants)


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
    """
    rows, columns, inner = planes.rows, planes.columns, planes.inner
    row_window, column_window = plain_window(rows), plain_window(columns)
    tables = [outer_table(axis) for axis in planes.outer]
    tables.append(OuterAxis(np.array([[origins[0]]]), np.array([origins[1]])))
    tables += source_tables
    outer_taps = np.array(
        [(*taps[: len(planes.outer)], 0, *taps[len(planes.outer) :]) for taps in sources], np.int64
    )
    n_planes = math.prod(table.offsets_out.size for table in tables)

    item = compute.itemsize
    storage_in, storage_out = storage_of(dtype_in), storage_of(dtype_out, cast)
    edges, is_dense = None, program.dense and views == AS_STORED
    ends = dense_ends(planes, storage_in, compute) if is_dense else None
    if not is_dense and (not program.share_term or storage_out == storage_of(compute)):
        edges = direct_edges(planes, program, storage_in, compute, constants, views)
    missing = any((table.offsets_in == g.OUTSIDE_PLANE).any() for table in tables)
    packed = (edges is None and ends is None) or row_window.boundary == Boundary.CONSTANT or missing
    ring_rows = (row_window.taps + STEP_ROWS - 1) * len(sources)
    period = constants.shape[1] - 1
    kept = item * (ring_rows + 2 * STEP_ROWS) if packed else storage_in.dtype.itemsize * ring_rows
    spare = RING_STEPS * STEP_ROWS if is_dense and not ends else 0
    kept += item * spare * len(sources)
    tile = tile_columns(columns.size_out, column_window.taps, inner, kept, period)
    column_work = inner * (program.operations + 4)
    tile = min(tile, round_up(BATCH_WORK // (STEP_ROWS * column_work) + 1, 64 * period))
    tiles = max(1, -(-columns.size_out // tile))
    work = n_planes * rows.size_out * columns.size_out * column_work
    count = threads.thread_count(workers) if work >= PARALLEL_WORK else 1
    step = DENSE_ROWS if is_dense else STEP_ROWS
    strip = strip_rows(rows.size_out, row_window.taps, count, n_planes * tiles, step)
    strip = min(strip, round_up(BATCH_WORK // (tile * column_work) + 1, step))
    strips = max(1, -(-rows.size_out // strip))

    streams = _streams(planes, n_planes, dtype_out, compute) and not (edges and program.share_term)
    gather = max(1, 512 // inner)
    lanes = VECTOR_BYTES // item
    stored = columns.stride_out != inner or storage_out != storage_of(compute)
    if is_dense:
        places, work_elements = dense_workspace(
            planes, tile, row_window.taps + STEP_ROWS - 1 + spare, len(sources), lanes, ends, stored=stored
        )  # fmt: skip
        large = n_planes * rows.size_in * columns.size_in * inner * dtype_in.itemsize >= FETCH_BYTES
        places[g.FETCHED] = storage_in.dtype.itemsize if large and columns.stride_in == inner else 0
        kernels = dense.kernel_addresses(compute, storage_in, storage_out, stored=stored)
    else:
        places, work_elements = workspace(
            planes, program, tile, ring_rows if packed else 0, len(sources), lanes, edges,
            item_in=storage_in.dtype.itemsize, packed=packed,
        )  # fmt: skip
        kernels = drivers.kernel_addresses(
            compute, storage_in, storage_out, direct=edges is not None, packed=packed, view=views,
            turned=edges is not None and not edges.short, boxes=packed and program.boxes,
            share=program.share_term > 0,
        )  # fmt: skip
    geometry = np.zeros(g.GEOMETRY, np.int64)
    for name, value in {
        g.ROWS_IN: rows.size_in, g.ROWS_OUT: rows.size_out, g.ROW_FIRST: row_window.first,
        g.ROW_TAPS: row_window.taps, g.ROW_BOUNDARY: int(row_window.boundary),
        g.ROW_STRIDE_IN: rows.stride_in, g.ROW_STRIDE_OUT: rows.stride_out,
        g.COLUMNS_IN: columns.size_in, g.COLUMNS_OUT: columns.size_out, g.COLUMN_FIRST: column_window.first,
        g.COLUMN_TAPS: column_window.taps, g.COLUMN_BOUNDARY: int(column_window.boundary),
        g.COLUMN_STRIDE_IN: columns.stride_in, g.COLUMN_STRIDE_OUT: columns.stride_out,
        g.INNER: inner, g.STREAM: int(streams), g.VIEWS: views,
        g.STRIP: strip, g.STRIPS: strips, g.TILE: tile, g.TILES: tiles, g.SOURCES: len(sources),
        g.OUTER_AXES: len(tables), g.GATHER: gather, g.SHARE_TERM: program.share_term,
        g.DIRECT: int(edges is not None or ends is not None), **places,
    }.items():  # fmt: skip
        geometry[name] = value
    tasks, beyond = n_planes * strips * tiles, edges or ends
    work_bytes = round_up(work_elements * item, VECTOR_BYTES)
    batch = count * max(1, BATCH_WORK // (strip * tile * column_work))
    return PlanePass(
        kernels=kernels,
        program=program,
        geometry=geometry,
        outer=_pack_outer(tables),
        outer_taps=outer_taps,
        edges=beyond.table if beyond else np.zeros(0, np.int64),
        constants=constants.astype(compute),
        normal=np.array(normal, compute),
        tasks=tasks,
        batch=batch,
        threads=min(count, tasks) or 1,
        small=work < PARALLEL_WORK and tasks <= batch and work_bytes <= SPARE_BYTES,
        raw_in=gather * inner * storage_in.dtype.itemsize,
        raw_out=gather * inner * storage_out.dtype.itemsize,
        work_bytes=work_bytes,
        table_bytes=round_up(8 * geometry[g.TABLES], VECTOR_BYTES),
        spare=[],
    )


def _streams(planes: Planes, n_planes: int, dtype_out: np.dtype[Any], compute: np.dtype[Any]) -> bool:
    """Whether rows of the output are written past the caches: large, adjacent, and stored as they are computed."""
    elements = n_planes * planes.rows.size_out * planes.columns.size_out * planes.inner
    if planes.columns.stride_out != planes.inner:  # scattered, element by element
        return False
    return storage_of(dtype_out) == storage_of(compute) and elements * compute.itemsize >= STREAM_BYTES


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

"""Division of passes of flat kernels into tasks, and the layout of a thread's workspace."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..factor.runs import Flat
from ..lowering.flat import FIRST_LEVEL_BYTES, MOST_BYTES, ROWS_IN_REGISTERS, VECTORS
from ..lowering.task import Task
from .intrinsics import flat_sums
from .intrinsics.vectors import VECTOR_BYTES
from .kernels import flat as kernels
from .kernels import table_entries as g
from .pass_request import BATCH_WORK
from .tiles import TASKS_PER_THREAD, round_up, skew, strip_rows, tile_columns

ROWS = 2  # output rows that are computed together if sums go to row buffers; even, as kernels compute pairs
KEPT_COLUMNS = 256  # columns of a tile of a volume
KEPT_BYTES = 1 << 20  # size of the packed rows kept from plane to plane, which fit the second-level cache
SEGMENT_IN_REGISTERS = 4096  # elements of a row of results that are computed before they are stored


@dataclass(frozen=True, slots=True)
class SumBlocking:
    """How to compute the sums of rows: in registers, or in row buffers."""

    flat: Flat
    """Sums of the kernel."""
    inner: int
    """Elements per column."""
    row_taps: int
    """Rows of the window in each plane."""
    halo: int
    """Elements of an input row in excess of those of its results."""
    width: int
    """Elements of a row of results."""
    compute: np.dtype[Any]
    """Dtype of the results, float32 or float64."""
    small: bool = False
    """Whether rows hold bytes, which are summed as 16-bit integers."""

    @property
    def item(self) -> int:
        """Bytes per element of a packed row."""
        return 2 if self.small else self.compute.itemsize

    @property
    def lanes(self) -> int:
        """Elements per vector of sums."""
        return VECTOR_BYTES // self.item

    @property
    def block(self) -> int:
        """Elements of results that are computed in registers at a time."""
        return self.vectors * self.lanes

    @property
    def vectors(self) -> int:
        """Vectors of results per block; 0 if sums go to row buffers."""

        def work(vectors: int) -> float:
            return -(-self.width // (vectors * self.lanes)) * (vectors + self.extra / 2)

        return min(VECTORS[self.extra], key=work) if self.extra else 0

    @property
    def extra(self) -> int:
        """Vectors by which sums in registers are wider than their results; 0 if sums go to row buffers."""
        needed = -(-self.halo // self.lanes)
        fitting = [extra for extra in VECTORS if extra >= needed and extra]
        entries = math.prod(self.flat.shape[:-1]) // self.row_taps * (self.row_taps + ROWS_IN_REGISTERS)
        return fitting[0] if flat_sums.AVAILABLE and fitting and entries < flat_sums.MOST_ROWS else 0

    @property
    def rows(self) -> int:
        """Output rows that are computed together."""
        return ROWS_IN_REGISTERS if self.extra else ROWS

    @property
    def window(self) -> int:
        """Entries of the row table for each plane."""
        return self.row_taps + self.rows - 1

    def entry(self, row: int) -> int:
        """Return the index in the row table of a row of the window, numbered over all planes."""
        return row // self.row_taps * self.window + row % self.row_taps


def blocking_of(flat: Flat, task: Task, compute: np.dtype[Any], *, small: bool) -> SumBlocking:
    """Return the blocking of a kernel; `small` says that 16-bit integers could hold the samples (`sums_bytes`)."""
    blocking = SumBlocking(flat, task.inner, task.down.taps, task.span, task.width, compute)
    fitting = blocking.inner == 1 and max(flat.counts) <= MOST_BYTES
    sums_of_bytes = replace(blocking, small=True)
    return sums_of_bytes if small and fitting and sums_of_bytes.extra else blocking


@dataclass(frozen=True, slots=True)
class Parts:
    """Division of the output into tasks."""

    tile: int
    """Columns per task."""
    tiles: int
    """Tasks along the columns."""
    strip: int
    """Rows per task."""
    strips: int
    """Tasks along the rows."""
    planes: int
    """Output planes per task, filtered one after the other."""
    chunks: int
    """Tasks along the axis of these planes."""
    ring_rows: int
    """Packed rows per input plane that the workspace holds."""


def divide(
    task: Task, deep: int, others: int, threads: int, *, step: int, window: int, ring_rows: int, item: int,
    operations: int, row_bytes: Callable[[int], int], lead: int = 1,
) -> Parts:  # fmt: skip
    """Divide ``others * deep`` output planes into tasks; each output plane depends on the sources of the task.

    Along the `deep` planes of a volume, packed rows are kept from one plane to the next if they fit the cache.
    `row_bytes` returns the size of a packed row for a tile; `item` is the size of an element, `window` the number of
    rows that the cache holds.  Tasks compute `step` rows at a time; strips are `lead` times as long as otherwise.
    """
    (rows_out, columns), taps = (task.planes.rows.size_out, task.planes.columns.size_out), task.down.taps
    inner, sources = task.inner, task.sources
    work = inner * (operations + 4)
    tile = tile_columns(columns, task.along.taps, inner, item * sources * window, 1)
    strip = strip_rows(rows_out, lead * taps, threads, others * deep * -(-columns // tile), step)
    thickness = 1
    if deep > 1:
        narrow = min(columns, max(KEPT_COLUMNS // inner, 1))
        rows = KEPT_BYTES // (sources * row_bytes(narrow)) - taps + 1
        rows = min(rows // step * step, round_up(rows_out, step))
        if rows >= 2 * taps or rows >= rows_out:
            tile, strip, ring_rows = narrow, rows, rows + taps - 1
            tasks = others * -(-columns // tile) * -(-rows_out // strip)
            thickness = -(-deep // -(-TASKS_PER_THREAD * threads // tasks)) if threads > 1 else deep
            thickness = min(max(thickness, 2 * sources), deep, BATCH_WORK // (tile * strip * work) + 1)
    strip = min(strip, round_up(BATCH_WORK // (tile * work) + 1, step))
    return Parts(
        tile,
        -(-columns // tile),
        strip,
        -(-rows_out // strip),
        thickness,
        -(-deep // thickness),
        ring_rows,
    )


def divide_sums(blocking: SumBlocking, task: Task, deep: int, others: int, threads: int) -> Parts:
    """Divide ``others * deep`` output planes into tasks of sums of rows."""
    return divide(
        task, deep, others, threads, step=blocking.rows, window=blocking.window, ring_rows=blocking.window,
        item=blocking.item, operations=blocking.flat.operations,
        row_bytes=lambda tile: blocking.compute.itemsize * lay_out(blocking, tile, 1, 1).ring_stride,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WorkspaceLayout:
    """Layout of the workspace of a thread; offsets and strides are in elements of the results' dtype."""

    ring_stride: int
    """Stride of the packed rows, which start at offset 0."""
    sums: int
    """Offset of the row buffers of the first output row."""
    stride: int
    """Stride of the row buffers of an output row."""
    pitch: int
    """Stride from the row buffers or results of an output row to those of the next."""
    result: int
    """Offset of the results of the first output row."""
    scratch: int
    """Offset of a row of numbers before its conversion to 16-bit integers."""
    segment: int
    """Columns that are computed at a time."""
    elements: int
    """Size of the workspace."""

    def places(self, blocking: SumBlocking, parts: Parts, sources: int) -> dict[int, int]:
        """Return the layout by the names in `table_entries`."""
        return {
            g.RING: 0, g.RING_STRIDE: self.ring_stride, g.RING_ROWS: parts.ring_rows, g.SEGMENT: self.segment,
            g.SUMS_STRIDE: self.pitch, g.RESULT: self.result, g.SCRATCH: self.scratch, g.STRIPE_ROWS: blocking.rows,
            g.WINDOW: blocking.window, g.TABLES: blocking.window * sources,
        }  # fmt: skip

    def buffer(self, number: int) -> int:
        """Return the offset of row buffer `number` of the first output row."""
        return self.sums + number * self.stride


def lay_out(blocking: SumBlocking, tile: int, sources: int, ring_rows: int) -> WorkspaceLayout:
    """Lay out a workspace for tiles of `tile` columns and `ring_rows` packed rows of each of `sources` planes."""
    lanes, inner = VECTOR_BYTES // blocking.compute.itemsize, blocking.inner
    if blocking.extra:
        # room for the last block, or for the halo and the vector that packing writes beyond it
        row = tile * inner + blocking.block + blocking.extra * blocking.lanes
        ring_stride = skew(round_up(row * blocking.item // blocking.compute.itemsize, lanes), lanes)
        sums = round_up(sources * ring_rows * ring_stride, lanes)
        segment = min(tile, max(SEGMENT_IN_REGISTERS // inner, 1))
        segment = segment if segment == tile or inner > 1 else segment // blocking.block * blocking.block
        stride = blocking.block * blocking.item // blocking.compute.itemsize + blocking.extra * lanes
        pitch = skew(round_up(tile * inner, blocking.block) + lanes, lanes)
        result = sums + len(blocking.flat.continued) * stride
        scratch = result + blocking.rows * pitch
        end = scratch + blocking.small * round_up(tile + blocking.halo + 4 * lanes, lanes)
        return WorkspaceLayout(ring_stride, sums, stride, pitch, result, scratch, segment, end)
    block = kernels.VECTORS * lanes  # the last block may reach this far beyond the row
    ring_stride = skew(round_up(tile * inner + blocking.halo + block, lanes), lanes)
    sums = round_up(sources * ring_rows * ring_stride, lanes)
    buffers = len(blocking.flat.sums) + len(blocking.flat.doubles) + 1
    wanted = FIRST_LEVEL_BYTES // (blocking.compute.itemsize * blocking.rows * buffers) - blocking.halo
    segment = min(tile, max(round_up(max(wanted, 2 * blocking.halo, 1), block) // inner, 1))
    stride = skew(round_up(segment * inner + blocking.halo + block, lanes), lanes)
    result = (buffers - 1) * stride
    pitch = result + skew(round_up(tile * inner + block, lanes), lanes)
    end = sums + blocking.rows * pitch + block
    return WorkspaceLayout(ring_stride, sums, stride, pitch, sums + result, 0, segment, end)

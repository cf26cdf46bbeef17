"""Division of passes of flat kernels into tasks, and the layout of a thread's workspace."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..factor.runs import Flat
from ..lowering.layout import Planes
from ..lowering.task import Task
from .intrinsics import flat_sums
from .intrinsics.vectors import VECTOR_BYTES
from .kernels import flat as kernels
from .pass_request import BATCH_WORK
from .tiles import TASKS_PER_THREAD, round_up, skew, strip_rows, tile_columns

ROWS, ROWS_IN_REGISTERS = 2, 4  # output rows that are computed together; even, as kernels compute pairs
SUMS_BYTES = 32 << 10  # size of the row buffers, which fit the first-level cache
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

        return min(flat_sums.VECTORS[self.extra], key=work) if self.extra else 0

    @property
    def extra(self) -> int:
        """Vectors by which sums in registers are wider than their results; 0 if sums go to row buffers."""
        needed = -(-self.halo // self.lanes)
        fitting = [extra for extra in flat_sums.VECTORS if extra >= needed]
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
    """Return the blocking of a kernel; `small` says that samples and the values beyond the edges are bytes."""
    blocking = SumBlocking(flat, task.inner, task.down.taps, task.span, task.width, compute)
    fitting = compute == np.float32 and blocking.inner == 1 and max(flat.counts) <= flat_sums.MOST_BYTES
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
    blocking: SumBlocking, planes: Planes, sources: int, deep: int, others: int, threads: int
) -> Parts:
    """Divide ``others * deep`` output planes into tasks; each output plane depends on `sources` input planes.

    Along the `deep` planes of a volume, packed rows are kept from one plane to the next if they fit the cache.
    """
    down, along, inner, item = planes.rows, planes.columns, planes.inner, blocking.item
    work = inner * (blocking.flat.operations + 4)
    tile = tile_columns(
        along.size_out, blocking.halo // inner + 1, inner, item * sources * blocking.window, 1
    )
    strip = strip_rows(
        down.size_out, blocking.row_taps, threads, others * deep * -(-along.size_out // tile), blocking.rows
    )
    thickness, ring_rows = 1, blocking.window
    if deep > 1:
        narrow = min(along.size_out, max(KEPT_COLUMNS // inner, 1))
        rows = (
            KEPT_BYTES // (sources * blocking.compute.itemsize * lay_out(blocking, narrow, 1, 1).ring_stride)
            - blocking.row_taps
            + 1
        )
        rows = min(rows // blocking.rows * blocking.rows, round_up(down.size_out, blocking.rows))
        if rows >= 2 * blocking.row_taps or rows >= down.size_out:
            tile, strip, ring_rows = narrow, rows, rows + blocking.row_taps - 1
            tasks = others * -(-along.size_out // tile) * -(-down.size_out // strip)
            thickness = -(-deep // -(-TASKS_PER_THREAD * threads // tasks)) if threads > 1 else deep
            thickness = min(max(thickness, 2 * sources), deep, BATCH_WORK // (tile * strip * work) + 1)
    strip = min(strip, round_up(BATCH_WORK // (tile * work) + 1, blocking.rows))
    return Parts(
        tile,
        -(-along.size_out // tile),
        strip,
        -(-down.size_out // strip),
        thickness,
        -(-deep // thickness),
        ring_rows,
    )


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
    wanted = SUMS_BYTES // (blocking.compute.itemsize * blocking.rows * buffers) - blocking.halo
    segment = min(tile, max(round_up(max(wanted, 2 * blocking.halo, 1), block) // inner, 1))
    stride = skew(round_up(segment * inner + blocking.halo + block, lanes), lanes)
    result = (buffers - 1) * stride
    pitch = result + skew(round_up(tile * inner + block, lanes), lanes)
    end = sums + blocking.rows * pitch + block
    return WorkspaceLayout(ring_stride, sums, stride, pitch, sums + result, 0, segment, end)

"""How a pass reads its rows: from the array, or from packed copies extended beyond the edges."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass

from .target import VECTORS, Target
from .task import Task

BUFFER_BYTES = (
    96 << 10
)  # of the row buffers of a separable pass: rows of images in one piece, which memory reads faster
STRIPE_BYTES = 24 << 10  # of several blocks of short rows, which share a stripe: half of a first-level cache
LEAST_ROW_BYTES = 4096  # shorter rows are packed as a whole, not only their ends
CACHE_LINE, CACHE_SETS = 64, 64  # of a first-level cache
MOST_WAYS = 8  # lines in a set of this cache: dense kernels pack rows if more lines map to one set
FEW_CROWDED = 3  # most taps per column for which dense kernels of few rows read such rows nevertheless
MOST_SPAN = 512  # widest window, in numbers, with which dense kernels read the array directly


@dataclass(frozen=True, slots=True)
class RowAccess:
    """How the kernels of `cpu.kernels.separable` read their rows."""

    packed: bool
    """Whether all rows are packed first, extended beyond the edges."""
    dense: bool
    """Whether vertical sums go directly to the output: dense weights, or taps along the row axis only."""
    beyond: bool
    """Whether the pass reads rows beyond a constant boundary without packing them."""
    single: bool
    """Whether some rows are summed one at a time, near a constant boundary or because there are few."""
    inside_first: int
    """First output column whose window is inside the array, for dense sums."""
    inside_last: int
    """One past the last such column."""
    left: int
    """Number of packed columns that output columns before `inside_first` read."""
    right: int
    """Number of packed columns that output columns from `inside_last` on read."""

    @property
    def ends(self) -> bool:
        """Whether the ends of rows are packed."""
        return self.dense and not self.packed and self.left + self.right > 0

    @property
    def buffered(self) -> bool:
        """Whether some vertical sums are stored in row buffers."""
        return not self.dense or self.single


def row_access(task: Task, target: Target, *, packed: bool = False) -> RowAccess:
    """Return how a pass of `cpu.kernels.separable` reads its rows; all rows are packed if `packed`."""
    down, along, window, inner = task.planes.rows, task.planes.columns, task.along, task.inner
    width, least = along.size_in * inner, VECTORS * target.lanes(task.item)
    split = window.step > 1
    first = min(max(-window.first, 0), along.size_out)
    last = max(first, min(along.size_in - window.taps + 1 - window.first, along.size_out))
    left, right = (n + window.taps - 1 if n else 0 for n in (first, along.size_out - last))
    packed = packed or along.stride_in != inner or width < least
    dense = not task.separable or (window.taps == 1 and not packed and not split)
    if not task.separable:
        rows = task.window_rows(target.block_rows)
        ways = rows_in_a_set(rows, abs(down.stride_in) * task.item_in, window.taps * task.item)
        short = width * task.item < LEAST_ROW_BYTES or 4 * (left + right) > along.size_out
        short = short or width < task.span + least
        packed = packed or task.constant_rows or short or ways > MOST_WAYS or split
    if packed:
        first = last = along.size_out
    beyond = task.constant_rows and not packed
    single = beyond or (not packed and not dense and down.size_out < target.block_rows)
    return RowAccess(packed, dense, beyond, single, first, last, left, right)


def dense_reads_array(task: Task, target: Target, height: int) -> bool:
    """Return whether `cpu.kernels.dense`, which computes `height` rows at a time, reads the array without packing."""
    span, item = task.span, task.item
    if not task.plain_in or task.planes.columns.stride_in != task.inner or span > MOST_SPAN:
        return False
    if task.planes.columns.size_in * task.inner < target.lanes(item):
        return False
    pitch = abs(task.planes.rows.stride_in) * item
    if height < target.dense_rows and task.down.taps <= FEW_CROWDED:
        return True
    return rows_in_a_set(height + task.down.taps - 1, pitch, span * item) <= MOST_WAYS


@functools.lru_cache(maxsize=256)
def rows_in_a_set(rows: int, pitch: int, span: int) -> int:
    """Return the most lines in one set of a first-level cache, for `span` bytes of rows `pitch` bytes apart."""
    lines = 2 + span // CACHE_LINE
    return max(
        Counter(
            (row * pitch // CACHE_LINE + line) % CACHE_SETS for row in range(rows) for line in range(lines)
        ).values()
    )


def buffer_columns(rows: int, terms: int, item: int, inner: int, taps: int) -> int:
    """Return the columns of a segment: row buffers fit the second-level cache, but are far wider than the window."""
    return max(BUFFER_BYTES // (rows * max(terms, 1) * item * inner), 4 * taps, 256 // inner)

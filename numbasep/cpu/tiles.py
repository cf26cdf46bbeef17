"""Division of a pass into tasks, and layout of a thread's workspace, in plain integers."""

from __future__ import annotations

from ..lowering.target import SQUARE_TAPS, STEP_ROWS
from ..lowering.task import Task
from ..planning.workspace import CACHE_BYTES
from .dense_boundary import Ends
from .intrinsics.vectors import BLOCK_COLUMNS
from .kernels import table_entries as g
from .kernels.packed_sums import LINE_COLUMNS
from .tap_tables import TapTables

SEGMENT_ELEMENTS = 2048  # sums per row, so that a block of rows fills half the first-level cache
TASKS_PER_THREAD = 4


def round_up(n: int, step: int) -> int:
    """Round `n` up to a multiple of `step`."""
    return -(-n // step) * step


def workspace(
    task: Task, program: TapTables, tile: int, ring_rows: int, line: int
) -> tuple[dict[int, int], int]:
    """Return the layout of a thread's workspace, by the names in `cpu.kernels.table_entries`, and its elements.

    `line` is the number of lanes of a vector.
    """
    taps, inner, sources = task.along.taps, task.inner, task.sources
    window = task.down.taps + STEP_ROWS - 1
    block, boxes = line * max(BLOCK_COLUMNS, LINE_COLUMNS), program.terms[:, [g.ROW_BOX, g.COLUMN_BOX]].any()
    slack = (taps - 1) * inner + 2 * block + (STEP_ROWS * inner if boxes else 0)
    ring_stride = skew(round_up(tile * inner + slack, block), line)
    segment = _segment_columns(tile, taps, inner)
    scratch_stride = skew(round_up(segment * inner + slack, block), line)
    result_stride = skew(round_up(segment * inner, block) + block, line)
    blocks = window // STEP_ROWS if boxes else 0
    sizes = {
        g.RING: ring_rows * ring_stride,
        g.SCRATCH: STEP_ROWS * scratch_stride,
        g.TURNED: 0 if taps < SQUARE_TAPS else scratch_stride * line,
        g.TURNED_BLOCKS: scratch_stride * line // STEP_ROWS + inner * line if boxes else 0,
        g.RESULT: STEP_ROWS * result_stride + line,
        g.SHARE: STEP_ROWS * result_stride + line if program.share_term else 0,
        g.BLOCK_SUMS: sources * blocks * ring_stride,
    }
    places, at = {}, 0
    for name, size in sizes.items():
        places[name] = at
        at += round_up(size, line)
    places |= {
        g.RING_STRIDE: ring_stride, g.SCRATCH_STRIDE: scratch_stride, g.RESULT_STRIDE: result_stride,
        g.SEGMENT: segment, g.BLOCKS: blocks, g.TABLES: (window + blocks) * sources + blocks + 2 * STEP_ROWS,
    }  # fmt: skip
    return places, at


def dense_workspace(
    task: Task, tile: int, ring_rows: int, line: int, ends: Ends | None, *, stored: bool
) -> tuple[dict[int, int], int]:
    """Return the same as `workspace` for a dense pass whose sources have `ring_rows` packed rows each."""
    taps, inner, sources = task.along.taps, task.inner, task.sources
    window = task.down.taps + STEP_ROWS - 1
    ring_stride = skew(round_up((tile + taps - 1) * inner + 2 * line, line), line)
    segment = _segment_columns(tile, taps, inner)
    result_stride = skew(round_up(segment * inner + line, line), line)
    ends_stride = skew(round_up(ends.width + line, line), line) if ends else 0
    sizes = {
        g.RING: ring_rows * sources * ring_stride + line,
        g.ENDS: window * sources * ends_stride + line,
        g.RESULT: STEP_ROWS * result_stride if stored else 0,
        g.KEPT: STEP_ROWS * line,
    }
    places, at = {}, 0
    for name, size in sizes.items():
        places[name] = at
        at += round_up(size, line)
    places |= {
        g.RING_STRIDE: ring_stride, g.RING_ROWS: ring_rows, g.ENDS_STRIDE: ends_stride, g.SEGMENT: segment,
        g.RESULT_STRIDE: result_stride, g.TABLES: 2 * window * sources, g.EDGE_LAST: ends.last if ends else 0,
    }  # fmt: skip
    return places, at


def skew(stride: int, line: int) -> int:
    """Make a row stride an odd number of vectors, so that rows do not share cache sets."""
    return stride if stride // line % 2 else stride + line


def tile_columns(columns: int, taps: int, inner: int, kept: int, period: int) -> int:
    """Return the columns per task: as many as fit the cache at `kept` bytes each, but far more than the halo."""
    fitting = CACHE_BYTES // (inner * kept) - taps + 1
    tile = max(fitting, 4 * taps, 512 // inner)
    if columns <= tile + tile // 4:
        return max(columns, 1)
    tiles = -(-columns // tile)
    return round_up(-(-columns // tiles), 64 * period)


def _segment_columns(tile: int, taps: int, inner: int) -> int:
    """Return the columns computed at a time: few enough for the first-level cache, far more than the halo."""
    wanted = max(SEGMENT_ELEMENTS // inner, 12 * taps)
    return tile if tile <= wanted + wanted // 2 else round_up(wanted, 64)


def strip_rows(rows: int, taps: int, count: int, other_tasks: int, step: int) -> int:
    """Return the rows per task: few enough to give all threads tasks, many enough to pack few rows twice.

    The number is a multiple of the driver's `step` rows.  Since each thread gets the same number of tasks in sequence,
    the rows of the thread with the most tasks decide.
    """
    if count == 1:
        return max(rows, 1)
    wanted = -(-TASKS_PER_THREAD * count // other_tasks)
    half = round_up(-(-rows // count), step) or step
    strip = max(round_up(-(-rows // wanted), step), min(round_up(4 * taps, step), half))
    strips = max(1, -(-rows // strip))
    sizes = [round_up(-(-rows // n), step) or step for n in range(strips, 0, -1)]
    return min(sizes, key=lambda size: -(-(-(-rows // size) * other_tasks) // count) * size)

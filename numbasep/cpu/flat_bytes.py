"""Flat kernels of bytes: tables, layout of the workspace, and the pass for `cpu.kernels.flat_bytes`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..factor.column_ends import ColumnEnds, End
from ..lowering.flat import BYTE_ROWS
from ..lowering.task import Task
from .flat_tables import Parts, divide
from .intrinsics.byte_sums import LANES
from .intrinsics.vectors import LANES32
from .kernels import flat_bytes as kernels
from .kernels import table_entries as g
from .tap_tables import TapTables
from .tiles import round_up, skew

Array = npt.NDArray[Any]
SLACK = 4 * LANES32 + kernels.FEW  # elements after a row that packing, or the last block, may touch


def divide_bytes(ends: ColumnEnds, task: Task, deep: int, others: int, threads: int) -> Parts:
    """Divide ``others * deep`` output planes into tasks, in long strips: each begins with rows that are not stored."""
    window = task.down.taps + BYTE_ROWS
    return divide(
        task, deep, others, threads, step=BYTE_ROWS, window=window, ring_rows=window,
        item=2 * 2 * (ends.levels + 1), operations=ends.operations, lead=2,
        row_bytes=lambda tile: 4 * _ring_stride(ends, tile, task.along.taps),
    )  # fmt: skip


def _level_stride(tile: int, taps: int) -> int:
    return skew(round_up(tile + taps - 1 + SLACK, 2 * LANES), 2 * LANES)


def _ring_stride(ends: ColumnEnds, tile: int, taps: int) -> int:
    return (ends.levels + 1) * _level_stride(tile, taps) // 2


def lay_out_bytes(ends: ColumnEnds, task: Task, parts: Parts) -> tuple[dict[int, int], int]:
    """Return the layout of a thread's workspace, by the names in `table_entries`, and its elements (float32)."""
    taps = task.along.taps
    level_stride, ring_stride = _level_stride(parts.tile, taps), _ring_stride(ends, parts.tile, taps)
    row = round_up(parts.tile, kernels.FEW)
    pitch = skew(row + LANES32, LANES32)
    sums = (task.sources * parts.ring_rows + 1) * ring_stride  # the last row is zero
    result = sums + len(ends.groups) * row
    scratch = result + BYTE_ROWS * pitch
    places = {
        g.RING: 0, g.RING_STRIDE: ring_stride, g.RING_ROWS: parts.ring_rows, g.LEVELS: ends.levels,
        g.LEVEL_STRIDE: level_stride, g.SUMS: sums, g.SUMS_STRIDE: row, g.RESULT: result, g.RESULT_STRIDE: pitch,
        g.SCRATCH: scratch, g.STRIPE_ROWS: BYTE_ROWS, g.WINDOW: task.down.taps + BYTE_ROWS,
        g.TABLES: task.sources * (task.down.taps + BYTE_ROWS),
    }  # fmt: skip
    return places, scratch + round_up(parts.tile + taps - 1 + SLACK, LANES32)


def byte_tables(ends: ColumnEnds, task: Task, level_stride: int, factor: float) -> TapTables:
    """Return the tables; results are multiplied by `factor`."""
    groups: list[list[int]] = []
    terms: list[tuple[int, int]] = []

    def term(end: End) -> tuple[int, int]:
        plane, row = divmod(end.row, task.down.taps + 1)
        return plane * (task.down.taps + BYTE_ROWS) + row, end.level * level_stride + end.column

    for group in ends.groups:
        first = len(terms)
        terms += map(term, group.gained + group.lost)
        groups.append([first, first + len(group.gained), len(terms)])
    weights = np.array([group.weight * factor for group in ends.groups], np.float32)
    none = np.zeros(0, np.int64)
    return TapTables(
        terms=none, runs=none, weights=weights, shifts=np.array(terms, np.int64).reshape(-1),
        lines=np.array(groups, np.int64), line_weights=np.zeros(0, np.float32),
    )  # fmt: skip

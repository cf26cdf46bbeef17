"""The registry of CPU kernels: which passes each can compute, and in which blocks.

The first entry of `KERNELS` that suits a pass computes it, for the planner and for the backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import counts
from .access import LEAST_ROW_BYTES, MOST_WAYS, dense_reads_array, row_access, rows_in_a_set
from .counts import Blocking
from .steps import Steps
from .target import STEP_ROWS, Target
from .task import Part, Task

FEW_WEIGHTS = 25  # most weights for which `cpu.kernels.dense` is used with vectors below 64 bytes
WRITTEN_OUT = 1 << 16  # least output for which loops are unrolled, as each unrolled kernel must be compiled
MOST_BOX_ROWS = 40  # with at most this many taps, boxes are summed tap by tap, without packing
LEAST_BOXED = 1 << 19  # least numbers of a plane for boxes: in smaller planes, packing rows costs too much


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that can compute passes over planes."""

    name: str
    """Name, shown in plans."""
    title: str
    """Short description for reports."""
    suits: Callable[[Task, Target], bool]
    """Function that returns whether the kernel can compute a task."""
    blocking: Callable[[Task, Target], Blocking]
    """Function that returns the blocking for a task."""
    steps: Callable[[Task, Blocking, Target], Steps]
    """Function that counts the steps of a task."""


def _suits_dense(task: Task, target: Target) -> bool:
    """Return whether `cpu.kernels.dense` computes a pass: with 64-byte vectors, few weights or short rows."""
    if task.weights is None or task.weights.columns < 2 or task.masked or task.strided:
        return False
    row_bytes = task.width * task.item
    narrow = target.vector_bytes < 64 and row_bytes >= LEAST_ROW_BYTES
    regular = task.planes.columns.stride_in == task.inner and not (narrow and not _few_weights(task, target))
    return regular or target.vector_bytes >= 64


def _few_weights(task: Task, target: Target) -> bool:
    """Return whether `cpu.kernels.dense` can read the array directly and keep the weights of a column in registers."""
    assert task.weights is not None
    if task.weights.taps > FEW_WEIGHTS or task.item != 4 or task.converted:
        return False
    rows, pitch = target.dense_rows + task.down.taps - 1, abs(task.planes.rows.stride_in) * task.item
    return rows_in_a_set(rows, pitch, task.span * task.item) <= MOST_WAYS


def _dense_blocking(task: Task, target: Target) -> Blocking:
    weights = task.weights
    assert weights is not None
    whole = weights.taps == task.down.taps * task.along.taps and task.sources == 1
    regular = whole and task.numbers >= WRITTEN_OUT and 1 < task.down.taps <= target.most_written_out
    few = regular and task.down.taps <= target.few_taps  # faster than folding
    folded = weights.folded is not None and not few
    height = target.few_rows if few else target.dense_rows
    return Blocking(
        height,
        packed=not dense_reads_array(task, target, height),
        written_out=task.down.taps if regular and not folded else 0,
        folded=folded,
    )


def _suits_boxes(task: Task, _target: Target) -> bool:
    """Return whether a pass contains long boxes, on large planes."""
    if task.strided or task.down.taps <= MOST_BOX_ROWS or task.rows * task.width < LEAST_BOXED:
        return False
    return any(is_long_box(part) for group in task.groups for part in group)


def is_long_box(part: Part) -> bool:
    """Return whether a term is a box along an axis, long enough for `cpu.kernels.boxes`."""
    return (part.row_box and part.rows >= STEP_ROWS) or (part.column_box and part.columns >= STEP_ROWS)


def _box_blocking(_task: Task, _target: Target) -> Blocking:
    return Blocking(STEP_ROWS, packed=True)


def _row_blocking(task: Task, target: Target) -> Blocking:
    return Blocking(target.block_rows, packed=row_access(task, target).packed)


KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        Kernel(
            "short rows", "rows of few samples as one long vector whose weights repeat",
            lambda task, _target: task.slots > 0, lambda _task, _target: Blocking(1), counts.short_row_steps,
        ),
        Kernel(
            "dense", "weights without structure, rows by columns of taps",
            _suits_dense, _dense_blocking, counts.dense_steps,
        ),
        Kernel(
            "dense sums", "weights without structure, vertical sums for each column of taps",
            lambda task, _target: not task.separable, _row_blocking, counts.dense_sum_steps,
        ),
        Kernel("box", "sums of equal taps by their differences", _suits_boxes, _box_blocking, counts.box_steps),
        Kernel(
            "separable", "vertical sums into row buffers, horizontal sums along them",
            lambda _task, _target: True, _row_blocking, counts.separable_steps,
        ),
    )
}  # fmt: skip
"""All kernels for passes over planes, in order of preference."""


def choose(task: Task, target: Target) -> tuple[Kernel, Blocking]:
    """Return the kernel that computes a pass, and its blocking."""
    kernel = next(kernel for kernel in KERNELS.values() if kernel.suits(task, target))
    return kernel, kernel.blocking(task, target)

"""The registry of kernels: which passes each suits, and how many rows it computes at a time.

The first entry that suits a pass computes it.  Planner and backend both ask here.
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

FEW_WEIGHTS = 25  # of a dense kernel whose rows narrow vectors sum one by one
WRITTEN_OUT = (
    1 << 16
)  # numbers from which on loops are written out: that takes kernels of their own to be compiled
MOST_BOX_ROWS = 40  # row taps up to which boxes are summed tap by tap, straight from the array
LEAST_BOXED = 1 << 19  # numbers of a plane from which more are summed as boxes: packing rows then costs less


@dataclass(frozen=True, slots=True)
class Kernel:
    """A way to compute a pass."""

    name: str
    """What plans call it."""
    title: str
    """One line for people."""
    suits: Callable[[Task, Target], bool]
    """Whether it computes a pass, if no earlier one does."""
    blocking: Callable[[Task, Target], Blocking]
    """How it goes about a pass."""
    steps: Callable[[Task, Blocking, Target], Steps]
    """What that takes."""


def _suits_dense(task: Task, target: Target) -> bool:
    """Weights without structure on whole columns: always with the widest vectors, else where rows are few or short."""
    if task.weights is None or task.weights.columns < 2 or task.masked or task.strided:
        return False
    row_bytes = task.width * task.item
    narrow = target.vector_bytes < 64 and row_bytes >= LEAST_ROW_BYTES
    regular = task.planes.columns.stride_in == task.inner and not (narrow and not _few_weights(task, target))
    return regular or target.vector_bytes >= 64


def _few_weights(task: Task, target: Target) -> bool:
    """Whether `cpu.kernels.dense` reads rows where they are and keeps the weights of a column in registers."""
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
    few = regular and task.down.taps <= target.few_taps  # faster than folded
    folded = weights.folded is not None and not few
    height = target.few_rows if few else target.dense_rows
    return Blocking(
        height,
        packed=not dense_reads_array(task, target, height),
        written_out=task.down.taps if regular and not folded else 0,
        folded=folded,
    )


def _suits_boxes(task: Task, _target: Target) -> bool:
    """Long boxes of large planes."""
    if task.strided or task.down.taps <= MOST_BOX_ROWS or task.rows * task.width < LEAST_BOXED:
        return False
    return any(is_long_box(part) for group in task.groups for part in group)


def is_long_box(part: Part) -> bool:
    """Whether a term's taps along an axis are as many equal ones as `cpu.kernels.boxes` sums at once."""
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
"""Every kernel of a pass over planes, in order of preference."""


def choose(task: Task, target: Target) -> tuple[Kernel, Blocking]:
    """The kernel that computes a pass, and how."""
    kernel = next(kernel for kernel in KERNELS.values() if kernel.suits(task, target))
    return kernel, kernel.blocking(task, target)

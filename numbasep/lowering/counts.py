"""Counts the steps of a pass.  The counts follow the kernels that compute it."""

from __future__ import annotations

from dataclasses import dataclass

from .access import buffer_columns
from .steps import Steps, total
from .target import LINE_VECTORS, SQUARE_TAPS, STEP_ROWS, VECTORS, Target
from .task import Part, Task

WRITTEN_RUNS = (
    0.3  # what a run of a column costs whose loop is written out, against one over any number of taps
)
FOLDED_RUNS = 3.2  # as many runs one takes that weighs two columns
RUN_TAPS = 4  # as many more taps down rows take as long as a further run, which begins with rows of its own
SLOT_TAPS = 2  # taps along a row that take as long as a slot of short rows, whose weights are loaded, too
BOX_OPERATIONS = 6  # of equal taps that are summed as a box
BOX_ROWS = 4  # rows of a block of packed boxes


@dataclass(frozen=True, slots=True)
class Blocking:
    """How a kernel goes about a pass."""

    height: int
    """Rows of output that are computed at a time."""
    packed: bool = False
    """Whether rows are packed first, extended beyond the edges; otherwise they are read from the array."""
    written_out: int = 0
    """Taps of a column whose loop is written out; 0 if it runs over any number."""
    folded: bool = False
    """Whether columns are added to their mirror images before taps weigh them."""


def _packed(task: Task) -> Steps:
    """What every pass takes that packs its rows first."""
    rows = task.count * task.sources * task.rows_read
    read = rows * task.reach
    return Steps(
        packed=read,
        stored=task.numbers,
        converted=(0 if task.plain_in else read) + (0 if task.plain_out else task.numbers),
        rows=rows + task.count * task.rows,
        edges=rows * (task.along.taps - 1),
    )


def _repacked(task: Task) -> Steps:
    """As `_packed`, where the vertical sums store what they make."""
    return _packed(task)._replace(stored=0)


def _up(size: int, block: int) -> int:
    return -(-size // block) * block


def dense_steps(task: Task, blocking: Blocking, target: Target) -> Steps:
    """`cpu.kernels.dense`."""
    assert task.weights is not None
    lanes, height, taps, runs = (
        target.lanes(task.item),
        blocking.height,
        task.weights.taps,
        1.0 * task.weights.runs,
    )
    blocks = task.count * -(-task.rows // height)
    numbers = blocks * height * _up(task.width, lanes)
    products: float = taps
    if blocking.folded:  # every row of a run is read twice and added up, for all rows of a block
        assert task.weights.folded is not None
        products, runs = task.weights.folded[0] * (1 + 1 / height), task.weights.folded[1] * FOLDED_RUNS
    elif blocking.written_out:
        runs *= WRITTEN_RUNS
    dense = Steps(calls=blocks, dense=numbers, dense_taps=numbers * products, dense_runs=numbers * runs)
    if blocking.packed:
        return total(dense, _packed(task))
    rows = blocks * task.sources * (height + task.down.taps - 1)
    converted = 0 if task.plain_out else task.numbers
    return total(dense, Steps(rows=rows, edges=rows * task.span, converted=converted))


def dense_sum_steps(task: Task, blocking: Blocking, target: Target) -> Steps:
    """Weights without structure by the vertical sums of each of their columns."""
    assert task.weights is not None
    lanes, height, taps = target.lanes(task.item), blocking.height, task.weights.taps
    rows = task.count * _up(task.rows, height)
    numbers = rows * _up(task.width, VECTORS * lanes)
    read, runs = task.count * task.sources * task.rows_read, task.weights.runs * task.row_phases
    served = numbers * (taps + runs * (height - 1)) / height
    steps = Steps(
        blocks=rows / height, vertical=numbers, vertical_taps=numbers * taps, dense_runs=numbers * runs
    )
    if not blocking.packed:
        converted = (0 if task.plain_in else served) + (0 if task.plain_out else task.numbers)
        return total(steps, Steps(rows=read, edges=2 * read * task.span, converted=converted))
    packed = _repacked(task)
    return total(steps, packed, Steps(vertical=packed.packed if task.along.step > 1 else 0))


def separable_steps(task: Task, blocking: Blocking, target: Target) -> Steps:
    """`cpu.kernels.separable`: vertical sums into row buffers, horizontal sums along them."""
    lanes, height, groups = target.lanes(task.item), blocking.height, groups_of(task)
    parts = [part for group in groups for part in group]
    rows = task.count * _up(task.rows, height)
    numbers = rows * _up(task.reach, VECTORS * lanes)
    written = task.count * task.rows * _up(task.width, LINE_VECTORS * lanes)
    columns, split = sum(group[0].columns for group in groups), task.along.step > 1
    along = task.along.taps > 1 or split
    taps = sum(part.rows + RUN_TAPS * (part.row_runs - 1) for part in parts)
    segment = buffer_columns(height, len(groups), task.item, task.inner, task.along.taps) * task.inner
    served = (
        numbers * (sum(part.rows for part in parts) + len(parts) * (height - 1) * task.row_phases) / height
    )
    converted = 0 if task.plain_in or blocking.packed else served
    steps = Steps(
        blocks=rows / height * -(-task.width * task.along.step // segment),
        vertical=numbers * len(groups) * (1 + split), vertical_taps=numbers * taps,
        horizontal=written * along, horizontal_taps=written * columns * along,
        edges=0 if blocking.packed else rows * task.span * len(groups),
        converted=converted + (0 if task.plain_out or blocking.packed else task.numbers),
    )  # fmt: skip
    return total(steps, _repacked(task)) if blocking.packed else steps


def short_row_steps(task: Task, _blocking: Blocking, _target: Target) -> Steps:
    """`cpu.kernels.short_rows`: each of its slots loads as many weights as numbers."""
    return Steps(
        horizontal=SLOT_TAPS * task.numbers, horizontal_taps=SLOT_TAPS * task.slots * task.numbers,
        converted=(1 + task.slots) * task.numbers if task.converted else 0,
    )  # fmt: skip


def groups_of(task: Task) -> tuple[tuple[Part, ...], ...]:
    """The terms of a separable pass; dense weights in one column are one."""
    if task.weights is None:
        return task.groups
    columns = 1 if task.along.taps == 1 else task.along.taps
    return ((Part(task.weights.taps, task.weights.runs, False, columns, False),),)


def box_steps(task: Task, _blocking: Blocking, target: Target) -> Steps:
    """Terms some of which are boxes, on rows that are packed first (`cpu.kernels.boxes`)."""
    numbers, block = task.numbers, target.box_vectors * target.lanes(task.item)
    rows, steps = task.count * _up(task.rows, BOX_ROWS), task.count * -(-task.rows // STEP_ROWS)
    calls = column_taps = runs = line_taps = squares = square_taps = row_boxes = column_boxes = 0
    for group in task.groups:
        columns, along = group[0].columns, group[0].columns > 1
        down = len(group) > 1 or group[0].rows > 1 or not along
        calls += along + down
        wide = task.width + (task.span if along else 0)
        for part in group if down else ():
            if part.row_box and part.rows >= STEP_ROWS:
                row_boxes += _up(wide, block)
            else:
                column_taps += _up(wide, block) * part.rows
                runs += _up(wide, block) * part.row_runs
        if not along:
            continue
        if group[0].column_box and columns >= STEP_ROWS:
            column_boxes += 1
        elif columns >= SQUARE_TAPS:
            squares, square_taps = squares + 1, square_taps + columns
        else:
            line_taps += columns
    boxes = Steps(
        calls=steps * calls, column_taps=rows * column_taps, runs=rows * runs, line_taps=numbers * line_taps,
        squares=numbers * squares, square_taps=numbers * square_taps, terms=numbers * (len(task.groups) - 1),
        row_boxes=rows * row_boxes, column_boxes=numbers * column_boxes,
    )  # fmt: skip
    return total(_packed(task), boxes)


def operations(task: Task, kernel: str, blocking: Blocking) -> float:
    """Multiply-adds or additions for one number of output, as they are executed."""
    if task.slots:
        return task.slots
    if task.weights is not None:
        folded = task.weights.folded if blocking.folded else None
        return max(folded[0] if folded else task.weights.taps, 1)
    done, left_out = 0, task.along.step

    def taken(taps: int, box: bool) -> int:
        return BOX_OPERATIONS if kernel == "box" and box and taps >= STEP_ROWS else taps if taps > 1 else 0

    for group in task.groups:
        rows = [taken(part.rows, part.row_box) * left_out for part in group]
        once = taken(group[0].columns, group[0].column_box)
        done += max(sum(rows) + once + (len(rows) > 1) * rows.count(0), 1)
    return done

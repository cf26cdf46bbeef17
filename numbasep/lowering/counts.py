"""Counts the steps of a pass, following the code of the kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .access import MOST_WAYS, buffer_columns, rows_in_a_set
from .steps import Steps, total
from .target import LINE_VECTORS, SQUARE_TAPS, STEP_ROWS, VECTORS, Target
from .task import Part, Task

# Intermediates up to the first size stay in a second-level cache; of those from the second size on, nothing stays.
FAR_BYTES = (512 << 10, 4 << 20)
WAY_BYTES, WAYS = 128 << 10, 8  # of this cache: rows WAY_BYTES apart share a set, which holds WAYS lines
BOX_OPERATIONS = 6  # operations per element for a box of any length
BOX_ROWS = 4  # rows of a block in box kernels

PARALLEL_WORK = 4_000_000  # least number of operations for which threads share a pass


def is_shared(numbers: float, operations: float) -> bool:
    """Return whether threads share a pass with this number of output elements and of operations per element."""
    return numbers * (operations + 4) >= PARALLEL_WORK


@dataclass(frozen=True, slots=True)
class Blocking:
    """Blocking of a kernel for one pass."""

    height: int
    """Number of output rows that are computed at a time."""
    packed: bool = False
    """Whether rows are packed first, extended beyond the edges; else they are read from the array."""
    written_out: int = 0
    """Number of taps per column in an unrolled loop; 0 if the loop is not unrolled."""
    folded: bool = False
    """Whether mirrored columns are added before the multiplication by taps."""
    shared: bool = False
    """Whether several threads share the pass."""


def _packed(task: Task, *, stored: bool = True) -> Steps:
    """Return the steps to pack rows; `stored` says that results are stored in a separate step, too."""
    rows = task.count * task.sources * task.rows_read
    read, columns = rows * task.reach, task.planes.columns
    apart_in, apart_out = columns.stride_in != task.inner, columns.stride_out != task.inner
    return Steps(
        packed=read,
        apart=read * apart_in + task.numbers * apart_out,
        converted=0 if task.plain_in else read,
        stored=task.numbers if stored else 0,
        rounded=0 if task.plain_out else task.numbers,
        rows=rows + task.count * task.rows,
        edges=rows * (task.along.taps - 1),
    )


def far_bytes(moved: float, held: float) -> float:
    """Return the bytes out of `moved` that do not stay in the second-level cache if `held` bytes are used at a time."""
    least, most = FAR_BYTES
    share = math.log(max(held, 1) / least) / math.log(most / least)
    return moved * min(max(share, 0.0), 1.0)


def _read_again(task: Task, height: int, served: float) -> float:
    """Return the bytes of rows that are evicted from the second-level cache before the next block reads them."""
    pitch, rows = abs(task.planes.rows.stride_in) * task.item_in, task.window_rows(height)
    apart = WAY_BYTES // math.gcd(WAY_BYTES, max(pitch, 1))  # adjacent rows that share no set
    if rows <= WAYS * apart or task.width * task.item_in * rows < FAR_BYTES[0]:
        return 0.0
    return max(served - task.count * task.sources * task.rows_read * task.reach, 0.0) * task.item_in


def _up(size: int, block: int) -> int:
    return -(-size // block) * block


def dense_steps(task: Task, blocking: Blocking, target: Target) -> Steps:
    """Return the steps of `cpu.kernels.dense`."""
    weights, height = task.weights, blocking.height
    assert weights is not None
    blocks = task.count * -(-task.rows // height)
    numbers = blocks * height * _up(task.width, target.lanes(task.item))
    dense = Steps(dense_blocks=blocks, dense=numbers)
    if blocking.folded:
        assert weights.folded is not None
        dense = dense._replace(
            folded_taps=numbers * weights.folded[0], folded_runs=numbers * weights.folded[1]
        )
    elif blocking.written_out:
        dense = dense._replace(dense_taps=numbers * weights.taps, written_runs=numbers * weights.runs)
    else:
        dense = dense._replace(dense_taps=numbers * weights.taps, dense_runs=numbers * weights.runs)
    if blocking.packed:
        return total(dense, _packed(task))
    window = height + task.down.taps - 1
    pitch = abs(task.planes.rows.stride_in) * task.item_in
    crowded = rows_in_a_set(window, pitch, task.span * task.item) > MOST_WAYS
    rows = blocks * task.sources * window
    return dense._replace(
        dense_rows=rows,
        dense_ends=rows * (task.along.taps - 1),
        crowded=numbers * window / height * weights.columns if crowded else 0,
        rounded=0 if task.plain_out else task.numbers,
    )


def dense_sum_steps(task: Task, blocking: Blocking, target: Target) -> Steps:
    """Return the steps of dense weights by vertical sums for each column of weights."""
    assert task.weights is not None
    lanes, height, taps = target.lanes(task.item), blocking.height, task.weights.taps
    rows = task.count * _up(task.rows, height)
    numbers = rows * _up(task.width, VECTORS * lanes)
    runs = task.weights.runs * task.row_phases
    served = numbers * (taps + runs * (height - 1)) / height
    steps = Steps(
        blocks=rows / height, vertical=numbers, vertical_taps=numbers * taps, dense_runs=numbers * runs
    )
    if not blocking.packed:
        read = task.count * task.sources * task.rows_read
        return steps._replace(
            dense_rows=read, dense_ends=2 * read * (task.along.taps - 1),
            widened=0 if task.plain_in else served, rounded=0 if task.plain_out else task.numbers,
        )  # fmt: skip
    packed = _packed(task, stored=False)
    return total(steps, packed, Steps(vertical=packed.packed if task.along.step > 1 else 0))


def separable_steps(task: Task, blocking: Blocking, target: Target) -> Steps:
    """Return the steps of `cpu.kernels.separable`: vertical sums to row buffers, then horizontal sums."""
    lanes, height, groups = target.lanes(task.item), blocking.height, groups_of(task)
    parts = [part for group in groups for part in group]
    rows = task.count * _up(task.rows, height)
    numbers = rows * _up(task.reach, VECTORS * lanes)
    written = task.count * task.rows * _up(task.width, LINE_VECTORS * lanes)
    columns, split = sum(group[0].columns for group in groups), task.along.step > 1
    along = task.along.taps > 1 or split
    segment = buffer_columns(height, len(groups), task.item, task.inner, task.along.taps) * task.inner
    blocks = rows / height * -(-task.width * task.along.step // segment)
    window = sum(part.rows + (height - 1) * task.row_phases for part in parts)
    steps = Steps(
        blocks=blocks, block_rows=blocks * window,
        vertical=numbers * len(groups) * (1 + split),
        vertical_taps=numbers * sum(part.rows for part in parts),
        vertical_runs=numbers * sum(max(part.row_runs - 1, 0) for part in parts),
        horizontal=written * along, horizontal_taps=written * columns * along,
        horizontal_terms=written * (len(groups) - 1) * along,
    )  # fmt: skip
    if blocking.packed:
        return total(steps, _packed(task, stored=False))
    served = numbers * window / height
    buffers = height * len(groups) * segment * task.item
    return steps._replace(
        far=_read_again(task, height, served) + far_bytes(2 * numbers * len(groups) * task.item, buffers),
        sourced=served if task.sources > 1 else 0,
        ends=rows * (task.along.taps - 1) * len(groups),
        widened=0 if task.plain_in else served,
        rounded=0 if task.plain_out else task.numbers,
    )


def short_row_steps(task: Task, _blocking: Blocking, _target: Target) -> Steps:
    """Return the steps of `cpu.kernels.short_rows`, where each slot loads a weight for each number."""
    return Steps(
        short=task.numbers, slots=task.slots * task.numbers,
        widened=0 if task.plain_in else task.slots * task.numbers,
        rounded=0 if task.plain_out else task.numbers,
    )  # fmt: skip


def groups_of(task: Task) -> tuple[tuple[Part, ...], ...]:
    """Return the groups of terms of a separable pass; dense weights in one column are a single term."""
    if task.weights is None:
        return task.groups
    columns = 1 if task.along.taps == 1 else task.along.taps
    return ((Part(task.weights.taps, task.weights.runs, False, columns, False),),)


def box_steps(task: Task, _blocking: Blocking, target: Target) -> Steps:
    """Return the steps of `cpu.kernels.boxes`: terms with boxes, on packed rows."""
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
    """Return the executed multiply-adds or additions per number of output."""
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

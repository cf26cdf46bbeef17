"""What one pass over an array takes, counted in steps: which kernel filters it, and how often that does what.

The counts follow the CPU backend; `backends.program` groups terms.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from operator import add
from typing import NamedTuple

from numbasep.machine import Machine, Steps
from numbasep.target import block_rows

BLOCK_ROWS, BLOCK_VECTORS = 4, 3  # what the kernel of packed boxes computes at a time
BLOCK_WIDTH, LINE_WIDTH = 2, 4  # vectors of a block of vertical and of horizontal sums
BUFFER_BYTES = 24 << 10  # of the row buffers between them: half of a first-level cache
FEW_WEIGHTS = 25  # of a dense kernel that narrow vectors sum row by row
LEAST_ROW_BYTES = 4096  # of rows that dense kernels sum by vertical blocks
DENSE_ROWS = 14  # what the dense kernel computes at a time, with 32 registers
FEW_ROWS = 8  # as many where columns have few taps, whose loops are written out
FEW_TAPS = 7  # the most taps of such columns
MOST_WRITTEN_OUT = 15  # the most taps of columns whose loops are written out
WRITTEN_OUT = 1 << 16  # elements from which on they are, as that takes kernels of their own to be compiled
WRITTEN_RUNS = 0.3  # what a run of such a column costs, against loops over any number of taps
MOST_WAYS = 8  # rows that may meet in one set of a first-level cache: more, and dense kernels pack them
CACHE_LINE, CACHE_SETS = 64, 64  # of a first-level cache
FOLDED_RUNS = 3.2  # as many runs one takes that weighs two columns
RUN_TAPS = 4  # as many more taps down rows take as long as a further run, which begins with rows of its own
STEP_ROWS = 16  # rows of a step: also the fewest equal taps that are summed as a box
SQUARE_TAPS = 6  # taps along rows from which these are transposed
MOST_BOX_ROWS = 40  # row taps up to which boxes are summed tap by tap, straight from the array
LEAST_BOXED = 1 << 19  # numbers of a plane from which more are summed as boxes: packing rows then costs less
SLOT_TAPS = 2  # taps along a row that take as long as a slot of short rows, whose weights are loaded, too
MOST_SPAN = 512  # numbers that taps along rows span of dense kernels that read the array


class Part(NamedTuple):
    """A separable term in one pass."""

    rows: int
    """Non-zero taps down the rows."""
    row_runs: int
    """Runs of adjacent ones."""
    row_box: bool
    """Whether they are equal and adjacent."""
    columns: int
    """Non-zero taps along the columns."""
    column_box: bool
    """Whether these are equal and adjacent."""


class Pass(NamedTuple):
    """The sizes of one pass of the plane driver."""

    planes: int
    rows: int
    row_taps: int
    width: int
    """Numbers of a row of output."""
    column_taps: int
    inner: int
    """Numbers from one column to the next."""
    sources: int
    """Input planes of an output plane."""
    stored: bool
    """Whether both arrays hold numbers of the compute type; otherwise they are converted."""
    filled: bool = False
    """Whether rows are continued by a number that is not zero."""
    row_step: int = 1
    """Input rows from one row of output to the next."""
    column_step: int = 1
    """And columns."""

    @property
    def numbers(self) -> int:
        """Numbers of output."""
        return self.planes * self.rows * self.width

    @property
    def strided(self) -> bool:
        """Whether rows or columns are left out."""
        return self.row_step > 1 or self.column_step > 1

    @property
    def rows_read(self) -> int:
        """Rows of an input plane that are read."""
        return min((self.rows - 1) * self.row_step + self.row_taps, self.rows * self.row_taps)

    @property
    def reach(self) -> int:
        """Numbers of a row of input under the windows of a row of output."""
        return (self.width - self.inner) * self.column_step + self.column_taps * self.inner

    @property
    def row_phases(self) -> int:
        """Runs that adjacent taps down the rows are cut into."""
        return min(self.row_step, self.row_taps)

    def window_rows(self, height: int) -> int:
        """Rows under the windows of `height` rows of output."""
        return (height - 1) * self.row_step + self.row_taps


def _packed(shape: Pass) -> Steps:
    """What every pass takes that packs its rows first."""
    rows = shape.planes * shape.sources * shape.rows_read
    read = rows * shape.reach
    return Steps(
        packed=read,
        stored=shape.numbers,
        converted=0 if shape.stored else read + shape.numbers,
        rows=rows + shape.planes * shape.rows,
        edges=rows * (shape.column_taps - 1),
    )


def dense_pass(shape: Pass, taps: float, runs: float, folded: bool, machine: Machine, which: int) -> Steps:
    """One pass of weights without structure, in `runs` runs of adjacent taps down the rows, `folded` or not."""
    lanes, height = int(machine.lanes[which]), DENSE_ROWS if machine.registers >= 32 else DENSE_ROWS // 2
    span, item = (shape.column_taps - 1) * shape.inner, 4 << which
    plain = shape.stored and which == 0
    few = few_weights(taps, shape.row_taps, shape.width * item, span * item, height, plain=plain)
    if shape.strided or vertical_sums_pay(shape.width * item, 4 * int(machine.lanes[0]), few=few):
        return _dense_blocks(shape, taps, runs, machine, which)
    if is_written_out(shape, taps, runs, machine) and not folded:
        height = FEW_ROWS if shape.row_taps <= FEW_TAPS else height
        runs = runs * WRITTEN_RUNS
    blocks = shape.planes * -(-shape.rows // height)
    numbers = blocks * height * _blocks(shape.width, lanes)
    if folded:  # every row of a run is read twice and added up, for all rows of a block
        taps, runs = taps * (1 + 1 / height), runs * FOLDED_RUNS
    dense = Steps(calls=blocks, dense=numbers, dense_taps=numbers * taps, dense_runs=numbers * runs)
    ways = rows_in_a_set(height + shape.row_taps - 1, shape.width * item, span * item)
    crowded = height != FEW_ROWS and ways > MOST_WAYS
    if not shape.stored or shape.width < lanes or span > MOST_SPAN or crowded:
        return plus(_packed(shape), dense)
    rows = blocks * shape.sources * (height + shape.row_taps - 1)
    return plus(Steps(rows=rows, edges=rows * span), dense)


def vertical_sums_pay(row_bytes: int, vector_bytes: int, *, few: bool) -> bool:
    """Whether weights without structure are summed by blocks of `kernels.vertical`, not by `kernels.dense`.

    On vectors narrower than AVX-512's, and on rows long enough that their packed ends cost little; not those that are
    `few`.
    """
    return vector_bytes < 64 and row_bytes >= LEAST_ROW_BYTES and not few


def few_weights(taps: float, row_taps: int, pitch: int, span: int, height: int, *, plain: bool) -> bool:
    """Whether `kernels.dense` reads rows where they are and keeps the weights of a column in registers.

    `plain` is whether rows are stored as float32 that sums are taken in, `height` the rows of its blocks, `pitch` the
    bytes from row to row, and `span` those under a window.
    """
    return plain and taps <= FEW_WEIGHTS and rows_in_a_set(height + row_taps - 1, pitch, span) <= MOST_WAYS


def _dense_blocks(shape: Pass, taps: float, runs: float, machine: Machine, which: int) -> Steps:
    """Weights without structure by vertical sums in each of their columns."""
    lanes, height, item = int(machine.lanes[which]), block_rows(machine.registers), 4 << which
    rows = shape.planes * _blocks(shape.rows, height)
    numbers = rows * _blocks(shape.width, BLOCK_WIDTH * lanes)
    read, runs = shape.planes * shape.sources * shape.rows_read, runs * shape.row_phases
    pitch = shape.width * shape.column_step * item
    ways = rows_in_a_set(shape.window_rows(height), pitch, shape.column_taps * item)
    steps = Steps(
        blocks=rows / height, vertical=numbers, vertical_taps=numbers * taps, dense_runs=numbers * runs,
        converted=0 if shape.stored else numbers * (taps + runs * (height - 1)) / height + shape.numbers,
    )  # fmt: skip
    short = shape.width * shape.column_step * item < LEAST_ROW_BYTES
    if shape.filled or ways > MOST_WAYS or short or shape.column_step > 1:
        packed = _packed(shape)._replace(stored=0, converted=0 if shape.stored else shape.numbers)
        split = Steps(vertical=packed.packed if shape.column_step > 1 else 0)
        return plus(plus(steps, split), packed)
    return plus(steps, Steps(rows=read, edges=2 * read * (shape.column_taps - 1) * shape.inner))


def is_written_out(shape: Pass, taps: float, runs: float, machine: Machine) -> bool:
    """Whether `kernels.sweeps` sums a dense kernel: whole columns of few taps, for arrays that are worth it."""
    whole = taps == runs * shape.row_taps and shape.sources == 1
    few = 1 < shape.row_taps <= MOST_WRITTEN_OUT
    return bool(machine.registers >= 32 and whole and few and shape.numbers >= WRITTEN_OUT)


@functools.lru_cache(maxsize=256)
def rows_in_a_set(rows: int, pitch: int, span: int) -> int:
    """The most of `rows`, `pitch` bytes apart, whose next `span` bytes meet in one set of a first-level cache."""
    lines = 2 + span // CACHE_LINE
    return max(
        Counter(
            (row * pitch // CACHE_LINE + line) % CACHE_SETS for row in range(rows) for line in range(lines)
        ).values()
    )


def pays_as_boxes(row_taps: int, numbers: int) -> bool:
    """Whether equal taps of a pass are summed as boxes, on packed rows, if a plane has so many `numbers` of output."""
    return row_taps > MOST_BOX_ROWS and numbers >= LEAST_BOXED


def _is_box(equal: bool, taps: int) -> bool:
    return equal and taps >= STEP_ROWS


def buffer_columns(rows: int, terms: int, item: int, inner: int, taps: int) -> int:
    """Columns of a segment: its row buffers fill half a first-level cache, yet it is far longer than the halo."""
    return max(BUFFER_BYTES // (rows * max(terms, 1) * item * inner), 4 * taps, 256 // inner)


def _buffered_pass(
    shape: Pass, groups: Sequence[Sequence[Part]], machine: Machine, which: int, *, packed: bool
) -> Steps:
    """One pass of `kernels.separable`: vertical sums into row buffers, horizontal sums along them."""
    lanes, height = int(machine.lanes[which]), block_rows(machine.registers)
    parts = [part for group in groups for part in group]
    span = (shape.column_taps - 1) * shape.inner
    rows = shape.planes * _blocks(shape.rows, height)
    numbers = rows * _blocks(shape.reach, BLOCK_WIDTH * lanes)
    written = shape.planes * shape.rows * _blocks(shape.width, LINE_WIDTH * lanes)
    columns, split = sum(group[0].columns for group in groups), shape.column_step > 1
    along = shape.column_taps > 1 or split
    taps = sum(part.rows + RUN_TAPS * (part.row_runs - 1) for part in parts)
    segment = buffer_columns(height, len(groups), 4 << which, shape.inner, shape.column_taps) * shape.inner
    served = (
        numbers * (sum(part.rows for part in parts) + len(parts) * (height - 1) * shape.row_phases) / height
    )
    steps = Steps(
        blocks=rows / height * -(-shape.width * shape.column_step // segment),
        vertical=numbers * len(groups) * (1 + split), vertical_taps=numbers * taps,
        horizontal=written * along, horizontal_taps=written * columns * along,
        edges=0 if packed else rows * span * len(groups),
        converted=0 if shape.stored else (0 if packed else served) + shape.numbers,
    )  # fmt: skip
    if not packed:
        return steps
    return plus(steps, _packed(shape)._replace(stored=0, converted=0 if shape.stored else shape.numbers))


def separable_pass(shape: Pass, groups: Sequence[Sequence[Part]], machine: Machine, which: int) -> Steps:
    """One pass of separable terms; those of a group share their taps along the columns, and that work."""
    boxes = any(_is_box(part.row_box, part.rows) or _is_box(part.column_box, part.columns)
                for group in groups for part in group)  # fmt: skip
    if boxes and not shape.strided and pays_as_boxes(shape.row_taps, shape.rows * shape.width):
        return _boxed_pass(shape, groups, int(machine.lanes[which]))
    packed = shape.width * shape.column_step < BLOCK_WIDTH * machine.lanes[which]
    return _buffered_pass(shape, groups, machine, which, packed=packed)


def _boxed_pass(shape: Pass, groups: Sequence[Sequence[Part]], lanes: int) -> Steps:
    """Terms some of which are boxes, on rows that are packed first (`kernels.boxes`)."""
    numbers, block = shape.numbers, BLOCK_VECTORS * lanes
    rows, steps = shape.planes * _blocks(shape.rows, BLOCK_ROWS), shape.planes * -(-shape.rows // STEP_ROWS)
    calls = column_taps = runs = line_taps = squares = square_taps = row_boxes = column_boxes = 0
    for group in groups:
        columns, along = group[0].columns, group[0].columns > 1
        down = len(group) > 1 or group[0].rows > 1 or not along
        calls += along + down
        wide = shape.width + ((shape.column_taps - 1) * shape.inner if along else 0)
        for part in group if down else ():
            if _is_box(part.row_box, part.rows):
                row_boxes += _blocks(wide, block)
            else:
                column_taps += _blocks(wide, block) * part.rows
                runs += _blocks(wide, block) * part.row_runs
        if not along:
            continue
        if _is_box(group[0].column_box, columns):
            column_boxes += 1
        elif columns >= SQUARE_TAPS:
            squares, square_taps = squares + 1, square_taps + columns
        else:
            line_taps += columns
    return plus(
        _packed(shape),
        Steps(
            calls=steps * calls, column_taps=rows * column_taps, runs=rows * runs, line_taps=numbers * line_taps,
            squares=numbers * squares, square_taps=numbers * square_taps, terms=numbers * (len(groups) - 1),
            row_boxes=rows * row_boxes, column_boxes=numbers * column_boxes,
        ),
    )  # fmt: skip


def short_rows_pass(numbers: float, slots: int, stored: bool) -> Steps:
    """One pass along short rows: each of its slots loads as many weights as numbers (`shapes`)."""
    return Steps(
        horizontal=SLOT_TAPS * numbers, horizontal_taps=SLOT_TAPS * slots * numbers,
        converted=0 if stored else (1 + slots) * numbers,
    )  # fmt: skip


def plus(a: Steps, b: Steps) -> Steps:
    """Steps of two passes together."""
    return Steps._make(map(add, a, b))


def _blocks(size: int, block: int) -> int:
    return -(-size // block) * block

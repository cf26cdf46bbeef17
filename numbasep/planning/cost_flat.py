"""Predicted time of a flat kernel."""

import math

from ..arguments.problem import Problem
from ..lowering.counts import is_shared
from ..lowering.flat import FIRST_LEVEL_BYTES, ROWS_IN_REGISTERS, VECTORS, sums_bytes
from ..lowering.lower import one_pass
from ..lowering.steps import Steps
from ..lowering.task import Task
from .cost import PlannedPass, Work, bytes_per_pixel
from .facts import FlatFacts
from .machine import Machine, uncached_share

FAR_ROW, MOVE = 0.6, 1.5  # costs, in additions of rows: loading one from the second-level cache, saving a sum
FAR_SUM = 1.6  # cost of a shifted sum from the second-level cache, relative to one from the first-level cache
SMALL = 0.6  # relative time if bytes are summed as 16-bit integers
PLANES = 2.0  # how often each plane of a volume is packed


def in_registers(problem: Problem, machine: Machine) -> bool:
    """Return whether sums of a flat kernel stay in registers: for vectors of 64 bytes and narrow windows."""
    return machine.target.vector_bytes >= 64 and _extra(problem, _task(problem), machine) in VECTORS


def _sum_bytes(problem: Problem, task: Task) -> int:
    """Return the size of an element of the sums in registers: 2 for sums of bytes."""
    return 2 if task.inner == 1 and sums_bytes(problem) else task.item


def _extra(problem: Problem, task: Task, machine: Machine) -> int:
    """Return the number of vectors by which sums are wider than results."""
    return -(-task.span * _sum_bytes(problem, task) // machine.target.vector_bytes)


def flat_operations(problem: Problem, flat: FlatFacts, machine: Machine) -> int:
    """Return the additions and multiply-adds per output element."""
    return flat.paired_operations if in_registers(problem, machine) else flat.operations


def _paired_rows(flat: FlatFacts) -> float:
    """Return the rows added in registers per output row; two output rows share the additions of common rows."""
    return min(flat.rows, (flat.rows + flat.row_loads) / 2)


def _task(problem: Problem) -> Task:
    return one_pass(problem, math.prod(window.taps for window in problem.windows[:-2]))


def flat_passes(problem: Problem, flat: FlatFacts, machine: Machine) -> tuple[PlannedPass, ...]:
    """Return the pass that computes a flat kernel, or no pass for an empty output."""
    if not problem.pixels:
        return ()
    operations = flat_operations(problem, flat, machine)
    moved = bytes_per_pixel(problem) * problem.pixels
    shared = is_shared(problem.pixels, flat.operations)
    work = Work(_steps(problem, flat, machine), moved * uncached_share(moved), False, 1, shared)
    axes = tuple(window.axis for window in problem.windows)
    seconds = work.seconds(problem, machine)
    return (PlannedPass("flat", axes, seconds, moved, operations * problem.pixels, work=work),)


def _steps(problem: Problem, flat: FlatFacts, machine: Machine) -> Steps:
    """Count the steps of the pass, from which its time follows."""
    task = _task(problem)
    packed = task.count * task.rows * (PLANES if task.sources > 1 else 1.0)
    steps = Steps(
        packed=packed * task.width,
        converted=0 if task.plain_in else packed * task.width,
        stored=task.numbers,
        rounded=0 if task.plain_out else task.numbers,
        rows=packed + task.count * task.rows,
        edges=packed * (task.along.taps - 1),
    )
    if in_registers(problem, machine):
        item, extra = _sum_bytes(problem, task), _extra(problem, task, machine)
        vectors = VECTORS[extra][0]
        block = vectors * machine.target.vector_bytes // item
        wide = 1 + extra / vectors
        window = task.sources * (task.down.taps + ROWS_IN_REGISTERS - 1)
        cached = window * block * wide * item <= FIRST_LEVEL_BYTES
        far = window / ROWS_IN_REGISTERS if cached else task.sources * (task.down.taps + 1) / 2 * wide
        numbers = task.count * task.rows * -(-task.width // block) * block
        down = (_paired_rows(flat) + MOVE * flat.moves) * wide + FAR_ROW * far
        share = SMALL if item == 2 else 1.0
        return steps._replace(flat_rows=share * numbers * down, flat_columns=share * numbers * flat.columns)
    row = 2 * task.item * (flat.sums + 1)  # bytes per column of the row buffers of two output rows
    segment = max(FIRST_LEVEL_BYTES // row - task.span, 2 * task.span, 1)
    summed = task.numbers * (1 + task.span / min(segment, task.width))
    far = FAR_SUM if row * (segment + task.span) > 1.5 * FIRST_LEVEL_BYTES else 1.0
    return steps._replace(
        flat_loads=summed * (flat.row_loads + flat.sums), flat_shifted=far * task.numbers * flat.shifted
    )

"""Predicted time of a flat kernel."""

from __future__ import annotations

import math
from operator import mul

from ..arguments.problem import Problem
from ..lowering.lower import one_pass
from ..lowering.steps import Steps
from ..lowering.task import Task
from .cost import PARALLEL_WORK, PlannedPass, bytes_per_pixel, precision, thread_count
from .facts import FlatFacts
from .machine import Machine

# In multiply-adds down packed columns: adding a vector of a row to sums in registers, from the first-level cache and
# from the second, and moving a vector of these; loading and adding a vector of a row elsewhere, or storing one.
ROW, FAR_ROW, MOVE, VECTOR = 2.4, 4.8, 7.2, 3.3
COLUMN, SHIFTED = 1.6, 1.3  # in multiply-adds along rows: adding a shifted sum, in registers and elsewhere
BLOCK, EXTRA = 8, 4  # vectors of results in registers, and at most by which their sums are wider
SMALL = 0.6  # of that is taken by bytes without sign, which are summed up as 16-bit integers
PLANES = 1.3  # times that each plane of a volume is packed
FIRST_LEVEL_BYTES = 32 << 10  # of a cache


def in_registers(task: Task, machine: Machine) -> bool:
    """Whether the sums of a flat kernel stay in registers: vectors of 64 bytes, few of them under the window."""
    lanes = machine.target.lanes(task.item)
    return machine.target.vector_bytes >= 64 and task.span <= EXTRA * lanes


def flat_operations(problem: Problem, flat: FlatFacts, machine: Machine) -> int:
    """Additions and multiply-adds for an output element."""
    return flat.rows + flat.columns if in_registers(_task(problem), machine) else flat.operations


def _task(problem: Problem) -> Task:
    return one_pass(problem, math.prod(window.taps for window in problem.windows[:-2]))


def flat_passes(problem: Problem, flat: FlatFacts, machine: Machine) -> tuple[PlannedPass, ...]:
    """The pass of shifted sums of rows."""
    if not problem.pixels:
        return ()
    task, operations = _task(problem), flat_operations(problem, flat, machine)
    units = machine.steps[precision(problem)]
    threads = thread_count(problem, machine)
    if problem.pixels * (operations + 4) < PARALLEL_WORK:
        threads = 1
    work: float = sum(map(mul, _steps(task, flat, machine), units))
    moved = bytes_per_pixel(problem) * problem.pixels
    start = machine.thread_seconds if threads > 1 else 0.0
    seconds = start + work / threads + machine.copy_seconds(moved, threads)
    axes = tuple(window.axis for window in problem.windows)
    return (PlannedPass("flat", axes, seconds, moved, operations * problem.pixels),)


def _steps(task: Task, flat: FlatFacts, machine: Machine) -> Steps:
    packed = task.count * task.rows * (PLANES if task.sources > 1 else 1.0)
    lanes = machine.target.lanes(task.item)
    if in_registers(task, machine):
        block = BLOCK * lanes + task.span
        small = task.inner == 1 and not flat.weighted and task.item == 4 and task.item_in == 1
        item = 2 if small else task.item
        cached = block * task.sources * (task.down.taps + 3) * item <= FIRST_LEVEL_BYTES
        each = (ROW if cached else FAR_ROW) * block / (BLOCK * lanes)
        share = SMALL if small else 1.0
        down, along = share * (each * flat.rows + MOVE * flat.moves), share * COLUMN * flat.columns
    else:
        down, along = VECTOR * (flat.row_loads + flat.sums), SHIFTED * flat.shifted
    return Steps(
        packed=packed * task.width,
        stored=task.numbers,
        converted=task.numbers if task.converted else 0,
        rows=packed + task.count * task.rows,
        edges=packed * task.along.taps,
        column_taps=task.numbers * down,
        horizontal_taps=task.numbers * along,
    )

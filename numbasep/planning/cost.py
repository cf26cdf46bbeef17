"""Predicted time of a call: the steps of its passes times the seconds of each step.

Counts are linear in the measured constants, so these can be fitted to a few timed calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from ..arguments.problem import Problem
from ..lowering.spec import PassSpec
from .facts import KernelFacts, RecursionFacts
from .machine import Machine

PARALLEL_WORK = 4_000_000  # element operations of a pass from which it is spread over threads


def thread_count(problem: Problem, machine: Machine) -> int:
    """Threads that a call on this problem may use."""
    return max(1, min(problem.workers or machine.threads, machine.threads))


def precision(problem: Problem) -> int:
    """0 for sums in float32, 1 for float64: an index into the pairs of a machine."""
    return int(problem.real_dtype.itemsize == 8)


def bytes_per_pixel(problem: Problem) -> float:
    """Bytes that cross the memory bus for one output element if every array is touched once."""
    read = math.prod(problem.shape) * problem.input_dtype.itemsize
    return read / max(problem.pixels, 1) + problem.output_dtype.itemsize


def number_parts(problem: Problem, facts: KernelFacts) -> int:
    """Real multiply-adds for one of the problem: 1, 2 for complex data, 4 if the kernel is complex, too."""
    if problem.compute_dtype.kind != "c":
        return 1
    return 4 if facts.complex else 2


@dataclass(frozen=True, slots=True)
class PlannedPass:
    """One pass of a plan: what runs, on which axes, and what it is predicted to take."""

    kernel: str
    """What computes it."""
    axes: tuple[int, ...]
    """Axes of the array that it filters."""
    seconds: float
    """Predicted time."""
    bytes: float
    """Bytes that it reads and writes."""
    operations: float
    """Multiply-adds or additions, of all results together."""
    spec: PassSpec | None = None
    """How it goes about it, for passes over planes."""


def plane_passes(
    problem: Problem, facts: KernelFacts, specs: Sequence[PassSpec], machine: Machine
) -> tuple[PlannedPass, ...]:
    """The passes of a call with their predicted times; a complex kernel goes through them twice."""
    return priced(problem, (2 if facts.complex else 1) * tuple(specs), machine)


def priced(problem: Problem, specs: Sequence[PassSpec], machine: Machine) -> tuple[PlannedPass, ...]:
    """Passes over planes with their predicted times."""
    moved = sum(spec.memory for spec in specs)
    found = []
    for number, spec in enumerate(specs):
        seconds = _pass_seconds(problem, spec, moved, machine, spec.starts - (number == 0))
        found.append(PlannedPass(spec.kernel, spec.axes, seconds, spec.bytes, spec.operations, spec))
    return tuple(found)


def _pass_seconds(problem: Problem, spec: PassSpec, moved: float, machine: Machine, further: int) -> float:
    """Predicted time of a pass of a call that moves so many bytes from and to memory.

    The first start of a call is a part of `Machine.call_seconds`; `further` ones are not.
    """
    units = machine.steps[precision(problem)]
    threads = thread_count(problem, machine)
    if _work(spec) < PARALLEL_WORK:
        threads = 1
    fixed = further * units.passes + (spec.starts * machine.thread_seconds if threads > 1 else 0.0)
    work: float = sum(map(mul, spec.steps, units))
    fused = spec.steps.vertical > 0 and not spec.steps.packed
    memory = machine.copy_seconds(moved, threads, fused=fused) * spec.memory / moved if moved else 0.0
    return fixed + work / threads + memory


def _work(spec: PassSpec) -> float:
    """Element operations of one start of a pass."""
    if spec.task is None:
        return spec.bytes
    return (spec.operations / max(len(spec.members), 1) + 4 * spec.task.numbers) / max(spec.slabs, 1)


def recursive_passes(
    problem: Problem, recursion: RecursionFacts, machine: Machine
) -> tuple[PlannedPass, ...]:
    """Recursive filters, one pass for each axis: their time does not depend on the number of taps."""
    threads, item = thread_count(problem, machine), problem.real_dtype.itemsize
    counts = [problem.pixels * math.prod(problem.steps[axis:]) for axis in range(len(problem.windows))]
    moved = 2 * item * sum(counts)
    found = []
    for count, window, margin in zip(counts, problem.windows, recursion.margins, strict=True):
        samples = count * (1 + 2 * margin / max(window.out_size * window.step, 1))
        memory = machine.copy_seconds(moved, threads) * count / max(sum(counts), 1)
        seconds = samples * machine.recursion_seconds[precision(problem)] / threads + memory
        found.append(
            PlannedPass(
                "recursive", (window.axis,), machine.call_seconds + seconds, 2 * item * count,
                recursion.operations * count,
            )
        )  # fmt: skip
    return tuple(found)


def check_seconds(problem: Problem, machine: Machine, threads: int = 0) -> float:
    """Predicted time of finding the largest magnitude of the input, for routes that need finite data.

    On so many threads; by default, on all that the call may use.
    """
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    numbers = math.prod(problem.shape) * parts
    threads = threads or thread_count(problem, machine)
    reading = machine.copy_seconds(numbers * problem.real_dtype.itemsize, threads)
    return (
        machine.check_call_seconds + reading + numbers * machine.check_seconds[precision(problem)] / threads
    )

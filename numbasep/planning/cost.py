"""Predicted time of a call: the steps of its passes times the seconds of each step.

The prediction is linear in the measured constants, so that these can be fitted to a few timed calls.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import NamedTuple

from ..arguments.problem import Problem
from ..lowering.spec import PassSpec
from ..lowering.steps import Steps
from .facts import KernelFacts, RecursionFacts
from .machine import Machine, uncached_share


def thread_count(problem: Problem, machine: Machine) -> int:
    """Return the number of threads that a call may use."""
    return max(1, min(problem.workers or machine.threads, machine.threads))


def precision(problem: Problem) -> int:
    """Return 0 for sums in float32, 1 for float64: the index into the pairs of a `Machine`."""
    return int(problem.real_dtype.itemsize == 8)


def bytes_per_pixel(problem: Problem) -> float:
    """Return the bytes transferred from and to memory per output element, if every array is read or written once."""
    read = math.prod(problem.shape) * problem.input_dtype.itemsize
    return read / max(problem.pixels, 1) + problem.output_dtype.itemsize


def number_parts(problem: Problem, facts: KernelFacts) -> int:
    """Return the real multiply-adds per multiply-add: 1, 2 for complex data, 4 if the kernel is complex, too."""
    if problem.compute_dtype.kind != "c":
        return 1
    return 4 if facts.complex else 2


class Work(NamedTuple):
    """The work of a pass, in counts that are multiplied by the constants of a machine."""

    steps: Steps
    """Number of steps of each kind."""
    uncached: float
    """Bytes of the caller's arrays that are transferred from and to memory because caches do not hold them."""
    fused: bool
    """Whether sums read the array directly, without packing its rows first (`Machine.stream_seconds`)."""
    starts: int
    """Number of times that the pass is started."""
    shared: bool
    """Whether threads share the pass."""

    def seconds(self, problem: Problem, machine: Machine) -> float:
        """Return the predicted time."""
        units = machine.steps[precision(problem)]
        threads = thread_count(problem, machine) if self.shared else 1
        fixed = self.steps.passes * units.passes + (
            self.starts * machine.thread_seconds if threads > 1 else 0.0
        )
        work: float = sum(map(mul, self.steps[1:], units[1:]))
        memory = machine.memory_rate(threads, fused=self.fused) * self.uncached
        return fixed + machine.work_seconds(work, threads) + memory


@dataclass(frozen=True, slots=True)
class PlannedPass:
    """One pass of a plan: its kernel, its axes and its predicted time."""

    kernel: str
    """Name of the kernel that computes the pass."""
    axes: tuple[int, ...]
    """Filtered axes of the array."""
    seconds: float
    """Predicted time."""
    bytes: float
    """Bytes read and written."""
    operations: float
    """Total number of multiply-adds or additions."""
    spec: PassSpec | None = None
    """Lowered form of a pass over planes; None for other passes."""
    work: Work | None = None
    """Work from which `seconds` was computed, if it is made of steps."""


def plane_passes(
    problem: Problem, facts: KernelFacts, specs: Sequence[PassSpec], machine: Machine
) -> tuple[PlannedPass, ...]:
    """Return the passes of a call with their predicted times; a complex kernel takes each pass twice."""
    return priced(problem, (2 if facts.complex else 1) * tuple(specs), machine)


def priced(problem: Problem, specs: Sequence[PassSpec], machine: Machine) -> tuple[PlannedPass, ...]:
    """Return passes over planes with their predicted times.

    `Machine.call_seconds` includes the first start of a call; further starts are counted here.
    """
    share = uncached_share(sum(spec.memory for spec in specs))
    found = []
    for number, spec in enumerate(specs):
        steps = spec.steps._replace(passes=spec.starts - (number == 0))
        fused = spec.steps.vertical > 0 and not spec.steps.packed
        work = Work(steps, spec.memory * share, fused, spec.starts, spec.blocking.shared)
        seconds = work.seconds(problem, machine)
        found.append(PlannedPass(spec.kernel, spec.axes, seconds, spec.bytes, spec.operations, spec, work))
    return tuple(found)


def recursive_passes(
    problem: Problem, recursion: RecursionFacts, machine: Machine
) -> tuple[PlannedPass, ...]:
    """Return the passes of recursive filters, one for each axis; their times do not depend on the number of taps."""
    threads, item = thread_count(problem, machine), problem.real_dtype.itemsize
    counts = [problem.pixels * math.prod(problem.steps[axis:]) for axis in range(len(problem.windows))]
    moved = 2 * item * sum(counts)
    found = []
    for count, window, margin in zip(counts, problem.windows, recursion.margins, strict=True):
        samples = count * (1 + 2 * margin / max(window.out_size * window.step, 1))
        memory = machine.copy_seconds(moved, threads) * count / max(sum(counts), 1)
        work = samples * machine.recursion_seconds[precision(problem)]
        seconds = machine.work_seconds(work, threads) + memory
        found.append(
            PlannedPass(
                "recursive", (window.axis,), machine.call_seconds + seconds, 2 * item * count,
                recursion.operations * count,
            )
        )  # fmt: skip
    return tuple(found)


def check_seconds(problem: Problem, machine: Machine, threads: int = 0) -> float:
    """Return the predicted time to find the largest magnitude of the input, for routes that need finite data.

    `threads` is the number of threads; 0 stands for all that the call may use.
    """
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    numbers = math.prod(problem.shape) * parts
    threads = threads or thread_count(problem, machine)
    return machine.check_time(numbers, threads, double=problem.real_dtype.itemsize == 8)

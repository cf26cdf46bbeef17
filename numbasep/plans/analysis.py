"""`Plan.analyze`: measured times of passes beside predicted ones."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.arrays import on_gpu
from ..execution import execute
from ..planning import cost, machine
from ..planning.cost import PlannedPass
from ..planning.memory_order import memory_order, reordered
from ..planning.planner import PlannedFilter
from ..planning.routes import CHECK
from . import report

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class MeasuredPass:
    """One pass of a plan, predicted and measured."""

    kernel: str
    """What computed it."""
    axes: tuple[int, ...]
    """Axes of the array that it filtered."""
    predicted: float
    """Predicted seconds."""
    measured: float
    """Shortest measured seconds."""
    bytes: float
    """Bytes that it read and wrote."""
    operations: float
    """Multiply-adds or additions, of all results together."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What `Plan.analyze` found; ``print`` shows it as a table."""

    plan: PlannedFilter
    """What was measured."""
    passes: tuple[MeasuredPass, ...]
    """Its passes, in order."""
    predicted: float
    """Predicted seconds of a call."""
    measured: float
    """Shortest measured seconds of a call."""
    repeats: int
    """Calls that were measured."""

    def __str__(self) -> str:
        """Table of the plan, then one of its passes."""
        return report.analysis_text(self)

    def _repr_html_(self) -> str:
        return report.analysis_html(self)


def analyze(plan: PlannedFilter, input: Any = None, repeats: int = 3) -> Analysis:
    """Run a plan pass by pass: see `numbasep.plans.Plan.analyze`."""
    count = _positive(repeats)
    problem = plan.problem
    if problem.device == "cuda" or on_gpu(input):
        raise ValueError(
            "analyze measures plans of the CPU; device is 'cuda' here: use the profiler of the GPU"
        )
    x = _random(plan) if input is None else np.asarray(input)
    out = np.empty(problem.out_shape, problem.output_dtype, order="F" if x.flags.fnc else "C")
    own = replace(plan, kernel=replace(plan.kernel))  # with prepared calls of its own, that are timed
    execute.run_plan(own, x, out)  # compiles, and refuses arrays of another shape or type
    whole = min(_seconds(lambda: execute.run_plan(own, x, out)) for _ in range(count))
    nested = memory_order(x)
    order = nested or tuple(range(x.ndim))
    if nested is not None:
        own, x, out = reordered(own, nested), x.transpose(nested), out.transpose(nested)
    if not problem.windows or 0 in problem.shape or not problem.pixels:
        return Analysis(plan, (), own.choice.chosen.seconds, whole, count)
    passes, laps = _passes(own, x, out, count)
    found = tuple(
        MeasuredPass(
            one.kernel, tuple(sorted(order[axis] for axis in one.axes)), one.seconds, lap, one.bytes, one.operations
        )
        for one, lap in zip(passes, laps, strict=True)
    )  # fmt: skip
    predicted = machine.current().call_seconds + sum(one.predicted for one in found)
    return Analysis(plan, found, predicted, whole, count)


def _passes(
    plan: PlannedFilter, x: Array, out: Array, count: int
) -> tuple[Sequence[PlannedPass], list[float]]:
    """The passes that run on these arrays, and the shortest time of each."""
    candidate = execute.applicable(plan, x, ignore_nan=False)
    checks = [one for one in plan.choice.chosen.passes if one.kernel == CHECK]
    check = [
        min(_seconds(lambda: execute.applicable(plan, x, ignore_nan=False)) for _ in range(count))
        for _ in checks
    ]
    chosen = plan.choice.chosen
    marked = candidate is not chosen and chosen.marks_gaps  # the chosen route leaves gaps out by itself
    planned = [one for one in (chosen if marked else candidate).passes if one.kernel != CHECK]
    laps = [math.inf] * len(planned)

    def run(clock: list[float] | None = None) -> None:
        execute.run_candidate(plan, candidate, x, out, None, clock)

    if candidate.runner == "planes" and not marked:
        run()
        launches = list(plan.kernel.launches.values())
        specs = [spec for launch in launches for spec in launch.specs]
        planned = list(cost.priced(plan.problem, specs, machine.current()))
        laps = [math.inf] * len(planned)
        for _ in range(count):
            for launch in launches:
                launch.clock = [0.0] * len(launch.specs)
            run()
            laps = list(map(min, laps, (lap for launch in launches for lap in launch.clock)))
    else:
        for _ in range(count):
            clock = [0.0] * len(planned)
            whole = _seconds(lambda clock=clock: run(clock))  # type: ignore[misc]
            laps = list(map(min, laps, clock if len(clock) > 1 else [whole]))
    return [*checks, *planned], [*check, *laps]


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _positive(repeats: Any) -> int:
    try:
        count = operator.index(repeats)
    except TypeError:
        raise TypeError(f"repeats must be a positive integer, got {repeats!r}") from None
    if count < 1 or isinstance(repeats, bool):
        raise ValueError(f"repeats must be a positive integer, got {repeats!r}")
    return count


def _random(plan: PlannedFilter) -> Array:
    """Random numbers of the shape, type and memory order of a plan."""
    problem = plan.problem
    values = np.random.default_rng(0).random(problem.shape, np.float32) * 100
    array = values.astype(problem.input_dtype)
    return np.asfortranarray(array) if getattr(plan, "order", "C") == "F" else array

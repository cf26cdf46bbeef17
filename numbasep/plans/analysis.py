"""`Plan.analyze`: measured and predicted times of passes."""

import html
import math
import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arguments.arrays import on_gpu
from ..execution import execute
from ..planning import cost, machine
from ..planning.cost import PlannedPass
from ..planning.memory_order import copied_order, copy_seconds, memory_order, reordered
from ..planning.planner import PlannedFilter
from ..planning.routes import CHECK
from ..system.types import Array
from .report import SECONDS, engineering, pass_title, plan_html

PASS_COLUMNS = ("pass", "predicted", "measured", "pred/meas", "GB/s", "Gop/s")


@dataclass(frozen=True, slots=True)
class MeasuredPass:
    """Predicted and measured time of one pass of a plan."""

    kernel: str
    """Name of the kernel that computed the pass."""
    axes: tuple[int, ...]
    """Filtered axes of the array."""
    predicted: float
    """Predicted seconds."""
    measured: float
    """Shortest measured time in seconds."""
    bytes: float
    """Bytes read and written."""
    operations: float
    """Total number of multiply-adds or additions."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """Result of `Plan.analyze`; ``print`` shows it as a table."""

    plan: PlannedFilter
    """Measured plan."""
    passes: tuple[MeasuredPass, ...]
    """Passes of the plan, in order."""
    predicted: float
    """Predicted seconds of a call."""
    measured: float
    """Shortest measured time of a call in seconds."""
    repeats: int
    """Number of measured calls."""

    def __str__(self) -> str:
        """Return the table of the plan, followed by that of its passes."""
        return _text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return _html(self)


def analyze(plan: PlannedFilter, input: Any = None, repeats: int = 3) -> Analysis:
    """Do the work of `numbasep.plans.Plan.analyze`."""
    count = _positive(repeats)
    problem = plan.problem
    if problem.device == "cuda" or on_gpu(input):
        raise ValueError(
            "analyze measures plans of the CPU; device is 'cuda' here: use the profiler of the GPU"
        )
    x = _random(plan) if input is None else np.asarray(input)
    out = np.empty(problem.out_shape, problem.output_dtype, order="F" if x.flags.fnc else "C")
    own = replace(plan, kernel=replace(plan.kernel))  # with its own prepared calls, which are timed
    execute.run_plan(own, x, out)  # compiles, and raises for another shape or dtype
    whole = min(_seconds(lambda: execute.run_plan(own, x, out)) for _ in range(count))
    nested = memory_order(x)
    order = nested or tuple(range(x.ndim))
    if nested is not None:
        own, x, out = reordered(own, nested), x.transpose(nested), out.transpose(nested)
    copied = copied_order(own)
    if copied is not None:
        own, order = reordered(own, copied), tuple(order[axis] for axis in copied)
        x, out = np.ascontiguousarray(x.transpose(copied)), np.empty(own.problem.out_shape, out.dtype)
    if not problem.windows or 0 in problem.shape or not problem.pixels:
        return Analysis(plan, (), own.choice.chosen.seconds, whole, count)
    passes, laps = _passes(own, x, out, count)
    found = tuple(
        MeasuredPass(
            one.kernel, tuple(sorted(order[axis] for axis in one.axes)), one.seconds, lap, one.bytes, one.operations
        )
        for one, lap in zip(passes, laps, strict=True)
    )  # fmt: skip
    copying = 0.0 if copied is None else copy_seconds(problem)
    predicted = machine.current().call_seconds + copying + sum(one.predicted for one in found)
    return Analysis(plan, found, predicted, whole, count)


def _passes(
    plan: PlannedFilter, x: Array, out: Array, count: int
) -> tuple[Sequence[PlannedPass], list[float]]:
    """Return the passes that run on these arrays, and the shortest time of each."""
    candidate = execute.applicable(plan, x, ignore_nan=False)
    checks = [one for one in plan.choice.chosen.passes if one.kernel == CHECK]
    check = [
        min(_seconds(lambda: execute.applicable(plan, x, ignore_nan=False)) for _ in range(count))
        for _ in checks
    ]
    chosen = plan.choice.chosen
    marked = candidate is not chosen and chosen.marks_gaps  # the chosen route handles NaN and infinities
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
    """Return random numbers with the shape, dtype and memory order of a plan."""
    problem = plan.problem
    values = np.random.default_rng(0).random(problem.shape, np.float32) * 100
    array = values.astype(problem.input_dtype)
    return np.asfortranarray(array) if getattr(plan, "order", "C") == "F" else array


def _rows(analysis: Analysis) -> list[tuple[str, ...]]:
    """Return rows for the passes, the rest of the call, and the total."""

    def row(name: str, predicted: float, measured: float, moved: float, operations: float) -> tuple[str, ...]:
        seconds = max(measured, 1e-12)
        return (
            name, engineering(predicted, "s", SECONDS), engineering(measured, "s", SECONDS),
            f"{predicted / seconds:.2f}", f"{moved / seconds / 1e9:.3g}" if moved else "-",
            f"{operations / seconds / 1e9:.3g}" if operations else "-",
        )  # fmt: skip

    rows = [
        row(pass_title(p.kernel, p.axes), p.predicted, p.measured, p.bytes, p.operations)
        for p in analysis.passes
    ]
    parts = sum(p.predicted for p in analysis.passes), sum(p.measured for p in analysis.passes)
    rest = analysis.predicted - parts[0], max(analysis.measured - parts[1], 0.0)
    rows.append((
        "call", engineering(rest[0], "s", SECONDS), engineering(rest[1], "s", SECONDS) if rest[1] else "-",
        "-", "-", "-",
    ))  # fmt: skip
    moved, operations = sum(p.bytes for p in analysis.passes), sum(p.operations for p in analysis.passes)
    rows.append(row("total", analysis.predicted, analysis.measured, moved, operations))
    return rows


def _text(analysis: Analysis) -> str:
    """Return the tables of the plan and of its passes as text."""
    rows = [PASS_COLUMNS, *_rows(analysis)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(PASS_COLUMNS))]
    lines = [str(analysis.plan), f"  measured: shortest of {analysis.repeats}"]
    for row in rows:
        aligned = [row[0].ljust(widths[0])]
        aligned += [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(aligned))
    return "\n".join(lines)


def _html(analysis: Analysis) -> str:
    """Return the tables of the plan and of its passes as HTML."""
    rows = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(text)}</td>" for text in row) + "</tr>"
        for row in _rows(analysis)
    )
    head = "".join(f"<th style='text-align:left'>{html.escape(name)}</th>" for name in PASS_COLUMNS)
    plan = plan_html(analysis.plan)  # type: ignore[arg-type]
    return f"{plan}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

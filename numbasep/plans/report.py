"""Plans as tables, for terminals and notebooks."""

import html
import math
from typing import Protocol

from ..arguments.problem import Problem
from ..planning import accelerator, routes_cuda
from ..planning.cost import PlannedPass
from ..planning.memory_order import Order, copy_seconds
from ..planning.planner import Choice, PlannedFilter
from ..planning.routes import Candidate


class Explained(Protocol):
    """The attributes of a plan that the tables show."""

    @property
    def problem(self) -> Problem: ...  # noqa: D102 - as of `Plan`
    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def candidates(self) -> tuple[Candidate, ...]: ...  # noqa: D102
    @property
    def passes(self) -> tuple[PlannedPass, ...]: ...  # noqa: D102
    @property
    def workspace(self) -> int: ...  # noqa: D102
    @property
    def decision(self) -> Choice: ...  # noqa: D102
    @property
    def decided(self) -> PlannedFilter: ...  # noqa: D102
    @property
    def copied(self) -> bool: ...  # noqa: D102
    @property
    def axis_order(self) -> Order: ...  # noqa: D102


WASTEFUL = 1.2  # ratio of executed to needed operations above which both are shown
COLUMNS = ("route", "time", "operations", "bytes", "error bound", "")


def engineering(value: float, unit: str, factors: tuple[tuple[float, str], ...]) -> str:
    """Format `value` with three digits and a unit prefix.

    Examples
    --------
    >>> engineering(0.0123, "s", SECONDS)
    '12.3 ms'
    """
    size, prefix = next((pair for pair in factors if abs(value) >= pair[0]), factors[-1])
    shown = value / size
    digits = max(0, 2 - math.floor(math.log10(abs(shown)))) if shown else 0
    return f"{shown:.{min(digits, 2)}f} {prefix}{unit}"


SECONDS = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))
BYTES = ((2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))
COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def times(numbers: tuple[int, ...]) -> str:
    """Format a shape: ``4096x4096``."""
    return "x".join(map(str, numbers)) if numbers else "0-d"


def headline(plan: Explained) -> str:
    """Return one line with the operation, the array, the kernel and the boundary modes."""
    problem = plan.problem
    kernel = f"kernel {times(problem.taps)}"
    if len(problem.windows) < len(problem.shape):
        kernel += f" on axes {','.join(str(window.axis) for window in problem.windows)}"
    ranks = [c.rank for c in plan.candidates if c.method == "separable" and c.rank is not None]
    rank = f" (rank {ranks[0]})" if ranks else ""
    types = str(problem.input_dtype)
    if problem.output_dtype != problem.input_dtype or problem.compute_dtype != problem.input_dtype:
        types += f" -> {problem.output_dtype}, sums in {problem.compute_dtype}"
    stride = f"  stride {times(problem.steps)}" if problem.is_strided else ""
    what = f"{len(problem.windows)}-D {problem.operation} {times(problem.shape)} {types}"
    return f"{what}  {kernel}{rank}{stride}  {_edges(problem)}"


def _edges(problem: Problem) -> str:
    names = []
    for window in problem.windows:
        same = -(-window.size // window.step)
        if window.out_size == same:
            name = window.boundary.name.lower()
        else:
            name = "valid" if window.out_size < same else "full"
        if window.boundary.name == "CONSTANT" and problem.cval:
            value = problem.cval if problem.cval.imag else problem.cval.real
            name += f" {value:g}"
        names.append(name)
    if not names:
        return "no filtered axis"
    return "boundary " + (names[0] if len(set(names)) == 1 else ", ".join(names))


def cells(candidate: Candidate) -> tuple[str, ...]:
    """Return the entries of a candidate's row in the table."""
    name = f"{candidate.method} ({candidate.name})" if candidate.name else candidate.method
    if candidate.seconds == math.inf:
        return (name, "-", "-", "-", "-", f"no: {candidate.reason}")
    bound = "exact" if candidate.exact else f"{candidate.error_bound:.1e}"
    note = "" if candidate.feasible else f"no: {candidate.reason}"
    return (
        name,
        engineering(candidate.seconds, "s", SECONDS),
        f"{candidate.operations:.4g}",
        f"{candidate.bytes:.3g}",
        bound,
        note,
    )


def footnotes(plan: Explained) -> list[str]:
    """Return lines on temporary memory, the fallback and the constants of the predicted times."""
    lines = [
        f"workspace {engineering(plan.workspace, 'B', BYTES)}; operations and bytes for one output element"
    ]
    chosen = plan.decision.chosen
    if chosen.executed > WASTEFUL * chosen.operations:
        lines.append(f"{chosen.operations:.4g} operations would do; {chosen.executed:.4g} are executed")
    if plan.problem.device == "cuda" and chosen.runner == "transforms":
        assert plan.decision.fallback is not None
        without = f"data with NaN or infinities, and arrays not from CuPy or PyTorch: {plan.decision.fallback.method}"
        lines.append("transforms of CuPy or PyTorch" if plan.problem.method == "fft" else without)
    elif plan.problem.device == "cuda" and chosen.needs_finite:
        lines.append("results that are not finite: summed again directly, each by itself")
    elif plan.decision.fallback is not None and chosen.marks_gaps:
        lines.append(
            "NaN and infinities: replaced by zeros, and the outputs that they reach are set afterwards; "
            f"values near overflow: {plan.decision.fallback.method}"
        )
    elif plan.decision.fallback is not None:
        lines.append(f"data with NaN or infinities: {plan.decision.fallback.method}")
    if plan.problem.device == "cuda":
        there_and_back = routes_cuda.transfer_seconds(plan.problem, accelerator.current())
        lines.append(
            f"arrays of the host: {engineering(there_and_back, 's', SECONDS)} more, to the GPU and back"
        )
    if plan.copied:
        copying = engineering(copy_seconds(plan.problem), "s", SECONDS)
        lines.append(f"arrays are copied to the memory order {plan.axis_order}: {copying} more")
    lines.append(f"times predicted for {plan.decided.machine}")
    return lines


def pass_title(kernel: str, axes: tuple[int, ...]) -> str:
    """Return the title of a pass: ``separable on axes 0, 1``."""
    return f"{kernel} on ax{'i' if len(axes) == 1 else 'e'}s {', '.join(map(str, axes))}" if axes else kernel


def pass_lines(plan: Explained) -> list[str]:
    """Return a line for each pass of the chosen route, in order."""
    found = []
    for number, one in enumerate(plan.passes, 1):
        work = engineering(one.operations, "op", COUNTS)
        moved, seconds = engineering(one.bytes, "B", BYTES), engineering(one.seconds, "s", SECONDS)
        found.append(f"pass {number}: {pass_title(one.kernel, one.axes)}, {seconds}, {moved}, {work}")
    return found


def plan_text(plan: Explained) -> str:
    """Return the plan as a table in plain text."""
    rows = [COLUMNS, *(cells(candidate) for candidate in plan.candidates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) - 1)]
    lines = [headline(plan)]
    for row, marker in zip(rows, _markers(plan, "> ", "  "), strict=True):
        aligned = [row[0].ljust(widths[0])]
        aligned += [text.rjust(width) for text, width in zip(row[1:-1], widths[1:], strict=True)]
        lines.append((marker + "  ".join([*aligned, row[-1]])).rstrip())
    return "\n".join(lines + ["  " + line for line in [*pass_lines(plan), *footnotes(plan)]])


def _markers(plan: Explained, chosen: str, other: str) -> list[str]:
    marks = [chosen if c.method == plan.method else other for c in plan.candidates]
    return [other, *marks]


def plan_html(plan: Explained) -> str:
    """Return the plan as an HTML table for notebooks."""
    head = "".join(f"<th style='text-align:left'>{html.escape(name)}</th>" for name in COLUMNS)
    body = []
    for candidate, marker in zip(plan.candidates, _markers(plan, "b", "")[1:], strict=True):
        style = " style='font-weight:bold'" if marker else ""
        if not candidate.feasible:
            style = " style='opacity:0.6'"
        row = "".join(f"<td style='text-align:left'>{html.escape(text)}</td>" for text in cells(candidate))
        body.append(f"<tr{style}>{row}</tr>")
    notes = "<br>".join(html.escape(line) for line in [*pass_lines(plan), *footnotes(plan)])
    return (
        f"<div><p>{html.escape(headline(plan))}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table><p><small>{notes}</small></p></div>"
    )

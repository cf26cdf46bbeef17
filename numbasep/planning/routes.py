"""Routes to compute a filter on the CPU: when each is possible, its predicted time and its error bound.

A route is one entry of `ROUTES`.  This module needs no arrays and no backend.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arguments.problem import Problem
from ..lowering.layout import Layout, nested_strides
from ..lowering.lower import lower
from ..lowering.spec import PassSpec, in_order
from ..lowering.task import Terms, Weights
from . import cost, overlap, rounding, workspace
from . import lines as rows
from .cost import PlannedPass, bytes_per_pixel, check_seconds, number_parts, thread_count
from .cost_fft import fft_operations, fft_points, fft_seconds, line_operations, line_seconds
from .cost_flat import flat_operations, flat_passes
from .facts import FlatFacts, KernelFacts, RecursionFacts
from .machine import Machine

CHECK = "largest magnitude"
"""Name of the pass that checks whether the input is finite, by its largest magnitude."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compute a problem with its predicted time, or the reason why it is infeasible."""

    method: str
    """Name of the route: "direct", "separable", "structured" or "fft"."""
    feasible: bool
    """Whether the candidate may be chosen."""
    reason: str = ""
    """Reason why it is infeasible; empty if it is feasible."""
    seconds: float = math.inf
    """Predicted time of a call."""
    operations: float = math.inf
    """Multiply-adds or additions per output element that the route needs; a box of any width needs three."""
    executed: float = math.inf
    """Executed operations per output element, which can be more: short boxes are summed tap by tap, for example."""
    bytes: float = math.inf
    """Bytes read and written per output element."""
    error_bound: float = math.inf
    """Largest error, relative to ``||K||_1 max|x|``."""
    rank: int | None = None
    """Number of separable terms, for routes that sum terms."""
    form: int | None = None
    """Index of the form in `KernelFacts.forms`, for routes that sum terms."""
    name: str = ""
    """Name of the form."""
    exact: bool = False
    """Whether every result is the exact sum."""
    needs_finite: bool = False
    """Whether the data must be finite, as NaN and infinities would spread further than by direct summation."""
    marks_gaps: bool = False
    """Whether its runner also takes non-finite data: it replaces them, and marks the results that they would affect."""
    largest_sample: float = sys.float_info.max
    """Largest magnitude of data for which no intermediate result overflows; larger data use the fallback, as NaN do."""
    workspace: int = 0
    """Bytes of temporary memory, for all threads together."""
    runner: str = "planes"
    """Key of the function in `execution.execute.RUNNERS` that computes it."""
    passes: tuple[PlannedPass, ...] = ()
    """Passes, in the order in which they run."""


@dataclass(frozen=True, slots=True)
class Route:
    """A way to compute a filter."""

    name: str
    """Name, as in the argument `method`."""
    title: str
    """Short description for reports."""
    infeasible: Callable[[Problem, KernelFacts, Machine], str | None]
    """Function that returns the reason why the route cannot be used, or None."""
    estimates: Callable[[Problem, KernelFacts, Machine], tuple[Candidate, ...]]
    """Function that returns at least one candidate, if the route can be used."""


# ------------------------------------------------------------------------------------------ direct


def _always(_problem: Problem, _facts: KernelFacts, _machine: Machine) -> str | None:
    return None


def _direct(problem: Problem, facts: KernelFacts, machine: Machine) -> tuple[Candidate, ...]:
    weights = facts.weights(problem.footprint)
    specs = lowered(weights, problem, machine)
    return (
        Candidate(
            "direct",
            True,
            **_price(problem, facts, specs, machine, weights.taps),
            bytes=bytes_per_pixel(problem),
            error_bound=rounding.direct_bound(problem, facts),
            exact=rounding.direct_is_exact(problem, facts),
            needs_finite=not _direct_keeps_footprint(problem, facts),
            workspace=workspace.direct_bytes(
                problem, thread_count(problem, machine), complex_kernel=facts.complex
            ),
        ),
    )


def lowered(kernel: Weights | Terms, problem: Problem, machine: Machine) -> tuple[PassSpec, ...]:
    """Return the passes of a real kernel; for complex results of real data, those of one part, which skip the other."""
    if problem.compute_dtype.kind != "c" or problem.input_dtype.kind == "c":
        return lower(kernel, problem, machine.target)
    half = replace(problem, output_dtype=np.dtype(f"f{problem.output_dtype.itemsize // 2}"))
    apart = tuple(2 * stride for stride in nested_strides(problem.out_shape))
    return lower(kernel, half, machine.target, Layout(nested_strides(problem.shape), apart))


def _price(
    problem: Problem,
    facts: KernelFacts,
    specs: tuple[PassSpec, ...],
    machine: Machine,
    needed: float,
    check: float = 0.0,
) -> dict[str, Any]:
    """Return the fields of a candidate with these passes, preceded by a check of the data of `check` seconds.

    `needed` is the number of operations per output element, for outputs without elements.
    """
    passes = cost.plane_passes(problem, facts, in_order(specs), machine)
    done = sum(one.operations for one in passes)
    executed = done / problem.pixels if passes else needed  # an empty array has no passes
    if check:
        passes = (_check_pass(problem, check), *passes)
    seconds = machine.call_seconds + sum(one.seconds for one in passes)
    return {"seconds": seconds, "operations": executed, "executed": executed, "passes": passes}


def _check_pass(problem: Problem, seconds: float) -> PlannedPass:
    numbers = math.prod(problem.shape)
    return PlannedPass(CHECK, (), seconds, numbers * problem.input_dtype.itemsize, numbers)


# --------------------------------------------------------------------------- sums of separable terms


def keeps_footprint(problem: Problem, facts: KernelFacts, index: int) -> bool:
    """Return whether NaN and infinities spread through a form exactly as through direct summation.

    The form must read the same samples: those under non-zero weights or, if the taps were given axis by axis, the
    whole window, which the plain form multiplies including zeros.  No two terms may weigh a sample with opposite
    signs, which would turn an infinity into NaN.  Terms that the caller gave are correct by definition.  Integer
    data contain neither NaN nor infinities.
    """
    form = facts.forms[index]
    if problem.integer_data or form.given:
        return True
    if problem.footprint == "support":
        return form.same_support and form.coherent
    return index == 0 or (form.coherent and any(term == facts.shape for term in form.factors))


def _direct_keeps_footprint(problem: Problem, facts: KernelFacts) -> bool:
    """Return `keeps_footprint` for direct summation, compared with the terms that the caller gave, if any."""
    form = next((form for form in facts.forms if form.given), None)
    if form is None or problem.integer_data or form.rank == 1:
        return True
    return form.same_support and form.coherent


def _form_candidate(
    method: str, index: int, problem: Problem, facts: KernelFacts, machine: Machine
) -> Candidate:
    form = facts.forms[index]
    needs_finite = not keeps_footprint(problem, facts, index)
    check = check_seconds(problem, machine) if needs_finite else 0.0
    price = _price(problem, facts, lowered(form, problem, machine), machine, form.operations, check)
    if not problem.is_strided:
        price["operations"] = min(form.operations * number_parts(problem, facts), price["executed"])
    return Candidate(
        method,
        True,
        **price,
        bytes=bytes_per_pixel(problem),
        error_bound=rounding.form_bound(problem, facts, form),
        rank=form.rank,
        form=index,
        name=form.name,
        exact=rounding.form_is_exact(problem, facts, form),
        needs_finite=needs_finite,
        workspace=workspace.terms_bytes(
            problem, thread_count(problem, machine), form.rank, complex_kernel=facts.complex
        ),
    )


def _without_form(first: int, what: str) -> Callable[[Problem, KernelFacts, Machine], str | None]:
    def infeasible(problem: Problem, facts: KernelFacts, _machine: Machine) -> str | None:
        if first and (facts.recursion is not None or _runs_flat(problem, facts)):
            return None
        if len(facts.forms) <= first:
            return what
        if not any(_usable(problem, facts, index) for index in range(first, len(facts.forms))):
            return "cval is not finite, and the terms touch more than the kernel does"
        return None

    return infeasible


def _usable(problem: Problem, facts: KernelFacts, index: int) -> bool:
    return math.isfinite(abs(problem.cval)) or keeps_footprint(problem, facts, index)


def _plain_form(problem: Problem, facts: KernelFacts, machine: Machine) -> tuple[Candidate, ...]:
    return (_form_candidate("separable", 0, problem, facts, machine),)


def _structured_forms(problem: Problem, facts: KernelFacts, machine: Machine) -> tuple[Candidate, ...]:
    found = [
        _form_candidate("structured", index, problem, facts, machine)
        for index in range(1, len(facts.forms))
        if _usable(problem, facts, index)
    ]
    if facts.recursion is not None:
        found.append(_recursive_candidate(problem, facts.recursion, machine))
    if facts.flat is not None and _runs_flat(problem, facts):
        found.append(_flat_candidate(problem, facts, facts.flat, machine))
    return tuple(found)


def _runs_flat(problem: Problem, facts: KernelFacts) -> bool:
    """Return whether the flat kernels can compute a problem: on the CPU, real, not strided, two or more axes."""
    real = problem.compute_dtype.kind == "f" and not facts.complex and problem.device != "cuda"
    return facts.flat is not None and real and not problem.is_strided and len(problem.windows) > 1


def _flat_candidate(problem: Problem, facts: KernelFacts, flat: FlatFacts, machine: Machine) -> Candidate:
    """Return the candidate for shifted sums of rows, in one pass."""
    operations = flat_operations(problem, flat, machine)
    passes = flat_passes(problem, flat, machine)
    return Candidate(
        "structured",
        True,
        seconds=machine.call_seconds + sum(one.seconds for one in passes),
        passes=passes,
        operations=operations,
        executed=operations,
        bytes=bytes_per_pixel(problem),
        error_bound=rounding.flat_bound(problem, facts, flat),
        name="flat",
        exact=rounding.flat_is_exact(problem, facts, flat),
        workspace=workspace.flat_bytes(problem, thread_count(problem, machine), flat.sums),
        runner="flat",
    )


def _recursive_candidate(problem: Problem, recursion: RecursionFacts, machine: Machine) -> Candidate:
    """Return the candidate for recursive filters, one pass for each axis."""
    passes, itemsize = len(problem.windows), problem.real_dtype.itemsize
    positions = sum(math.prod(problem.steps[axis:]) for axis in range(passes))  # samples read per output
    largest = math.ldexp(1.0, 100 if itemsize == 4 else 960)
    planned = cost.recursive_passes(problem, recursion, machine)
    if not problem.integer_data:
        planned = (_check_pass(problem, check_seconds(problem, machine)), *planned)
    return Candidate(
        "structured",
        True,
        seconds=machine.call_seconds + sum(one.seconds for one in planned),
        passes=planned,
        operations=recursion.operations * positions,
        executed=recursion.operations * positions,
        bytes=bytes_per_pixel(problem) + 2 * itemsize * (passes - 1),
        error_bound=recursion.error,
        name="recursive",
        needs_finite=not problem.integer_data,
        largest_sample=largest,
        workspace=workspace.recursive_bytes(problem),
        runner="recursive",
    )


# --------------------------------------------------------------------------------------------- fft


def _fft_infeasible(problem: Problem, facts: KernelFacts, _machine: Machine) -> str | None:
    if not problem.windows or not problem.pixels or 0 in problem.shape:
        return "there is nothing to transform"
    if not math.isfinite(abs(problem.cval)):
        return "cval is not finite"
    if rounding.fft_is_exact(problem, facts, *rows.transform_size(problem)):
        return None
    if problem.output_dtype.kind in "biu":
        return "integer results, and rounding to the right integer is not proved"
    if rounding.direct_is_exact(problem, facts):
        return "integer data and weights, and rounding to the right integer is not proved"
    return None


def _has_simple_gaps(problem: Problem, facts: KernelFacts) -> bool:
    """Return whether the weights determine the effect of NaN and infinities: real data, not several given terms."""
    real = problem.compute_dtype.kind == "f" and problem.input_dtype.kind == "f"
    return real and not facts.complex and all(form.rank == 1 for form in facts.forms if form.given)


def _fft(problem: Problem, facts: KernelFacts, machine: Machine) -> tuple[Candidate, ...]:
    size = points, parts = rows.transform_size(problem)
    exact = rounding.fft_is_exact(problem, facts, *size)
    threads, lines = thread_count(problem, machine), rows.lines(problem)
    if lines is not None:
        ratio = lines.rows * lines.span * lines.step / problem.pixels
        operations, work = line_operations(problem, lines), line_seconds(problem, machine, lines)
        memory = workspace.line_bytes(problem, lines, threads)
    else:
        tiles = overlap.tiling(problem)
        ratio = fft_points(problem, tiles) / problem.pixels
        operations, work = fft_operations(problem, tiles), fft_seconds(problem, machine, tiles)
        used = threads if tiles.staged else min(threads, tiles.tasks)
        memory = workspace.transform_bytes(problem, tiles, used, complex_kernel=facts.complex)
    axes = tuple(window.axis for window in problem.windows)
    moved = ratio * problem.input_dtype.itemsize + problem.output_dtype.itemsize
    planned: tuple[PlannedPass, ...] = (
        PlannedPass("transform", axes, work, moved * problem.pixels, operations * problem.pixels),
    )
    if not problem.integer_data:
        check = check_seconds(problem, machine, 1 if lines is None else threads)
        planned = (_check_pass(problem, check), *planned)
    return (
        Candidate(
            "fft",
            True,
            seconds=machine.call_seconds + sum(one.seconds for one in planned),
            passes=planned,
            operations=operations,
            executed=operations,
            bytes=moved,
            error_bound=0.0 if exact else rounding.fft_bound(problem, facts, *size),
            exact=exact,
            needs_finite=not problem.integer_data,
            marks_gaps=_has_simple_gaps(problem, facts),
            largest_sample=rounding.fft_largest_sample(problem, facts, 2 * points * parts),
            workspace=memory,
            runner="transforms" if lines is None else "lines",
        ),
    )


ROUTES: dict[str, Route] = {
    route.name: route
    for route in (
        Route("direct", "sum over the non-zero weights", _always, _direct),
        Route(
            "separable",
            "sum of separable terms, one pass",
            _without_form(0, "the kernel is not a sum of few enough separable terms"),
            _plain_form,
        ),
        Route(
            "structured",
            "deltas, boxes, repeated rows, sums of rows, recursive filters",
            _without_form(1, "the kernel has no structure that saves work"),
            _structured_forms,
        ),
        Route("fft", "overlap-save by fast Fourier transforms", _fft_infeasible, _fft),
    )
}
"""All routes, in the order in which reports list them."""

"""The ways to compute a filter: when each is allowed, what it costs, how large its error can be.

A route is one entry of `ROUTES`.  Nothing here touches an array or knows how a backend works; what a route
may promise is decided here and nowhere else.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

from numbasep import overlap, rounding
from numbasep.facts import FormFacts, KernelFacts, RecursionFacts
from numbasep.machine import Machine
from numbasep.problem import Problem

CHECK = 0.3  # part of what reading and storing a number takes that looking at it takes


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compute a problem, with its price; or the reason why it is not one."""

    method: str
    """The route: "direct", "separable", "structured" or "fft"."""
    feasible: bool
    """Whether it may be taken."""
    reason: str = ""
    """Why not; empty if feasible."""
    seconds: float = math.inf
    """Predicted time of a call."""
    operations: float = math.inf
    """Multiply-adds for one output element."""
    bytes: float = math.inf
    """Bytes read and written for one output element."""
    error_bound: float = math.inf
    """Largest error, relative to ``||K||_1 max|x|``."""
    rank: int | None = None
    """Number of separable terms, for the routes that sum such terms."""
    form: int | None = None
    """Which of the kernel's forms it computes: an index into `KernelFacts.forms`."""
    name: str = ""
    """Name of that form."""
    exact: bool = False
    """Every result is the exact sum, to the last bit."""
    needs_finite: bool = False
    """NaN and infinities would spread further than by direct summation, so the data must hold none."""
    largest_sample: float = sys.float_info.max
    """Magnitude up to which no intermediate result overflows; data beyond it take the fallback, as NaN do."""
    workspace: int = 0
    """Bytes of temporary memory, of all threads together."""
    recursive: bool = False
    """It is the recursive filter."""


@dataclass(frozen=True, slots=True)
class Route:
    """A way to compute a filter."""

    name: str
    """What `method=` calls it."""
    title: str
    """One line for people."""
    infeasible: Callable[[Problem, KernelFacts, Machine], str | None]
    """The reason why it cannot be used, or None."""
    estimates: Callable[[Problem, KernelFacts, Machine], tuple[Candidate, ...]]
    """Its candidates, at least one, if it can be used."""


# ------------------------------------------------------------------------------------------ costs


def thread_count(problem: Problem, machine: Machine) -> int:
    """Threads that a call on this problem may use."""
    return max(1, min(problem.workers or machine.threads, machine.threads))


def number_parts(problem: Problem, facts: KernelFacts) -> int:
    """Real multiply-adds for one of the problem: 1, 2 for complex data, 4 if the kernel is complex, too."""
    if problem.compute_dtype.kind != "c":
        return 1
    return 4 if facts.complex else 2


def bytes_per_pixel(problem: Problem) -> float:
    """Bytes that cross the memory bus for one output element if every array is touched once."""
    read = math.prod(problem.shape) * problem.input_dtype.itemsize
    return read / max(problem.pixels, 1) + problem.output_dtype.itemsize


def _streaming_seconds(problem: Problem, machine: Machine, one_thread: float) -> float:
    """Time of a single pass over the arrays that computes for `one_thread` seconds on one thread.

    Memory and arithmetic add up: within a tile the rows are first packed, then used.
    """
    moved = bytes_per_pixel(problem) * problem.pixels
    serial = one_thread + machine.copy_seconds(moved, 1)
    threads = thread_count(problem, machine)
    spread = one_thread / threads + machine.copy_seconds(moved, threads) + machine.thread_seconds
    return machine.call_seconds + (min(serial, spread) if threads > 1 else serial)


def check_seconds(problem: Problem, machine: Machine) -> float:
    """Predicted time of finding the largest magnitude of the input, for routes that need finite data."""
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    numbers = math.prod(problem.shape) * parts
    threads = thread_count(problem, machine)
    reading = machine.copy_seconds(numbers * problem.real_dtype.itemsize, threads)
    return reading + CHECK * numbers * machine.pixel_seconds[_precision(problem)] / threads


def _precision(problem: Problem) -> int:
    return int(problem.real_dtype.itemsize == 8)


def _ring_bytes(problem: Problem, machine: Machine) -> int:
    """Rows that a window spans, in a tile of 4096 numbers, for each thread."""
    rows = problem.windows[-2].taps + 16 if len(problem.windows) > 1 else 16
    return rows * 4096 * problem.compute_dtype.itemsize * thread_count(problem, machine)


# ------------------------------------------------------------------------------------------ direct


def _always(_problem: Problem, _facts: KernelFacts, _machine: Machine) -> str | None:
    return None


def direct_seconds(problem: Problem, facts: KernelFacts, machine: Machine) -> float:
    """Predicted time of summation over the non-zero weights."""
    which = _precision(problem)
    taps = _direct_taps(problem, facts)
    if len(problem.windows) > 1:
        arithmetic = (taps + machine.run_taps * facts.runs) / machine.column_rate[which]
    else:
        arithmetic = taps / _line_rate(problem, machine)
    parts = number_parts(problem, facts)
    return _streaming_seconds(
        problem, machine, problem.pixels * parts * (arithmetic + machine.pixel_seconds[which])
    )


def _line_rate(problem: Problem, machine: Machine) -> float:
    """Rate of taps along the only filtered axis."""
    last = any(window.axis == len(problem.shape) - 1 for window in problem.windows)
    return (machine.row_rate if last else machine.column_rate)[_precision(problem)]


def _direct_taps(problem: Problem, facts: KernelFacts) -> int:
    return facts.size if problem.footprint == "window" else facts.nonzeros


def _direct(problem: Problem, facts: KernelFacts, machine: Machine) -> tuple[Candidate, ...]:
    return (
        Candidate(
            "direct",
            True,
            seconds=direct_seconds(problem, facts, machine),
            operations=_direct_taps(problem, facts) * number_parts(problem, facts),
            bytes=bytes_per_pixel(problem),
            error_bound=rounding.direct_bound(problem, facts),
            exact=rounding.direct_is_exact(problem, facts),
            needs_finite=not _direct_keeps_footprint(problem, facts),
            workspace=_ring_bytes(problem, machine),
        ),
    )


# --------------------------------------------------------------------------- sums of separable terms


def keeps_footprint(problem: Problem, facts: KernelFacts, index: int) -> bool:
    """Whether NaN and infinities spread through a form exactly as through direct summation.

    It must touch the same samples: the non-zero weights or, for taps given axis by axis, their whole window,
    which the plain form then multiplies zeros and all.  And its terms must not weigh a sample with opposite
    signs, which turns an infinity into NaN.  Terms that the caller gave define what is right.  Integer data
    hold neither.
    """
    form = facts.forms[index]
    if problem.integer_data or form.given:
        return True
    if problem.footprint == "support":
        return form.same_support and form.coherent
    return index == 0 or (form.coherent and any(term == facts.shape for term in form.factors))


def _direct_keeps_footprint(problem: Problem, facts: KernelFacts) -> bool:
    """As `keeps_footprint`, for direct summation of a kernel that was given term by term."""
    form = next((form for form in facts.forms if form.given), None)
    if form is None or problem.integer_data or form.rank == 1:
        return True
    return form.same_support and form.coherent


def form_operations(form: FormFacts) -> int:
    """Multiply-adds of a form for one output element; a factor of a single tap folds into its neighbour."""
    return sum(max(sum(n for n in term if n > 1), 1) for term in form.factors)


def form_seconds(problem: Problem, facts: KernelFacts, form: FormFacts, machine: Machine) -> float:
    """Predicted time of a sum of separable terms in one pass."""
    which = _precision(problem)
    arithmetic = 0.0
    for term, runs in zip(form.factors, form.runs, strict=True):
        if len(term) > 1:
            columns = sum(
                n + machine.run_taps * r for n, r in zip(term[:-1], runs[:-1], strict=True) if n > 1
            )
            rows = term[-1] if term[-1] > 1 else 0
            arithmetic += columns / machine.column_rate[which] + rows / machine.row_rate[which]
            arithmetic += machine.term_seconds[which] if columns and rows else 0.0
            arithmetic += (len(term) - 2) * machine.pixel_seconds[which]
        else:
            arithmetic += sum(term) / _line_rate(problem, machine)
    parts = number_parts(problem, facts)
    return _streaming_seconds(
        problem, machine, problem.pixels * parts * (arithmetic + machine.pixel_seconds[which])
    )


def _form_candidate(
    method: str, index: int, problem: Problem, facts: KernelFacts, machine: Machine
) -> Candidate:
    form = facts.forms[index]
    needs_finite = not keeps_footprint(problem, facts, index)
    check = check_seconds(problem, machine) if needs_finite else 0.0
    return Candidate(
        method,
        True,
        seconds=form_seconds(problem, facts, form, machine) + check,
        operations=form_operations(form) * number_parts(problem, facts),
        bytes=bytes_per_pixel(problem),
        error_bound=rounding.form_bound(problem, facts, form),
        rank=form.rank,
        form=index,
        name=form.name,
        exact=rounding.form_is_exact(problem, facts, form),
        needs_finite=needs_finite,
        workspace=2 * _ring_bytes(problem, machine),
    )


def _without_form(first: int, what: str) -> Callable[[Problem, KernelFacts, Machine], str | None]:
    def infeasible(problem: Problem, facts: KernelFacts, _machine: Machine) -> str | None:
        if first and facts.recursion is not None:
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
    return tuple(found)


def _recursive_candidate(problem: Problem, recursion: RecursionFacts, machine: Machine) -> Candidate:
    """Recursive filters, one pass for each axis: their time does not depend on the number of taps."""
    threads = thread_count(problem, machine)
    samples = [
        problem.pixels * (1 + 2 * margin / max(window.out_size, 1))
        for window, margin in zip(problem.windows, recursion.margins, strict=True)
    ]
    which = _precision(problem)
    passes = sum(samples) * machine.recursion_seconds[which] / threads
    itemsize = problem.real_dtype.itemsize
    moved = 2 * itemsize * problem.pixels * len(samples)
    check = 0.0 if problem.integer_data else check_seconds(problem, machine)
    largest = math.ldexp(1.0, 100 if itemsize == 4 else 960)
    return Candidate(
        "structured",
        True,
        seconds=machine.call_seconds * len(samples) + machine.copy_seconds(moved, threads) + passes + check,
        operations=recursion.operations * len(samples),
        bytes=bytes_per_pixel(problem) + 2 * itemsize * (len(samples) - 1),
        error_bound=recursion.error,
        name="recursive",
        needs_finite=not problem.integer_data,
        largest_sample=largest,
        workspace=itemsize * problem.pixels * min(len(samples), 2),
        recursive=True,
    )


# --------------------------------------------------------------------------------------------- fft


def _fft_infeasible(problem: Problem, facts: KernelFacts, _machine: Machine) -> str | None:
    if not problem.windows or not problem.pixels or 0 in problem.shape:
        return "there is nothing to transform"
    if not math.isfinite(abs(problem.cval)):
        return "cval is not finite"
    points = overlap.tiling(problem).points
    if rounding.fft_is_exact(problem, facts, points):
        return None
    if problem.output_dtype.kind in "biu":
        return "integer results, and rounding to the right integer is not proved"
    if rounding.direct_is_exact(problem, facts):
        return "integer data and weights, and rounding to the right integer is not proved"
    return None


def _fft(problem: Problem, facts: KernelFacts, machine: Machine) -> tuple[Candidate, ...]:
    tiles = overlap.tiling(problem)
    exact = rounding.fft_is_exact(problem, facts, tiles.points)
    itemsize = problem.compute_dtype.itemsize
    batch = max(overlap.BATCH_POINTS, tiles.points)
    threads = min(thread_count(problem, machine), tiles.tiles)
    overlap_ratio = _fft_points(problem, tiles) / problem.pixels
    return (
        Candidate(
            "fft",
            True,
            seconds=fft_seconds(problem, machine, tiles),
            operations=_fft_operations(problem, tiles),
            bytes=overlap_ratio * problem.input_dtype.itemsize + problem.output_dtype.itemsize,
            error_bound=0.0 if exact else rounding.fft_bound(problem, facts, tiles.points),
            exact=exact,
            needs_finite=not problem.integer_data,
            largest_sample=rounding.fft_largest_sample(problem, facts, tiles.points),
            workspace=itemsize * (3 * batch * threads + 2 * tiles.points),
        ),
    )


def _fft_points(problem: Problem, tiles: overlap.Tiling) -> float:
    """Points of all transforms together: the output, larger by the overlap of the tiles."""
    batch = problem.pixels / math.prod(window.out_size for window in problem.windows)
    count = math.prod(tiles.counts[window.axis] for window in problem.windows)
    return batch * count * tiles.points


def _fft_operations(problem: Problem, tiles: overlap.Tiling) -> float:
    """``(5 log2(N) + 3) / 2`` multiply-adds a point, of real transforms there and back and the product."""
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    per_point = (5 * math.log2(max(tiles.points, 2)) + 3) / 2
    return parts * per_point * _fft_points(problem, tiles) / problem.pixels


def fft_seconds(problem: Problem, machine: Machine, tiles: overlap.Tiling) -> float:
    """Predicted time of overlap-save, with the check that the data are finite."""
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    points = _fft_points(problem, tiles) * parts
    double = problem.real_dtype.itemsize == 8
    point = machine.fft_point_seconds(tiles.points * parts, double=double) + machine.fft_pixel_seconds
    work = points * point + tiles.tiles * machine.fft_call_seconds
    check = 0.0 if problem.integer_data else check_seconds(problem, machine)
    threads = thread_count(problem, machine)
    shared = -(-tiles.tiles // threads) / tiles.tiles  # the slowest thread's share
    return machine.call_seconds + machine.thread_seconds + check + work * shared


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
            "deltas, boxes, repeated rows, recursive filters",
            _without_form(1, "the kernel has no structure that saves work"),
            _structured_forms,
        ),
        Route("fft", "overlap-save by fast Fourier transforms", _fft_infeasible, _fft),
    )
}
"""Every route, in order of preference: a later one must be clearly faster to be chosen."""

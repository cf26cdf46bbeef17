"""What a call takes: the steps that the backend will take, counted, times the seconds that one takes.

`passes` counts those of one pass.  Counts are linear in the measured constants, so these can be fitted to a few timed
calls.
"""

from __future__ import annotations

import math
from dataclasses import replace
from operator import mul
from typing import Any

import numpy as np

from numbasep import overlap
from numbasep.boundary import Boundary
from numbasep.facts import FormFacts, KernelFacts, RecursionFacts
from numbasep.machine import Machine, Steps
from numbasep.passes import (
    FEW_TAPS,
    STEP_ROWS,
    Part,
    Pass,
    dense_pass,
    is_written_out,
    plus,
    separable_pass,
    short_rows_pass,
)
from numbasep.problem import Problem
from numbasep.shapes import LONG_INNER, are_in_turn, are_short, cut_rows, slot_count
from numbasep.workspace import PEELED_SLAB_BYTES, SLAB_BYTES

PARALLEL_WORK = 4_000_000  # element operations of a pass from which it is spread over threads
BOX_OPERATIONS = 6  # of equal taps that are summed as a box


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


# ------------------------------------------------------------------------------------- geometry


def _plane(problem: Problem) -> Pass:
    """The last two filtered axes of a contiguous array as rows and columns."""
    windows = problem.windows
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    inner = parts * math.prod(problem.shape[windows[-1].axis + 1 :])
    stored = all(_is_computed_in(problem, dtype) for dtype in (problem.input_dtype, problem.output_dtype))
    sources = math.prod(window.taps for window in windows[:-2])
    last = windows[-1]
    filled = problem.cval != 0 and last.boundary == Boundary.CONSTANT
    planes = problem.pixels * parts // max(last.out_size * inner, 1)
    if len(windows) == 1 and inner > LONG_INNER:
        return Pass(planes, last.out_size, last.taps, inner, 1, 1, 1, stored, row_step=last.step)
    width = last.out_size * inner
    if len(windows) > 1:
        rows = windows[-2]
        return Pass(
            planes // max(rows.out_size, 1),
            rows.out_size,
            rows.taps,
            width,
            last.taps,
            inner,
            sources,
            stored,
            filled,
            rows.step,
            last.step,
        )
    others = math.prod(problem.out_shape[: last.axis])
    count, length = _cut(problem)
    if count:
        return Pass(others, count, 1, length * inner, last.taps, inner, 1, stored)
    return Pass(
        planes // max(others, 1), others, 1, width, last.taps, inner, 1, stored, filled, column_step=last.step
    )


def _cut(problem: Problem) -> tuple[int, int]:
    """Rows that those of a contiguous array are cut into, and their samples, if it is filtered along one axis."""
    window = problem.windows[-1]
    if len(problem.windows) > 1 or window.step > 1:
        return 0, 0
    others = math.prod(problem.out_shape[: window.axis])
    return cut_rows(window.out_size - window.taps + 1, _last_inner(problem), window.taps, others)


def _is_computed_in(problem: Problem, dtype: np.dtype[Any]) -> bool:
    """Whether an array of this type holds numbers, or their two parts, as sums are taken: nothing is converted."""
    parts = 2 if dtype.kind == "c" else 1
    return dtype.kind in "fc" and dtype.itemsize // parts == problem.real_dtype.itemsize and dtype.isnative


def column_groups(form: FormFacts) -> list[list[int]]:
    """Terms that share their taps along the last axis: their sums down the rows are added up before that pass.

    As `backends.program` groups them: a single tap takes no pass, and equal taps down many rows are summed as a box,
    on their own.
    """
    groups: dict[int, list[int]] = {}
    for t in range(form.rank):
        alone = (form.factors[t] or (0,))[-1] < 2 or (
            len(form.factors[t]) > 1 and form.boxes[t][-2] and form.factors[t][-2] >= STEP_ROWS
        )
        groups.setdefault(-1 - t if alone else form.groups[t][-1], []).append(t)
    return list(groups.values())


def direct_steps(problem: Problem, facts: KernelFacts, machine: Machine) -> Steps:
    """Steps of summation over the non-zero weights."""
    if not problem.windows or not problem.pixels:
        return Steps()
    if len(problem.windows) == 1 and _is_short(problem):
        return _short_steps(problem, 1, first=True)
    shape = _plane(problem)._replace(sources=facts.planes)
    taps = facts.size if problem.footprint == "window" else facts.nonzeros
    runs = facts.runs if shape.row_taps > 1 else taps
    if _cut(problem)[0]:
        return separable_pass(shape, ((Part(1, 1, False, taps, False),),), machine, precision(problem))
    if shape.column_taps == 1:  # one column of taps is a separable term
        return separable_pass(shape, ((Part(taps, runs, False, 1, False),),), machine, precision(problem))
    few = shape.row_taps <= FEW_TAPS and is_written_out(shape, taps, runs, machine)  # faster than folded
    folded = (taps, runs, False) if few else folded_taps(problem, facts, taps, runs)
    return dense_pass(shape, *folded, machine, precision(problem))


def folded_taps(problem: Problem, facts: KernelFacts, taps: int, runs: int) -> tuple[int, int, bool]:
    """Taps and runs that direct summation goes through, and whether each weighs two columns at once."""
    if facts.folded is None or problem.is_strided:
        return taps, runs, False
    if problem.footprint != "window":
        return *facts.folded, True
    columns = facts.shape[-1]
    taps, runs = (
        count // columns * -(-columns // 2) for count in (facts.size, facts.size // facts.shape[-2])
    )
    return taps, runs, True


def form_steps(problem: Problem, form: FormFacts, machine: Machine) -> Steps:
    """Steps of a sum of separable terms: from three filtered axes on, the outer ones in passes of their own.

    Terms that share the taps of an axis share its pass.
    """
    if not problem.windows or not problem.pixels:
        return Steps()
    ends = len({groups[-1] for groups in form.groups})
    if len(problem.windows) == 1 and _is_short(problem):
        return _short_steps(problem, ends, first=True)
    if len(problem.windows) > 1 and _is_short(problem, ends):
        rest = replace(problem, windows=problem.windows[:-1])
        return plus(form_steps(rest, _without_last(form), machine), _short_steps(problem, ends, first=False))
    together = 1 if are_in_turn(_last_inner(problem)) else 2
    inside = replace(problem, windows=problem.windows[-together:])
    which, shape = precision(problem), _plane(inside)
    total, outer = Steps(), len(problem.windows) - together
    groups: list[Any] = [()] * form.rank  # what the passes so far have made of the input, for each term
    for axis in range(max(outer, 0)):
        window = problem.windows[axis]
        made = {(groups[t], form.groups[t][axis]): t for t in range(form.rank)}
        width = problem.pixels // window.out_size * math.prod(problem.steps[axis + 1 :])
        for t in made.values():
            lines = Pass(
                1,
                window.out_size,
                window.taps,
                width,
                1,
                1,
                1,
                shape.stored or axis > 0,
                row_step=window.step,
            )
            part = Part(form.factors[t][axis], form.runs[t][axis], form.boxes[t][axis], 1, False)
            total = plus(total, separable_pass(lines, ((part,),), machine, which))
        each = width * len(made) * problem.real_dtype.itemsize
        thickness = max(1, min(window.out_size, max(SLAB_BYTES // max(each, 1), window.taps)))
        slabs = -(-window.out_size // thickness)
        total = total._replace(passes=total.passes + slabs * (len(made) + 1) - 1)
        groups = [(groups[t], form.groups[t][axis]) for t in range(form.rank)]
    parts = [[_part(inside, form, t, shape) for t in group] for group in column_groups(form)]
    last = Pass(
        shape.planes, shape.rows, shape.row_taps, shape.width, shape.column_taps, shape.inner,
        len(set(groups)) if outer > 0 else 1, shape.stored or outer > 0,
        shape.filled, shape.row_step, shape.column_step,
    )  # fmt: skip
    return plus(total, separable_pass(last, parts, machine, which))


def _without_last(form: FormFacts) -> FormFacts:
    """The terms without the last axis."""
    return replace(
        form,
        factors=tuple(one[:-1] for one in form.factors),
        runs=tuple(one[:-1] for one in form.runs),
        boxes=tuple(one[:-1] for one in form.boxes),
        groups=tuple(one[:-1] for one in form.groups),
    )


def _last_inner(problem: Problem) -> int:
    """Adjacent numbers of a sample of the last filtered axis."""
    return _parts(problem) * math.prod(problem.shape[problem.windows[-1].axis + 1 :])


def _slots(problem: Problem) -> int:
    window = problem.windows[-1]
    return slot_count(window.size, window.taps, wraps=window.boundary == Boundary.WRAP)


def _is_short(problem: Problem, sources: int = 1) -> bool:
    """Whether the last filtered axis of a contiguous array is filtered as short rows, from so many intermediates."""
    window, inner = problem.windows[-1], _last_inner(problem)
    run = math.prod(problem.out_shape) * _parts(problem)
    plain = window.step == 1 and window.size == window.out_size
    item = problem.real_dtype.itemsize
    return plain and are_short(window.size, inner, sources * _slots(problem), item, run)


def _short_steps(problem: Problem, sources: int, *, first: bool) -> Steps:
    """Its pass; it is the only one, or follows others slab by slab."""
    numbers = problem.pixels * _parts(problem)
    stored = _is_computed_in(problem, problem.output_dtype)
    stored = stored and (not first or _is_computed_in(problem, problem.input_dtype))
    slabs = 0 if first else -(-numbers * sources * problem.real_dtype.itemsize // PEELED_SLAB_BYTES)
    return short_rows_pass(numbers, sources * _slots(problem), stored)._replace(passes=slabs * (1 + sources))


def _parts(problem: Problem) -> int:
    """Real numbers of a sample of the sums."""
    return 2 if problem.compute_dtype.kind == "c" else 1


def _part(problem: Problem, form: FormFacts, t: int, shape: Pass) -> Part:
    taps, runs, boxes = form.factors[t], form.runs[t], form.boxes[t]
    if len(problem.windows) > 1:
        return Part(taps[-2], runs[-2], boxes[-2], taps[-1], boxes[-1])
    if shape.row_taps > 1 or shape.column_taps == 1:
        return Part(taps[-1], runs[-1], boxes[-1], 1, False)
    return Part(1, 1, False, taps[-1], boxes[-1])


def number_parts(problem: Problem, facts: KernelFacts) -> int:
    """Real multiply-adds for one of the problem: 1, 2 for complex data, 4 if the kernel is complex, too."""
    if problem.compute_dtype.kind != "c":
        return 1
    return 4 if facts.complex else 2


def steps_seconds(
    problem: Problem, facts: KernelFacts, steps: Steps, operations: float, machine: Machine
) -> float:
    """Predicted time of a call that takes `steps`, `operations` for each output element."""
    halves = 2 if facts.complex else 1  # the real and the imaginary kernel, one after the other
    units = machine.steps[precision(problem)]
    fixed = machine.call_seconds + halves * steps.passes * units.passes
    one: float = sum(map(mul, steps, units)) - steps.passes * units.passes
    moved = bytes_per_pixel(problem) * problem.pixels
    threads = thread_count(problem, machine)
    if problem.pixels * (operations + 4) < PARALLEL_WORK:
        threads = 1
    fused = steps.vertical > 0 and not steps.packed
    spread = one / threads + machine.copy_seconds(moved, threads, fused=fused)
    if threads > 1:
        fixed += machine.thread_seconds * halves * (steps.passes + 1)
    return fixed + halves * spread


def recursion_seconds(problem: Problem, recursion: RecursionFacts, machine: Machine) -> float:
    """Predicted time of recursive filters, one pass for each axis: it does not depend on the number of taps."""
    threads = thread_count(problem, machine)
    positions = [problem.pixels * math.prod(problem.steps[axis:]) for axis in range(len(problem.windows))]
    samples = sum(
        count * (1 + 2 * margin / max(window.out_size * window.step, 1))
        for count, window, margin in zip(positions, problem.windows, recursion.margins, strict=True)
    )
    moved = 2 * problem.real_dtype.itemsize * sum(positions)
    one = samples * machine.recursion_seconds[precision(problem)]
    check = 0.0 if problem.integer_data else check_seconds(problem, machine)
    fixed = machine.call_seconds * (1 + len(problem.windows))
    return fixed + machine.copy_seconds(moved, threads) + one / threads + check


def check_seconds(problem: Problem, machine: Machine) -> float:
    """Predicted time of finding the largest magnitude of the input, for routes that need finite data."""
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    numbers = math.prod(problem.shape) * parts
    threads = thread_count(problem, machine)
    reading = machine.copy_seconds(numbers * problem.real_dtype.itemsize, threads)
    return (
        machine.check_call_seconds + reading + numbers * machine.check_seconds[precision(problem)] / threads
    )


# ------------------------------------------------------------------------------------- transforms


def fft_points(problem: Problem, tiles: overlap.Tiling) -> float:
    """Points of all transforms together: the output, larger by the overlap of the tiles."""
    batch = problem.pixels / math.prod(window.out_size for window in problem.windows)
    count = math.prod(tiles.counts[window.axis] for window in problem.windows)
    return batch * count * tiles.points


def fft_operations(problem: Problem, tiles: overlap.Tiling) -> float:
    """``(5 log2(N) + 3) / 2`` multiply-adds a point, of real transforms there and back and the product."""
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    per_point = (5 * math.log2(max(tiles.points, 2)) + 3) / 2
    return parts * per_point * fft_points(problem, tiles) / problem.pixels


def fft_seconds(problem: Problem, machine: Machine, tiles: overlap.Tiling) -> float:
    """Predicted time of overlap-save, with the check that the data are finite."""
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    points = fft_points(problem, tiles) * parts
    double = problem.real_dtype.itemsize == 8
    point = machine.fft_point_seconds(tiles.points * parts, double=double) + machine.fft_pixel_seconds
    work = points * point + tiles.tiles * machine.fft_call_seconds
    if problem.output_dtype.kind in "biu":
        work += problem.pixels * machine.fft_converted_seconds
    check = 0.0 if problem.integer_data else check_seconds(problem, machine)
    threads = thread_count(problem, machine)
    shared = -(-tiles.tiles // threads) / tiles.tiles  # the slowest thread's share
    start = machine.fft_thread_seconds if threads > 1 and tiles.tiles >= threads else 0.0
    return machine.call_seconds + start + check + work * shared

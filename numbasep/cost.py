"""What a call takes: the steps that the backend will take, counted, times the seconds that one takes.

`passes` counts those of one pass.  Counts are linear in the measured constants, so these can be fitted to a few timed
calls.
"""

from __future__ import annotations

import math
from operator import mul
from typing import Any

import numpy as np

from numbasep import overlap
from numbasep.boundary import Boundary
from numbasep.facts import FlatFacts, FormFacts, KernelFacts, RecursionFacts
from numbasep.machine import Machine, Steps
from numbasep.passes import FEW_TAPS, STEP_ROWS, Part, Pass, dense_pass, is_written_out, plus, separable_pass
from numbasep.problem import Problem
from numbasep.workspace import SLAB_BYTES

PARALLEL_WORK = 4_000_000  # element operations of a pass from which it is spread over threads
BOX_OPERATIONS = 6  # of equal taps that are summed as a box
# In multiply-adds down packed columns: adding a vector of a row to sums in registers, from the first-level cache and
# from the second, and moving a vector of these; loading and adding a vector of a row elsewhere, or storing one
FLAT_ROW, FLAT_FAR_ROW, FLAT_MOVE, FLAT_VECTOR = 1.5, 3.0, 4.5, 3.3
FLAT_COLUMN, FLAT_SHIFTED = (
    1.0,
    1.3,
)  # adding a shifted sum, in registers and elsewhere, in multiply-adds along rows
FLAT_BLOCK, FLAT_EXTRA = 8, 4  # vectors of results in registers, and at most by which their sums are wider
FLAT_SMALL = 0.6  # of that is taken by bytes without sign, which are summed up as 16-bit integers
FLAT_PLANES = 1.3  # times that each plane of a volume is packed
FIRST_LEVEL_BYTES = 32 << 10  # of a cache
LINE_INNER = 16  # adjacent unfiltered numbers from which a single filtered axis runs down columns


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
    taken = {window.axis for window in windows[-2:]}
    parts = 2 if problem.compute_dtype.kind == "c" else 1
    inner = parts * math.prod(problem.shape[windows[-1].axis + 1 :])
    stored = all(_is_computed_in(problem, dtype) for dtype in (problem.input_dtype, problem.output_dtype))
    sources = math.prod(window.taps for window in windows[:-2])
    last = windows[-1]
    filled = problem.cval != 0 and last.boundary == Boundary.CONSTANT
    planes = problem.pixels * parts // max(last.out_size * inner, 1)
    if len(windows) == 1 and inner >= LINE_INNER:
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
    others = [n for axis, n in enumerate(problem.out_shape[: last.axis]) if axis not in taken and n > 1]
    count = others[-1] if others else 1
    return Pass(
        planes // max(count, 1), count, 1, width, last.taps, inner, 1, stored, filled, column_step=last.step
    )


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
    shape = _plane(problem)._replace(sources=facts.planes)
    taps = facts.size if problem.footprint == "window" else facts.nonzeros
    runs = facts.runs if shape.row_taps > 1 else taps
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
    which, shape = precision(problem), _plane(problem)
    total, outer = Steps(), len(problem.windows) - 2
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
    parts = [[_part(problem, form, t, shape) for t in group] for group in column_groups(form)]
    last = Pass(
        shape.planes, shape.rows, shape.row_taps, shape.width, shape.column_taps, shape.inner,
        len(set(groups)) if outer > 0 else 1, shape.stored or outer > 0,
        shape.filled, shape.row_step, shape.column_step,
    )  # fmt: skip
    return plus(total, separable_pass(last, parts, machine, which))


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


def flat_in_registers(problem: Problem, machine: Machine) -> bool:
    """Whether the sums of a flat kernel stay in registers: vectors of 64 bytes, few of them under the window."""
    lanes = machine.lanes[precision(problem)]
    return lanes * problem.real_dtype.itemsize >= 64 and _halo(problem) <= FLAT_EXTRA * lanes


def _halo(problem: Problem) -> int:
    shape = _plane(problem)
    return (shape.column_taps - 1) * shape.inner


def flat_operations(problem: Problem, flat: FlatFacts, machine: Machine) -> int:
    """Additions and multiply-adds for an output element."""
    return flat.rows + flat.columns if flat_in_registers(problem, machine) else flat.operations


def flat_seconds(problem: Problem, facts: KernelFacts, flat: FlatFacts, machine: Machine) -> float:
    """Predicted time of shifted sums of rows: rows are packed, then vectors are loaded, added and stored."""
    if not problem.pixels:
        return machine.call_seconds
    shape, sources = _plane(problem), math.prod(window.taps for window in problem.windows[:-2])
    packed = shape.planes * shape.rows * (FLAT_PLANES if sources > 1 else 1.0)
    numbers = shape.planes * shape.rows * shape.width
    halo, lanes = _halo(problem), machine.lanes[precision(problem)]
    if flat_in_registers(problem, machine):
        block = FLAT_BLOCK * lanes + halo
        plain = shape.inner == 1 and not flat.weighted and problem.real_dtype.itemsize == 4
        small = plain and problem.input_dtype.kind in "bu" and problem.input_dtype.itemsize == 1
        item = 2 if small else problem.real_dtype.itemsize
        cached = block * sources * (shape.row_taps + 3) * item <= FIRST_LEVEL_BYTES
        each = (FLAT_ROW if cached else FLAT_FAR_ROW) * block / (FLAT_BLOCK * lanes)
        share = FLAT_SMALL if small else 1.0
        down, along = share * (each * flat.rows + FLAT_MOVE * flat.moves), share * FLAT_COLUMN * flat.columns
    else:
        down, along = FLAT_VECTOR * (flat.row_loads + flat.sums), FLAT_SHIFTED * flat.shifted
    steps = Steps(
        packed=packed * shape.width,
        stored=numbers,
        converted=0 if shape.stored else numbers,
        rows=packed + shape.planes * shape.rows,
        edges=packed * shape.column_taps,
        column_taps=numbers * down,
        horizontal_taps=numbers * along,
    )
    return steps_seconds(problem, facts, steps, flat_operations(problem, flat, machine), machine)


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

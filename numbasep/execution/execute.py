"""Runs a plan by its runner."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.arrays import (
    as_input,
    has_strided_rows,
    has_whole_strides,
    is_direct_target,
    make_output,
    nested,
    on_gpu,
    result_dtype,
    warn_of_mask,
)
from ..arguments.casting import store
from ..arguments.placeholders import held
from ..arguments.problem import Problem
from ..planning.memory_order import copied_order, memory_order, reordered
from ..planning.planner import PlannedFilter
from ..planning.routes import Candidate
from ..system.types import Array

Normal = tuple[float, float, float] | None
Clock = list[float] | None
"""List to which the seconds of each pass are added, if they are measured."""
Runner = Callable[..., None]

# With at least this many elements, a call counts when calls of other Python threads choose their threads.
OCCUPYING = 1 << 14
# Up to this many elements, a strided array is copied, which takes less time than binding its strides.
COPIED = 1 << 12


def run_plan(plan: PlannedFilter, input: npt.ArrayLike, output: Any = None) -> Array:
    """Check the arrays against the plan and run it.

    Raises
    ------
    ValueError
        If `input` has another shape or dtype than planned, or `output` cannot hold the result.
    """
    if on_gpu(input):
        filtered: Array = _gpu_backend().run_plan(plan, input, output)
        return filtered
    if type(input) is not np.ndarray:
        warn_of_mask(
            input,
            remedy="a call of `convolve` or `correlate` with mask=x.mask; a plan takes no mask",
            stacklevel=4,
        )
    x = as_input(input)
    problem = plan.problem
    if x.shape != problem.shape or x.dtype != problem.input_dtype:
        raise ValueError(
            f"input must have shape {problem.shape} and dtype {problem.input_dtype} as planned, "
            f"got {x.shape} and {x.dtype}"
        )
    given = problem.output_dtype if output is None else output
    dtype = result_dtype(given, x.dtype, complex_result=problem.compute_dtype.kind == "c")
    if dtype != problem.output_dtype:
        raise ValueError(f"output must have dtype {problem.output_dtype} as planned, got {dtype}")
    return filter_array(plan, x, output)


def filter_array(plan: PlannedFilter, x: Array, output: Any, normal: Normal = None) -> Array:
    """Filter `x`, which the plan was made for; return `output` if it is an array, else a new array.

    With `normal`, NaN samples have weight zero (`cpu.run.correlate`); `can_leave_out` says for which plans.
    """
    problem, chosen = plan.problem, plan.choice.chosen
    if x.size <= COPIED and not x.flags.carray and chosen.runner == "planes" and memory_order(x) is None:
        x = x if held(x) else x.copy()
    again = plan.kernel.again.get(chosen.form) if chosen.runner == "planes" and normal is None else None
    if again is not None and x.flags.carray:
        if chosen.needs_finite and applicable(plan, x, ignore_nan=False) is not chosen:
            again = None
        if output is None:
            out = np.empty(problem.out_shape, problem.output_dtype)
        elif _is_plain_target(output, problem, x):
            out = output
        else:
            again = None
        if again is not None and again(x, out) is not False:
            return out
    if problem.device == "cuda":
        filtered: Array = _gpu_backend().filter_array(plan, x, output)
        return filtered
    out = make_output(output, problem.output_dtype, problem.out_shape, x)
    if not problem.pixels:
        return out
    if not has_whole_strides(x):
        x = np.ascontiguousarray(x)
    order = memory_order(x)
    if order is not None:
        filter_array(reordered(plan, order), x.transpose(order), out.transpose(order), normal)
        return out
    if (order := copied_order(plan)) is not None:
        result = np.empty([problem.out_shape[axis] for axis in order], problem.output_dtype)
        filter_array(reordered(plan, order), np.ascontiguousarray(x.transpose(order)), result, normal)
        out.transpose(order)[...] = result
        return out
    out, returned = nested(out), out
    x, count = nested(x), len(problem.windows)
    if has_strided_rows(x, count):
        x = np.ascontiguousarray(x)
    direct = is_direct_target(out, x) and not has_strided_rows(out, count)
    target = out if direct else nested(np.empty_like(out, dtype=problem.output_dtype, order="K"))
    if x.size < OCCUPYING:
        _run(plan, x, target, normal)
    else:
        from ..cpu import threads

        with threads.occupied():
            _run(plan, x, target, normal)
    if target is not out:
        out[...] = target
    return returned


@functools.cache
def _gpu_backend() -> Any:
    """Import the GPU backend on first use; cached because an import statement costs 1 us per call."""
    from ..cuda import run

    return run


def _is_plain_target(output: Any, problem: Problem, x: Array) -> bool:
    """Return whether `output` is like a new array: C-contiguous, of the right dtype and shape, no overlap with `x`."""
    return (
        type(output) is np.ndarray
        and output.flags.carray
        and output.dtype == problem.output_dtype
        and output.shape == problem.out_shape
        and not np.may_share_memory(output, x)
    )


def _run(plan: PlannedFilter, x: Array, out: Array, normal: Normal) -> None:
    problem, operator = plan.problem, plan.kernel
    if not problem.windows or 0 in problem.shape:
        # Without filtered axes, the kernel is one number.  Without input, all samples are `cval`.
        store(_scaled(x, operator.weights, problem), out, problem.cast)
        return
    run_candidate(plan, applicable(plan, x, ignore_nan=normal is not None), x, out, normal)


def run_candidate(
    plan: PlannedFilter,
    candidate: Candidate,
    x: Array,
    out: Array,
    normal: Normal = None,
    clock: Clock = None,
) -> None:
    """Run `candidate`, the one applicable to `x`; add the seconds of its passes to `clock` unless it is None."""
    problem, operator, chosen = plan.problem, plan.kernel, plan.choice.chosen
    if candidate is not chosen and chosen.marks_gaps:
        from ..cpu import threads
        from ..cpu.fft import missing_data

        workers = threads.thread_count(problem.workers)
        if missing_data.correlate(operator, problem, x, out, workers, chosen.largest_sample):
            return
    RUNNERS[candidate.runner](operator, problem, candidate, x, out, normal, clock)


def _planes(
    operator: Any, problem: Problem, c: Candidate, x: Array, out: Array, normal: Normal, _clock: Clock = None
) -> None:
    from ..cpu import run as cpu

    cpu.correlate(operator, problem, c.form, x, out, normal)


def _recursive(
    operator: Any, problem: Problem, _c: Candidate, x: Array, out: Array, _normal: Normal, clock: Clock = None
) -> None:
    from ..cpu import recursive

    recursive.correlate(operator.recursions, problem, x, out, clock)


def _flat(
    operator: Any,
    problem: Problem,
    _c: Candidate,
    x: Array,
    out: Array,
    _normal: Normal,
    _clock: Clock = None,
) -> None:
    from ..cpu import flat

    flat.correlate(operator, problem, x, out)


def _transforms(
    operator: Any, problem: Problem, c: Candidate, x: Array, out: Array, _normal: Normal, _clock: Clock = None
) -> None:
    from ..cpu import threads
    from ..cpu.fft import overlap_save

    workers, integers = threads.thread_count(problem.workers), c.exact and problem.integer_data
    overlap_save.correlate(x, operator.weights, problem, out, workers, integers=integers)


RUNNERS: dict[str, Runner] = {
    "planes": _planes, "recursive": _recursive, "flat": _flat, "transforms": _transforms, "lines": _transforms,
}  # fmt: skip
"""Functions that compute a candidate, by `Candidate.runner`. They import their backends on first use."""


def can_leave_out(plan: PlannedFilter) -> bool:
    """Return whether the passes of a plan can leave out NaN samples: real data, and only plane kernels of the CPU."""
    problem, choice = plan.problem, plan.choice
    real = problem.compute_dtype.kind == "f" and problem.input_dtype.kind == "f"
    plain = all(c is None or c.runner == "planes" for c in (choice.chosen, choice.fallback))
    on_cpu = problem.device != "cuda"
    return on_cpu and real and plain and bool(problem.windows) and 0 not in problem.shape


def filter_valid(plan: PlannedFilter, x: Array, output: Any, weight: float, least: float) -> Array | None:
    """Filter with NaN samples left out, as `filter_array` with `normal`, by transforms along rows.

    Return None, without writing, if the plan, the arrays or the data do not allow it.
    """
    problem, chosen = plan.problem, plan.choice.chosen
    if chosen.runner != "lines" or not chosen.marks_gaps or problem.device == "cuda" or not problem.pixels:
        return None
    from ..cpu import threads
    from ..cpu.fft import row_gaps

    out = make_output(output, problem.output_dtype, problem.out_shape, x)
    if not is_direct_target(out, x) or not row_gaps.is_simple(problem, x, out):
        return None
    with threads.occupied():
        workers = threads.thread_count(problem.workers)
        done = row_gaps.correlate_valid(
            plan.kernel, problem, x, out, workers, chosen.largest_sample, weight, least
        )
    return out if done else None


def _scaled(x: Array, weight: Array, problem: Any) -> Array:
    if 0 in problem.shape:
        return np.full(problem.out_shape, problem.cval * weight.sum(), problem.compute_dtype)
    return np.asarray(x.astype(problem.compute_dtype) * weight.astype(problem.compute_dtype))


def applicable(plan: PlannedFilter, x: Array, *, ignore_nan: bool) -> Candidate:
    """Return the chosen candidate, or the fallback if data contain NaN, infinities or values near overflow."""
    choice = plan.choice
    if not choice.chosen.needs_finite or plan.problem.integer_data:
        return choice.chosen
    from ..cpu import largest_magnitude, threads

    # Numba's threads spin while they wait, which would slow down the Python threads of transforms.
    workers = 1 if choice.chosen.runner == "transforms" else threads.thread_count(plan.problem.workers)
    largest = largest_magnitude.largest_magnitude(x, workers, ignore_nan=ignore_nan)
    if largest <= choice.chosen.largest_sample:
        return choice.chosen
    assert choice.fallback is not None
    return choice.fallback

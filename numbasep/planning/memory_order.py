"""Plans for other memory orders: a Fortran array is the C array of the reversed shape."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..factor import runs
from ..factor.arguments import as_kernel
from . import machine
from .facts import kernel_facts, term_facts
from .operators import Operator, dense_slices, touched_taps
from .planner import GAIN, PlannedFilter, choose

if TYPE_CHECKING:
    from ..arguments.problem import Problem
    from ..factor import Form

Order = tuple[int, ...]
"""Axes from the outermost in memory to the innermost."""

SHORT_ROW = 16  # numbers; arrays with shorter rows may be copied to another memory order
LEAST_COPIED = 1 << 14  # smaller results are not worth a second plan
COPY_SECONDS = 3e-9  # predicted time of transposing an element


def memory_order(x: npt.NDArray[Any]) -> Order | None:
    """Return the axes of an array from the outermost to the innermost in memory; None if they are in C order.

    Axes of length 1 and of stride 0 come first.

    Examples
    --------
    >>> import numpy as np
    >>> memory_order(np.zeros((3, 4), order="F")), memory_order(np.zeros((3, 4)))
    ((1, 0), None)
    """
    if x.ndim < 2 or x.flags.c_contiguous:
        return None
    steps = [abs(stride) if size > 1 else 0 for stride, size in zip(x.strides, x.shape, strict=True)]
    if all(a >= b for a, b in itertools.pairwise(step for step in steps if step)):
        return None
    return tuple(sorted(range(x.ndim), key=lambda axis: (steps[axis] > 0, -steps[axis], axis)))


def reordered(plan: PlannedFilter, order: Order) -> PlannedFilter:
    """Return the plan of the same filter for arrays in another memory order; plans are cached by order."""
    kept = plan.kernel.reordered
    if order not in kept:
        kept[order] = _make(plan, order)
    made: PlannedFilter = kept[order]
    return made


def copied_order(plan: PlannedFilter) -> Order | None:
    """Return the memory order to which arrays in C order are copied before they are filtered; None if they are not.

    Kernels fill vectors along rows.  If the rows of an array are short, it can be faster to make its longest axis the
    last one, in spite of the copies.
    """
    kept = plan.kernel.decisions
    if "copied order" not in kept:
        kept["copied order"] = _find_copied_order(plan)
    found: Order | None = kept["copied order"]
    return found


def copy_seconds(problem: Problem) -> float:
    """Return the predicted time of copying the input and the result of a filter between memory orders."""
    return COPY_SECONDS * (math.prod(problem.shape) + problem.pixels)


def _find_copied_order(plan: PlannedFilter) -> Order | None:
    problem, seconds = plan.problem, plan.choice.chosen.seconds
    if problem.device == "cuda" or problem.pixels < LEAST_COPIED or not problem.windows:
        return None
    filtered = {window.axis for window in problem.windows}
    rows = max(axis for axis, size in enumerate(problem.shape) if size > 1 or axis in filtered)
    longest = max(range(len(problem.shape)), key=problem.shape.__getitem__)
    if rows == longest or problem.shape[rows] >= SHORT_ROW or seconds < 2 * copy_seconds(problem):
        return None
    order = (*(axis for axis in range(len(problem.shape)) if axis != longest), longest)
    there = reordered(plan, order).choice.chosen.seconds + copy_seconds(problem)
    return order if there < GAIN * seconds else None


def _make(plan: PlannedFilter, order: Order) -> PlannedFilter:
    windows = plan.problem.windows
    nested = sorted(range(len(windows)), key=lambda j: order.index(windows[j].axis))
    problem, operator = _reordered_problem(plan.problem, order), _reordered_operator(plan.kernel, nested)
    if operator.dense is None:
        form = operator.forms[0]
        assert operator.terms is not None
        facts = term_facts(
            form.terms, dense_slices(form.terms), form.divisor, operator.forms, touched_taps(operator.terms)
        )
    else:
        facts = kernel_facts(operator.dense, operator.forms, operator.flat)
    if operator.recursion is not None:
        facts = replace(facts, recursion=operator.recursion)
    constants = machine.current()
    return PlannedFilter(problem, choose(problem, facts, constants), operator, constants.name)


def _reordered_problem(problem: Problem, order: Order) -> Problem:
    windows = [replace(window, axis=order.index(window.axis)) for window in problem.windows]
    return replace(
        problem,
        shape=tuple(problem.shape[axis] for axis in order),
        out_shape=tuple(problem.out_shape[axis] for axis in order),
        windows=tuple(sorted(windows, key=lambda window: window.axis)),
    )


def _reordered_operator(operator: Operator, nested: Sequence[int]) -> Operator:
    """Return the kernel with its axes permuted: axis ``nested[j]`` becomes axis j."""

    def moved(entries: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(entries[j] for j in nested)

    def moved_form(form: Form) -> Form:
        return replace(form, terms=tuple(map(moved, form.terms)))

    recursion = operator.recursion
    dense = None if operator.dense is None else np.ascontiguousarray(operator.dense.transpose(nested))
    return Operator(
        tuple(map(moved_form, operator.forms)),
        None if operator.terms is None else tuple(map(moved, operator.terms)),
        dense,
        moved(operator.recursions) if operator.recursions else (),
        None if recursion is None else replace(recursion, margins=moved(recursion.margins)),
        None if operator.flat is None or dense is None else runs.find(as_kernel(dense)),
    )

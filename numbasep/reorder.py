"""Plans for arrays in the other memory order: a Fortran array is the C array of the reversed shape."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import machine
from .factor import runs
from .factor.arguments import as_kernel
from .facts import kernel_facts, term_facts
from .operators import Operator, dense_slices
from .planner import Plan, choose

if TYPE_CHECKING:
    from .factor import Form
    from .problem import Problem


def is_reversed(x: npt.NDArray[Any]) -> bool:
    """Whether the axes of an array are nested the other way round: the first is the innermost.

    Examples
    --------
    >>> import numpy as np
    >>> is_reversed(np.zeros((3, 4), order="F")), is_reversed(np.zeros((3, 4)))
    (True, False)
    """
    if x.ndim < 2 or x.flags.c_contiguous:
        return False
    steps = [abs(stride) for stride, size in zip(x.strides, x.shape, strict=True) if size > 1]
    return len(steps) > 1 and all(a < b for a, b in itertools.pairwise(steps))


def reversed_plan(plan: Plan) -> Plan:
    """The plan of the same filter for the transposed array; made once, and planned anew for its order."""
    kept = plan.kernel.reversed_plans
    if not kept:
        kept.append(_make_reversed(plan))
    made: Plan = kept[0]
    return made


def _make_reversed(plan: Plan) -> Plan:
    problem, operator = _reversed_problem(plan.problem), _reversed_operator(plan.kernel)
    if operator.dense is None:
        form = operator.forms[0]
        facts = term_facts(form.terms, dense_slices(form.terms), form.divisor, operator.forms)
    else:
        facts = kernel_facts(operator.dense, operator.forms, operator.flat)
    constants = machine.current()
    return Plan(problem, choose(problem, facts, constants), operator, constants.name)


def _reversed_problem(problem: Problem) -> Problem:
    last = len(problem.shape) - 1
    windows = tuple(replace(window, axis=last - window.axis) for window in reversed(problem.windows))
    return replace(problem, shape=problem.shape[::-1], out_shape=problem.out_shape[::-1], windows=windows)


def _reversed_operator(operator: Operator) -> Operator:
    def reversed_form(form: Form) -> Form:
        return replace(form, terms=tuple(term[::-1] for term in form.terms))

    dense = None if operator.dense is None else np.ascontiguousarray(operator.dense.T)
    return Operator(
        tuple(map(reversed_form, operator.forms)),
        None if operator.terms is None else tuple(term[::-1] for term in operator.terms),
        dense,
        flat=None if operator.flat is None or dense is None else runs.find(as_kernel(dense)),
    )

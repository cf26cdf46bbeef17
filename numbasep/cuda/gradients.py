"""Gradients through filters of PyTorch's tensors: the adjoint of a plan is the plan of the flipped kernel.

A filter extends its input beyond the edges and sums over windows.  For the backward pass, the gradient is filtered by
the flipped kernel with zeros beyond its edges, which gives the gradient of the extended input.  Gradients of extended
samples are then added to the samples that they copy.  Both passes are linear, so gradients of gradients follow.
"""

import contextlib
import contextvars
import functools
import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..arguments.boundary import Boundary
from ..arguments.problem import Problem, Window
from ..factor import Form
from ..planning.operators import Factor, Operator
from ..planning.planner import PlannedFilter
from .intrinsics.vocabulary import OUTSIDE
from .tables import continued

Run = Callable[[PlannedFilter, Any], Any]
"""Function (plan, tensor) -> filtered tensor."""

Ran = list[tuple[PlannedFilter | None, Any, Any]]
_ran: contextvars.ContextVar[Ran | None] = contextvars.ContextVar("numbasep_gradients", default=None)


@contextlib.contextmanager
def recording() -> Iterator[Ran]:
    """Record (plan, input, result) of the plans that run in this context; the plan is None for other arithmetic."""
    ran: Ran = []
    token = _ran.set(ran)
    try:
        yield ran
    finally:
        _ran.reset(token)


def record(plan: PlannedFilter | None, array: Any, result: Any) -> None:
    """Append a plan with its input and result to the record, if one is being made."""
    ran = _ran.get()
    if ran is not None:
        ran.append((plan, array, result))


def detached(array: Any) -> tuple[Any, bool]:
    """Return (array without gradient, whether gradients with respect to it are needed)."""
    if not getattr(array, "requires_grad", False) or not hasattr(array, "detach"):
        return array, False
    return array.detach(), importlib.import_module("torch").is_grad_enabled()


def attach(array: Any, ran: Ran, result: Any, run: Run, name: str) -> Any:
    """Return `result` with a gradient that flows to `array`.

    Raises
    ------
    TypeError
        The result does not come from a single linear filter that wrote to a new tensor.
    """
    if len(ran) != 1 or ran[0][0] is None or ran[0][2] is not result:
        raise TypeError(
            f"input requires a gradient, which {name} with these arguments does not propagate: pass input.detach()"
        )
    return _functions()[0].apply(array, ran[0][0], run, [result])


def filtered(plan: PlannedFilter, array: Any, run: Run) -> Any:
    """Run a plan; return a result with a gradient that flows to `array`."""
    return _functions()[0].apply(array, plan, run, [])


@functools.cache
def _functions() -> tuple[Any, Any]:
    """Return the filter and its adjoint as `torch.autograd.Function` classes."""
    function = importlib.import_module("torch").autograd.Function

    class Filter(function):  # type: ignore[misc,valid-type]
        @staticmethod
        def forward(ctx: Any, x: Any, plan: PlannedFilter, run: Run, result: list[Any]) -> Any:
            ctx.plan, ctx.run = plan, run
            return result.pop() if result else run(plan, x.detach())

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return Adjoint.apply(gradient, ctx.plan, ctx.run), None, None, None

    class Adjoint(function):  # type: ignore[misc,valid-type]
        @staticmethod
        def forward(ctx: Any, gradient: Any, plan: PlannedFilter, run: Run) -> Any:
            ctx.plan, ctx.run = plan, run
            return _folded(run(adjoint(plan), gradient.detach()), plan.problem)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return Filter.apply(gradient, _linear(ctx.plan), ctx.run, []), None, None

    return Filter, Adjoint


# --------------------------------------------------------------------------- the adjoint


def adjoint(plan: PlannedFilter) -> PlannedFilter:
    """Return the plan that maps gradients of the result to gradients of the extended input; cached."""
    kept = plan.kernel.launches
    if "adjoint" not in kept:
        kept["adjoint"] = replace(plan, problem=_adjoint_problem(plan.problem), kernel=_flipped(plan.kernel))
    found: PlannedFilter = kept["adjoint"]
    return found


def _adjoint_problem(problem: Problem) -> Problem:
    shape, windows = list(problem.out_shape), []
    for window in problem.windows:
        shape[window.axis] = window.reach
        windows.append(Window(
            window.axis, window.out_size, window.reach, window.taps, 1 - window.taps, Boundary.CONSTANT
        ))  # fmt: skip
    compute = problem.compute_dtype if problem.input_dtype.kind == "c" else problem.real_dtype
    return replace(
        problem, shape=problem.out_shape, out_shape=tuple(shape), windows=tuple(windows), cval=0j,
        input_dtype=problem.output_dtype, output_dtype=compute,
    )  # fmt: skip


def _linear(plan: PlannedFilter) -> PlannedFilter:
    """Return the plan with `cval` zero, which makes the filter linear instead of affine."""
    return replace(plan, problem=replace(plan.problem, cval=0j), kernel=replace(plan.kernel))


def _flipped(operator: Operator) -> Operator:
    def factor(given: Factor) -> Factor:
        size = given.taps.size
        return replace(given, taps=given.taps[::-1], start=size - given.stop, stop=size - given.start)

    def form(given: Form) -> Form:
        return replace(given, terms=tuple(tuple(taps[::-1] for taps in term) for term in given.terms))

    return Operator(
        tuple(map(form, operator.forms)),
        None if operator.terms is None else tuple(tuple(map(factor, term)) for term in operator.terms),
        None if operator.dense is None else np.ascontiguousarray(np.flip(operator.dense)),
    )


def _folded(extended: Any, problem: Problem) -> Any:
    """Add gradients of extended samples to those of the samples that they copy; convert to the input type."""
    torch = importlib.import_module("torch")
    for window in problem.windows:
        axis, first, count = window.axis, window.first, window.reach
        positions = continued(first, count, window.size, window.boundary)
        start, stop = min(max(-first, 0), count), max(min(window.size - first, count), 0)
        inside = np.arange(start, max(start, stop))
        beyond = np.setdiff1d(np.flatnonzero(positions != OUTSIDE), inside)
        shape = (*extended.shape[:axis], window.size, *extended.shape[axis + 1 :])
        total = torch.zeros(shape, dtype=extended.dtype, device=extended.device)
        if inside.size:
            total.narrow(axis, first + start, inside.size).copy_(extended.narrow(axis, start, inside.size))
        if beyond.size:
            at, onto = (torch.as_tensor(a, device=extended.device) for a in (beyond, positions[beyond]))
            total.index_add_(axis, onto, extended.index_select(axis, at))
        extended = total
    return extended.to(getattr(torch, problem.input_dtype.name))

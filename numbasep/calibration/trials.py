"""The filters that a calibration times: all kinds of kernels, on arrays of several sizes."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments.problem import Options, make_problem, make_windows
from ..execution.execute import run_plan
from ..factor import Form, forms
from ..lowering.lower import lower
from ..lowering.spec import PassSpec, in_order
from ..lowering.steps import Steps, total
from ..planning.facts import KernelFacts, kernel_facts
from ..planning.machine import REFERENCE, Machine
from ..planning.operators import Operator
from ..planning.planner import PlannedFilter, choose

REPEATS = 7  # each measurement is the shortest of so many ...
AGREE = 1.03  # ... or fewer, as soon as the two shortest differ by less than this factor


listeners: list[Callable[[], Any]] = []
"""Called after each measurement: how far a calibration is."""


def seconds(call: Callable[[], Any]) -> float:
    """Shortest time of `call`, after a first one that compiles and fills caches."""
    call()
    best = second = math.inf
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        best, second, _ = sorted((best, second, time.perf_counter() - start))
        if second <= AGREE * best:
            break
    for tell in listeners:
        tell()
    return best


def dense(rows: int, columns: int) -> NDArray[np.float64]:
    """A kernel without structure."""
    return np.random.default_rng(0).uniform(0.5, 1.0, (rows, columns))


def product(*sizes: int) -> NDArray[np.float64]:
    """A separable kernel whose taps differ."""
    kernel = np.ones(())
    for n in sizes:
        kernel = np.multiply.outer(kernel, np.linspace(1.0, 1.5, n))
    return kernel


def two_terms(rows: int, columns: int) -> NDArray[np.float64]:
    """A kernel of rank two."""
    return product(rows, columns) + np.outer(np.linspace(1, 2, rows) ** 2, np.linspace(2, 1, columns) ** 2)


def prepared(
    shape: tuple[int, ...], weights: NDArray[Any], dtype: np.dtype[Any], workers: int, method: str = "direct"
) -> Callable[[], Any]:
    """A call of `plan_call` on arrays of ones."""
    planned = plan_call(shape, weights, dtype, workers, method)
    x, out = np.ones(shape, dtype), np.ones(shape, dtype)
    return lambda: run_plan(planned, x, out)


def plan_call(
    shape: tuple[int, ...], weights: NDArray[Any], dtype: np.dtype[Any], workers: int, method: str,
    cval: float = 0.0,
) -> PlannedFilter:  # fmt: skip
    """A plan for one route, its form chosen by the constants that ship; beyond the edges is `cval` if not zero."""
    axes = tuple(range(weights.ndim))
    problem = make_problem(
        shape,
        dtype,
        dtype,
        make_windows(shape, axes, weights.shape, "constant" if cval else "reflect", 0, flip=False),
        cval=cval,
        footprint="support",
        options=Options(method=method, workers=workers, rtol=1e-3),
        operation="correlate",
        complex_kernel=False,
        integer_l1=None,
    )
    found, facts = _taken_apart(weights.tobytes(), weights.shape)
    return PlannedFilter(
        problem, choose(problem, facts, REFERENCE), Operator(found, None, weights), REFERENCE.name
    )


@functools.lru_cache(maxsize=64)
def _taken_apart(content: bytes, shape: tuple[int, ...]) -> tuple[tuple[Form, ...], KernelFacts]:
    """Forms of a kernel and the facts about it: once for all images that it is timed on."""
    weights = np.frombuffer(content).reshape(shape)
    found = forms(weights, thorough=True)
    return found, kernel_facts(weights, found)


def lowered(planned: PlannedFilter, machine: Machine) -> tuple[KernelFacts, tuple[PassSpec, ...]]:
    """The facts about a kernel that `plan_call` took, and the passes of the route taken."""
    weights = planned.kernel.weights
    _, facts = _taken_apart(weights.tobytes(), weights.shape)
    direct = planned.choice.chosen.method == "direct"
    kernel = facts.weights(planned.problem.footprint) if direct else facts.forms[0]
    return facts, in_order(lower(kernel, planned.problem, machine.target))


def steps_of(specs: Sequence[PassSpec]) -> Steps:
    """The steps of all passes of a call; the first start is a part of the call."""
    starts = Steps(passes=sum(spec.starts for spec in specs) - 1)
    return total(starts, *(spec.steps for spec in specs))

"""The filters that a calibration times: kernels of all kinds."""

import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments.problem import Options, make_problem, make_windows
from ..execution.execute import run_plan
from ..factor import forms, runs
from ..factor.arguments import as_kernel
from ..planning.cost import Work
from ..planning.facts import KernelFacts, kernel_facts
from ..planning.machine import REFERENCE, Machine
from ..planning.operators import Operator
from ..planning.planner import PlannedFilter, choose
from ..planning.routes import ROUTES

REPEATS = 7  # each measurement is the shortest of this many ...
AGREE = 1.03  # ... or fewer, as soon as the two shortest differ by less than this factor


FILLED = 1.0  # a constant beyond the edges, with which rows are packed


listeners: list[Callable[[], Any]] = []
"""Functions that are called after each measurement, to show progress."""


def seconds(call: Callable[[], Any]) -> float:
    """Return the shortest time of `call`, after a first call that compiles and fills caches."""
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
    """Return a kernel without structure."""
    return np.random.default_rng(0).uniform(0.5, 1.0, (rows, columns))


def product(*sizes: int) -> NDArray[np.float64]:
    """Return a separable kernel whose taps all differ."""
    kernel = np.ones(())
    for n in sizes:
        kernel = np.multiply.outer(kernel, np.linspace(1.0, 1.5, n))
    return kernel


def two_terms(rows: int, columns: int) -> NDArray[np.float64]:
    """Return a kernel of rank two."""
    return product(rows, columns) + np.outer(np.linspace(1, 2, rows) ** 2, np.linspace(2, 1, columns) ** 2)


def disk(radius: int) -> NDArray[np.float64]:
    """Return a disk of equal weights."""
    x = np.arange(-radius, radius + 1)
    return (np.hypot(x[:, None], x) <= radius + 0.5).astype(np.float64)


def samples() -> Iterator[tuple[str, NDArray[np.float64], float]]:
    """Yield (route, kernel, value beyond the edges) of filters that together determine the time of every step."""
    for rows, columns in ((1, 1), (3, 3), (7, 7), (15, 15), (5, 41)):
        yield "direct", dense(rows, columns), 0.0
    yield "direct", np.diag(np.linspace(1, 2, 24)), 0.0
    for side in (5, 13):
        yield "direct", dense(side, side) + dense(side, side)[:, ::-1], 0.0
    for rows, columns in ((3, 3), (15, 3), (5, 9), (41, 2), (33, 33), (3, 41), (41, 19)):
        yield "separable", product(rows, columns), 0.0
    for rows, columns in ((3, 3), (5, 5), (7, 7), (9, 5), (9, 9), (7, 13), (25, 25)):
        yield "separable", two_terms(rows, columns), 0.0
    yield "separable", np.outer([1.0, 0, -1.5], [1, 2, 1]), 0.0
    yield "separable", np.outer([1.0, 0, 2, 0, 3, 0, 4], [1, 2, 3, 2, 1]), 0.0
    for rows, columns in ((3, 3), (33, 33), (3, 41), (41, 5)):
        yield "separable", product(rows, columns), FILLED
    for rows, columns in ((3, 3), (9, 9), (25, 25)):
        yield "separable", two_terms(rows, columns), FILLED
    for rows, columns in ((45, 3), (3, 45), (45, 45)):
        yield "separable", np.ones((rows, columns)), FILLED
    for radius in (3, 7, 12):
        yield "structured", disk(radius), 0.0
    yield "direct", product(3, 3, 3), 0.0
    yield "direct", product(9, 1, 1), 0.0  # packs nine planes for nine multiply-adds
    yield "separable", product(3, 3, 3), 0.0
    yield "separable", product(5, 5, 5) + np.pad([[[9.0]]], 2), 0.0


def shared_samples() -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield (route, kernel) of filters that determine the constants of threads."""
    yield "direct", dense(3, 3)
    yield "direct", dense(9, 9)
    for taps in (3, 9, 25):
        yield "separable", product(taps, taps)


def prepared(
    shape: tuple[int, ...], weights: NDArray[Any], dtype: np.dtype[Any], workers: int, method: str = "direct"
) -> Callable[[], Any]:
    """Return a function that runs `plan_call` on arrays of ones."""
    planned = plan_call(shape, weights, dtype, workers, method)
    x, out = np.ones(shape, dtype), np.ones(shape, dtype)
    return lambda: run_plan(planned, x, out)


def plan_call(
    shape: tuple[int, ...], weights: NDArray[Any], dtype: np.dtype[Any], workers: int, method: str,
    cval: float = 0.0,
) -> PlannedFilter:  # fmt: skip
    """Return a plan for one route, with a form chosen by the shipped constants; `cval` is beyond the edges if not 0."""
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
    operator, facts = _taken_apart(weights.tobytes(), weights.shape)
    return PlannedFilter(problem, choose(problem, facts, REFERENCE), replace(operator), REFERENCE.name)


@functools.lru_cache(maxsize=64)
def _taken_apart(content: bytes, shape: tuple[int, ...]) -> tuple[Operator, KernelFacts]:
    """Return a kernel with its forms and facts, cached as it is timed on several images."""
    weights = np.frombuffer(content).reshape(shape)
    found, flat = forms(weights, thorough=True), runs.find(as_kernel(weights))
    return Operator(found, None, weights, flat=flat), kernel_facts(weights, found, flat)


def works_of(planned: PlannedFilter, machine: Machine) -> tuple[Work, ...]:
    """Return the work of the passes of a plan from `plan_call`."""
    chosen, weights = planned.choice.chosen, planned.kernel.weights
    _, facts = _taken_apart(weights.tobytes(), weights.shape)
    same = (chosen.form, chosen.runner)
    found = ROUTES[chosen.method].estimates(planned.problem, facts, machine)
    (candidate,) = (one for one in found if (one.form, one.runner) == same)
    return tuple(one.work for one in candidate.passes if one.work is not None)

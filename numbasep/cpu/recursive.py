"""Recursive filters, with a pass over a contiguous array for each filtered axis.

A recursion computes all positions; along a strided axis, those in between are dropped before the next pass.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.boundary import OUTSIDE, index_map
from ..arguments.casting import store
from ..arguments.problem import Problem, Window
from ..factor.recursion import Recursion
from . import threads
from .intrinsics.vectors import VECTOR_BYTES
from .kernels import recursive as kernels

Array = npt.NDArray[Any]

PARALLEL_ELEMENTS = 1 << 16
SIDE = 4  # vectors of adjacent lines per task
BATCH_ELEMENTS = 1 << 25  # per thread, between checks for signals (Ctrl-C)


def correlate(
    recursions: Sequence[Recursion],
    problem: Problem,
    x: Array,
    out: Array,
    clock: list[float] | None = None,
) -> None:
    """Filter `x` into `out`, which must not overlap it, axis by axis.

    Parameters
    ----------
    recursions : sequence of Recursion
        The recursion for each window of the problem.
    problem : Problem
        A problem with real data and no empty axis.
    x, out : ndarray
        Arrays of the problem's shapes, of any layout and byte order.
    clock : list of float, optional
        List to which the seconds of each axis are added.
    """
    compute = problem.real_dtype
    shapes, shape = [x.shape], x.shape
    for window in problem.windows:
        shapes.append((*shape[: window.axis], _positions(window), *shape[window.axis + 1 :]))
        shape = (*shape[: window.axis], window.out_size, *shape[window.axis + 1 :])
    largest = max(math.prod(shape) for shape in shapes) * compute.itemsize
    plain = out.flags.c_contiguous and out.dtype == compute and out.flags.aligned
    source = np.ascontiguousarray(x, compute)
    outside = problem.cval.real
    with contextlib.ExitStack() as stack:
        spare: list[Array] = []
        for i, (window, recursion) in enumerate(zip(problem.windows, recursions, strict=True)):
            if i == len(problem.windows) - 1 and plain and window.step == 1:
                target = out
            else:
                if len(spare) < 2:
                    spare.append(stack.enter_context(threads.borrow(largest)))
                buffer = spare[i % 2].view(compute)
                target = buffer[: math.prod(shapes[i + 1])].reshape(shapes[i + 1])
            start = time.perf_counter()
            _filter_axis(recursion, window, outside, source, target, problem.workers)
            if clock is not None:
                clock[i] += time.perf_counter() - start
            outside *= recursion.gain
            source = target
            if window.step > 1:
                kept = (slice(None),) * window.axis + (slice(None, None, window.step),)
                source = np.ascontiguousarray(target[kept])
        if source is not out:
            store(source, out, problem.cast)


def _positions(window: Window) -> int:
    """Return the number of positions of a line from the first output to the last."""
    return (window.out_size - 1) * window.step + 1


def _filter_axis(
    recursion: Recursion, window: Window, outside: float, x: Array, y: Array, workers: int | None
) -> None:
    """Filter a contiguous array along an axis."""
    lines = _prepare(window, recursion.margin)
    inner = math.prod(x.shape[window.axis + 1 :])
    outer = math.prod(x.shape[: window.axis])
    lanes = VECTOR_BYTES // x.itemsize
    side = min(inner // lanes, SIDE)
    tasks = outer * -(-inner // (side * lanes)) if side else -(-outer * inner // lanes)
    count = min(threads.thread_count(workers), tasks) if y.size >= PARALLEL_ELEMENTS else 1
    geometry = np.zeros(kernels.GEOMETRY, np.int64)
    for name, value in {
        kernels.OUTER: outer, kernels.SIZE: window.size, kernels.INNER: inner, kernels.OUT: _positions(window),
        kernels.MARGIN: recursion.margin, kernels.LOW: lines.low, kernels.HIGH: lines.high,
        kernels.SIDE: side,
    }.items():  # fmt: skip
        geometry[name] = value
    numbers = lanes * (lines.positions.size + _positions(window) + 1) * max(side, 1)
    starts = np.zeros((count, 2, lanes), np.int64)
    batch = count * max(1, BATCH_ELEMENTS // (lanes * _positions(window)))
    with threads.borrow(count * numbers * x.itemsize) as buffer:
        work = buffer[: count * numbers * x.itemsize].view(x.dtype).reshape(count, numbers)
        arguments = (
            geometry, lines.positions, recursion.coefficients.astype(x.dtype), x.dtype.type(outside), work, starts,
        )  # fmt: skip
        run = kernels.run_serial if count == 1 else kernels.run_parallel
        with threads.occupied() if count == 1 else threads.parallel_region(count):
            for first in range(0, tasks, batch):
                run(
                    *kernels.kernel_addresses(x.dtype), x.reshape(-1), y.reshape(-1), first,
                    min(first + batch, tasks), *arguments,
                )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """Input positions of the samples of an extended line."""

    positions: Array
    """Input position of each sample, -1 for the value of a constant boundary."""
    low: int
    """First sample from which positions increase by one."""
    high: int
    """End of these samples."""


@functools.lru_cache(maxsize=64)
def _prepare(window: Window, margin: int) -> _Lines:
    centre = window.first + window.taps // 2  # input position under output 0
    first, count = centre - margin, _positions(window) + 2 * margin
    positions = np.array(index_map(first, count, window.size, window.boundary), np.int64)
    positions[positions == OUTSIDE] = -1
    low = min(max(-first, 0), count)
    high = max(min(window.size - first, count), low)
    return _Lines(positions, low, high)

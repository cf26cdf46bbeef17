"""Fit of the constants of a machine to measured times of passes with known steps."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lowering.steps import Steps
from ..planning.cost import Work
from ..planning.machine import REFERENCE, Machine

LEAST = 1e-14  # seconds of a step whose fitted time is zero
MOST_START = 2e-4  # seconds; a longer start of threads was disturbed
FASTEST = 0.3  # least time of a step relative to the reference; less is noise
REFITS = 12
PRIOR = 2.0  # weight of the reference; that of a sample with an error of 3 % is 6


def fit_alone(
    passes: Sequence[tuple[bool, Sequence[Work]]], seconds: Sequence[float], call: float, machine: Machine
) -> Machine:
    """Return `machine` with fitted seconds per step and per uncached byte, on one thread.

    Parameters
    ----------
    passes : sequence of (bool, sequence of Work)
        For each timed call, whether sums were in float64, and the work of its passes.
    seconds : sequence of float
        Time of each call without the fixed time.
    call : float
        Fixed seconds of a call, which limit the accuracy of the times.
    machine : Machine
        Constants, some of which are replaced.
    """
    first, second = (np.array(units) for units in REFERENCE.steps)
    empty = np.zeros(first.size)
    rows = []
    for double, works in passes:
        steps = np.sum([work.steps for work in works], axis=0)
        rows.append([*(empty if double else steps), *(steps if double else empty), *_uncached(works)])
    usual = np.array([*first, *second, REFERENCE.memory_seconds[0], REFERENCE.stream_seconds[0]])
    *found, memory, stream = fitted(np.array(rows), np.array(seconds), call, usual).tolist()
    return replace(
        machine,
        steps=(Steps(*found[: first.size]), Steps(*found[first.size :])),
        memory_seconds=(memory, memory),
        stream_seconds=(stream, stream),
    )


def fit_shared(
    passes: Sequence[tuple[bool, Sequence[Work]]], seconds: Sequence[float], call: float, machine: Machine
) -> Machine:
    """Return `machine` with fitted constants of threads: start, share of the work, and memory.

    Parameters are those of `fit_alone`; the steps of `machine` must be fitted already.
    """
    rows, times = [], []
    for (double, works), taken in zip(passes, seconds, strict=True):
        units = machine.steps[double]
        once = sum(work.steps.passes * units.passes for work in works)
        work = float(sum(np.dot(work.steps[1:], units[1:]) for work in works))
        rows.append([sum(work.starts for work in works), work / machine.threads, *_uncached(works)])
        times.append(max(taken - once, 0.1 * taken))
    usual = (
        REFERENCE.thread_seconds, REFERENCE.thread_share, REFERENCE.memory_seconds[1], REFERENCE.stream_seconds[1]
    )  # fmt: skip
    start, share, memory, stream = fitted(np.array(rows), np.array(times), call, np.array(usual)).tolist()
    alone, streamed = machine.memory_seconds[0], machine.stream_seconds[0]
    return replace(  # all threads take no longer than one; a longer time was due to another process
        machine,
        thread_seconds=min(start, MOST_START),
        thread_share=min(max(share, 1.0), float(machine.threads)),
        memory_seconds=(alone, min(memory, alone)),
        stream_seconds=(streamed, min(stream, streamed)),
    )


def _uncached(works: Sequence[Work]) -> tuple[float, float]:
    """Return the uncached bytes of passes with packed rows, and of passes that read the array directly."""
    packed, fused = (sum(work.uncached for work in works if work.fused == kind) for kind in (False, True))
    return packed, fused


def fitted(counts: NDArray[Any], seconds: NDArray[Any], call: float, usual: NDArray[Any]) -> NDArray[Any]:
    """Return positive seconds per step; those that the samples do not determine stay in proportion to `usual`.

    This minimises squares of the logarithms of predicted over measured times, by a series of non-negative linear
    least-squares problems (C. L. Lawson, R. J. Hanson, "Solving Least Squares Problems", chapter 23) in which
    outliers have lower weights.
    """
    from scipy.optimize import nnls

    speed = float(np.median((seconds + call) / (counts @ usual + call)))
    relative = counts * (usual * speed) / (seconds + call)[:, None]
    fixed = call / (seconds + call)
    found = np.ones(usual.size)
    prior = PRIOR * np.eye(usual.size)
    for _ in range(REFITS):
        predicted = relative @ found + fixed
        off = np.log(predicted)
        weights = 1 / np.sqrt(np.maximum(np.abs(off), 0.03)) / predicted
        wanted = predicted * (1 - np.clip(off, -1, 1)) - fixed
        system = np.concatenate([relative * weights[:, None], prior])
        found = (found + nnls(system, np.concatenate([wanted * weights, np.full(usual.size, PRIOR)]))[0]) / 2
    return np.asarray(np.maximum(np.maximum(found, FASTEST) * usual * speed, LEAST))

"""Constants of a machine from what passes take in numbers, and how long they took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lowering.steps import Steps
from ..planning.cost import Work
from ..planning.machine import REFERENCE, Machine

LEAST = 1e-14  # seconds of a step that proved to cost nothing
MOST_START = 2e-4  # seconds beyond which the start of threads was disturbed
FASTEST = 0.3  # of its share on the reference that a step takes at least: less was noise
REFITS = 12
PRIOR = 2.0  # weight of the reference beside that of a sample which is 3 % off: 6


def fit_alone(
    passes: Sequence[tuple[bool, Sequence[Work]]], seconds: Sequence[float], call: float, machine: Machine
) -> Machine:
    """`machine` with the seconds of each step, and of bytes that caches do not hold, on one thread.

    Parameters
    ----------
    passes : sequence of (bool, sequence of Work)
        For each sample: whether sums were taken in float64, and what was timed together.
    seconds : sequence of float
        How long it took, beyond the fixed time of a call.
    call : float
        Fixed seconds that each sample came with: they tell how exact it is.
    machine : Machine
        The constants that are replaced.
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
    """`machine` with what its threads take together: the start, their shares of the work, memory.

    Parameters are those of `fit_alone`; the steps of `machine` are known already.
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
    return replace(  # all threads take no longer than one would: more was another process
        machine,
        thread_seconds=min(start, MOST_START),
        thread_share=min(max(share, 1.0), float(machine.threads)),
        memory_seconds=(alone, min(memory, alone)),
        stream_seconds=(streamed, min(stream, streamed)),
    )


def _uncached(works: Sequence[Work]) -> tuple[float, float]:
    """Bytes that caches do not hold, of passes that pack and of others."""
    packed, fused = (sum(work.uncached for work in works if work.fused == kind) for kind in (False, True))
    return packed, fused


def fitted(counts: NDArray[Any], seconds: NDArray[Any], call: float, usual: NDArray[Any]) -> NDArray[Any]:
    """Positive seconds of each step; what the samples hardly tell stays in proportion to what is `usual`.

    Least squares of the logarithms of predicted over measured times, by a series of linear problems under positivity
    (C. L. Lawson, R. J. Hanson, "Solving Least Squares Problems", chapter 23), in which samples that were disturbed
    count less.
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

"""Timing on a shared machine: a reference call before and after each sample measures its current speed.

A virtual processor loses half its speed while the other one on the same core works, for milliseconds or for minutes,
and no counter of the system shows it.  So every sample is between two probes, calls of constant work.  If the probes
differ, the sample was disturbed and is dropped; else its time is divided by the slowness of the probes.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from . import common

STEADY = 1.1  # largest ratio of two probes for which the sample between them counts as undisturbed
SLOWEST = 3.0  # slowness of the probes beyond which samples are dropped
SERIES = 100  # probes in a series; the fastest tenth of the least disturbed one defines the usual time
FOREIGN = 0.08  # processor share that other processes may use during a long call on all threads
LONG_SECONDS = 0.02  # for longer calls, the system's processor times are checked, too; they tick in 10 ms
WARM_SECONDS = 0.3  # of probes before the first sample


class Probe:
    """A call of constant work, on one thread or on all threads."""

    def __init__(self, workers: int | None) -> None:
        side = 96 if workers == 1 else 512
        self.clock = time.thread_time if workers == 1 else time.perf_counter
        array = common.image(side, side)
        self._call = common.prepared(common.random_kernel(7), array, method="direct", workers=workers)
        self.others = math.inf if workers == 1 else FOREIGN
        self.usual = math.inf
        self._recent: list[float] = []
        began = time.perf_counter()
        while time.perf_counter() - began < WARM_SECONDS or self.usual == math.inf:
            self.slowness()

    def slowness(self) -> float:
        """Return how many times slower than usual the machine is now."""
        self._call()  # back into the caches
        start = self.clock()
        self._call()
        seconds = self.clock() - start
        self._recent.append(seconds)
        if len(self._recent) == SERIES:
            self.usual = min(self.usual, sorted(self._recent)[SERIES // 10])
            self._recent.clear()
        return seconds / self.usual

    def time(self, call: Callable[[], Any], *, warm: bool) -> tuple[float, float] | None:
        """Return the seconds of a call (the second of two if `warm`) and the slowness; None if it was disturbed."""
        before = self.slowness()
        if warm:
            call()  # leaves the caches as in a series of equal calls
        foreign, began = foreign_seconds(), time.perf_counter()
        start = self.clock()
        call()
        seconds = self.clock() - start
        elapsed = time.perf_counter() - began
        alone = elapsed < LONG_SECONDS or foreign_seconds() - foreign <= 0.01 + self.others * elapsed
        after = self.slowness()
        steady = max(before, after) <= min(STEADY * min(before, after), SLOWEST)
        slowness = (before + after) / 2
        return (seconds / slowness, slowness) if steady and alone else None


def foreign_seconds() -> float:
    """Return the processor seconds of all other processes so far; 0 if the system does not report them."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:]]
    except (OSError, ValueError):
        return 0.0
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK") - time.process_time()


def take_turns(
    calls: Mapping[str, Callable[[], Any]],
    probe: Probe,
    *,
    rounds: int = 5,
    seconds: float = 0.05,
    patience: float = 4.0,
    hopeless: float = 3.0,
) -> tuple[dict[str, float], float]:
    """Return the median seconds of each call over undisturbed rounds, in turns.

    Parameters
    ----------
    calls : mapping of str to callable
        Calls to time, already compiled.
    probe : Probe
        Probe that decides whether a sample counts.
    rounds : int
        Least number of undisturbed samples of each call.
    seconds : float
        Least total time, so that short calls are sampled more often.
    patience : float
        Seconds after which no more samples are taken.
    hopeless : float
        Calls that take this many times the least time are only sampled twice.

    Returns
    -------
    seconds : dict of str to float
        Medians by name, without calls that were disturbed every time.
    slowness : float
        Median of how many times slower than usual the machine was.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    slowness: list[float] = []
    began = time.perf_counter()
    while True:
        least = min((min(taken) for taken in samples.values() if taken), default=math.inf)
        open_names = [
            name
            for name, taken in samples.items()
            if len(taken) < (2 if taken and min(taken) > hopeless * least else rounds)
        ]
        elapsed = time.perf_counter() - began
        if elapsed > patience or (not open_names and elapsed > seconds):
            break
        going = open_names or [n for n, taken in samples.items() if min(taken) <= hopeless * least]
        for name in going:
            taken = probe.time(calls[name], warm=least < LONG_SECONDS)
            if taken is not None:
                samples[name].append(taken[0])
                slowness.append(taken[1])
    medians = {name: statistics.median(taken) for name, taken in samples.items() if taken}
    return medians, statistics.median(slowness) if slowness else math.inf

"""Times on a machine that others use, too: a known call before and after says how fast it is at this moment.

A virtual processor loses half its speed when its neighbour on the same core works, for milliseconds or for minutes, and
no counter of the system shows it.  So every sample stands between two probes, calls that always take the same.  Where
these differ, something began or ended in between, and the sample is dropped; otherwise its time is divided by how much
slower than usual the probes were.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from . import common

STEADY = 1.1  # two probes that differ by no more than this factor: nothing began or ended between them
SLOWEST = 3.0  # probes that take more times what is usual: no sample counts
SERIES = 100  # probes; a tenth of the least disturbed series is as fast as usual, or faster by chance
FOREIGN = 0.08  # part of a processor that other processes may take during a long call on all threads
LONG_SECONDS = 0.02  # calls from here on are watched by the processor's counters, too: these tick in 10 ms
WARM_SECONDS = 0.3  # of probes before the first sample


class Probe:
    """A call that always takes the same, on one thread or on all."""

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
        """How many times slower than usual the machine is at this moment."""
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
        """Seconds of a call, of the second of two if `warm`, and the slowness around it; None if it was disturbed."""
        before = self.slowness()
        if warm:
            call()  # leaves the caches as it finds them in a series of equal calls
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
    """Processor seconds of all other processes so far; 0 where the system does not tell."""
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
    """Median seconds of each call over undisturbed rounds, in turns.

    Parameters
    ----------
    calls : mapping of str to callable
        What to time; compiled already.
    probe : Probe
        What says whether a sample counts.
    rounds : int
        Undisturbed samples of each call, at least.
    seconds : float
        How long to go on, at least: short calls are sampled more often.
    patience : float
        Seconds after which no more samples are taken.
    hopeless : float
        Calls which take so many times the least are sampled twice only: they are no alternative.

    Returns
    -------
    seconds : dict of str to float
        Without calls that were disturbed every time.
    slowness : float
        The median of how many times slower than usual the machine was.
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

"""Timing for the demo; contestants take turns, so that a busy machine slows all of them equally."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage

import numbasep

from ..system.types import Array
from .subjects import Subject

# A contestant that has run for this many seconds is left out of the remaining rounds.
PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class RouteTime:
    """Predicted and measured time of a route."""

    method: str
    """Name of the route."""
    predicted: float | None
    """Seconds predicted by the planner's cost model; None if the route is not feasible."""
    measured: float | None
    """Measured seconds; None if the route is not feasible."""
    reason: str
    """Why the route is not feasible; otherwise empty."""


@dataclass(frozen=True, slots=True)
class Result:
    """Result and times of a kernel on the photograph."""

    subject: Subject
    """The kernel."""
    plan: numbasep.Plan
    """The plan with the automatic choice of the route."""
    factors: numbasep.SeparableKernel
    """The kernel as a sum of separable terms."""
    filtered: Array
    """The filtered array."""
    routes: tuple[RouteTime, ...]
    """Predicted and measured times of all routes."""
    seconds: float
    """Measured seconds of the automatic choice."""
    peers: tuple[tuple[str, float], ...]
    """(Function, measured seconds) of each other library, for its fastest function."""
    difference: float | None
    """Largest difference from SciPy's float64 result, relative to ||K||_1 max|x|; None if SciPy did not run."""

    @property
    def regret(self) -> float:
        """Measured time of the choice over that of the fastest route."""
        return self.seconds / min(route.measured for route in self.routes if route.measured is not None)


def measure(subject: Subject, array: Array, *, repeat: int, peers: bool) -> Result:
    """Filter the array by every route and other library; return times and differences.

    Parameters
    ----------
    subject : Subject
        The kernel.
    array : ndarray, float32
        The image.
    repeat : int
        Rounds of timing.
    peers : bool
        Whether to run SciPy and OpenCV, too.
    """
    plan = numbasep.plan(subject.kernel, array.shape, array.dtype)
    factors = numbasep.factorize(subject.kernel)
    filtered = np.empty_like(array)
    contestants = _routes(subject.kernel, array, plan)
    contestants[plan.method] = lambda: plan(array, filtered)
    reference = np.empty(array.shape) if peers else None
    if reference is not None:
        contestants["scipy.ndimage.convolve"] = lambda: scipy.ndimage.convolve(
            array, subject.kernel, reference
        )
        contestants |= opencv_calls(subject.kernel, array, factors)
    seconds = take_turns(contestants, repeat)
    routes = tuple(
        RouteTime(c.method, c.seconds if c.feasible else None, seconds.get(c.method), c.reason or "")
        for c in _cheapest_by_method(plan)
    )
    return Result(
        subject,
        plan,
        factors,
        filtered,
        routes,
        seconds[plan.method],
        _peer_times(seconds),
        None if reference is None else _difference(filtered, reference, subject.kernel, array),
    )


def take_turns(
    contestants: dict[str, Callable[[], object]], repeat: int, pause: float = 0.0
) -> dict[str, float]:
    """Return the median seconds of each contestant over rounds in which each contestant runs once.

    The first round is not timed, since calls may compile, except for slow SciPy calls.  A pause of `pause` seconds
    before each call lets the threads of the previous contestant go to sleep, some of which wait actively for work.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    spent = dict.fromkeys(contestants, 0.0)
    for turn in range(repeat + 1):
        for name, run in contestants.items():
            if spent[name] > PATIENCE:
                continue
            time.sleep(pause)
            start = time.perf_counter()
            run()
            elapsed = time.perf_counter() - start
            if turn:
                spent[name] += elapsed
                times[name].append(elapsed)
            elif name.startswith("scipy") and elapsed > PATIENCE:
                spent[name] = np.inf  # nothing compiles in the first call, and another would take too long
                times[name].append(elapsed)
    return {name: statistics.median(values) for name, values in times.items()}


def _cheapest_by_method(plan: numbasep.Plan) -> list[Any]:
    """Return a candidate per method: the cheapest feasible one, or the first if none is feasible."""
    best: dict[str, Any] = {}
    for candidate in plan.candidates:
        seen = best.get(candidate.method)
        cost = candidate.seconds if candidate.feasible else np.inf
        if seen is None or cost < (seen.seconds if seen.feasible else np.inf):
            best[candidate.method] = candidate
    return list(best.values())


def _routes(kernel: Array, array: Array, plan: numbasep.Plan) -> dict[str, Callable[[], object]]:
    """Return a call for each feasible route, with `method` set."""
    output = np.empty_like(array)
    contestants: dict[str, Callable[[], object]] = {}
    for candidate in _cheapest_by_method(plan):
        if candidate.feasible:
            forced = numbasep.plan(kernel, array.shape, array.dtype, method=candidate.method)
            contestants[candidate.method] = lambda forced=forced: forced(array, output)  # type: ignore[misc]
    return contestants


def opencv_calls(
    kernel: Array, array: Array, factors: numbasep.SeparableKernel
) -> dict[str, Callable[[], object]]:
    """Return OpenCV's calls for the same result, if installed: `filter2D`, and `sepFilter2D` with our factors."""
    try:
        import cv2
    except ModuleNotFoundError:
        return {}
    output = np.empty_like(array)
    flipped = np.ascontiguousarray(kernel[::-1, ::-1], dtype=np.float32)
    border = cv2.BORDER_REFLECT
    calls: dict[str, Callable[[], object]] = {
        "cv2.filter2D": lambda: cv2.filter2D(array, cv2.CV_32F, flipped, dst=output, borderType=border)
    }
    if factors.rank == 1:
        rows, columns = (np.ascontiguousarray(taps[::-1], dtype=np.float32) for taps in factors.terms[0])
        calls["cv2.sepFilter2D"] = lambda: cv2.sepFilter2D(
            array, cv2.CV_32F, columns, rows, dst=output, borderType=border
        )
    return calls


def _peer_times(seconds: dict[str, float]) -> tuple[tuple[str, float], ...]:
    """Return the fastest function of each other library and its seconds."""
    peers = []
    for library in ("scipy", "cv2"):
        calls = [(name, time) for name, time in seconds.items() if name.startswith(library)]
        peers.extend([min(calls, key=lambda call: call[1])] if calls else [])
    return tuple(peers)


def _difference(filtered: Array, reference: Array, kernel: Array, array: Array) -> float:
    scale = float(np.abs(kernel.astype(np.float64)).sum() * np.abs(array).max())
    return float(np.abs(filtered - reference).max() / scale)

"""``effort="measure"``: times the most promising routes and remembers the fastest.

Measured times ("wisdom") are kept in the process and in the cache directory, where they are valid for the same
processor, versions and number of threads.
"""

import contextlib
import hashlib
import math
import time
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..execution.execute import run_plan
from ..planning import machine as machines
from ..planning.planner import PlannedFilter, adopt
from ..planning.routes import Candidate
from ..system.forks import fork_safe_lock
from .certificate import effective_error

P = TypeVar("P", bound=PlannedFilter)

BUDGET = 0.5  # seconds, after a first call of each route
PROMISING = 4.0  # largest ratio to the least predicted time for which a route is timed
ROUNDS = 7  # interleaved, so that a busy moment affects all routes


def fastest(plan: P, *, budget: float = BUDGET) -> P:
    """Return a plan with the route that is fastest on random data of its shape and dtype.

    Parameters
    ----------
    plan : PlannedFilter
        A plan chosen by predicted times.
    budget : float, optional
        Seconds for the measurements, after a first call of each route.

    Returns
    -------
    PlannedFilter
        The same plan if there is no alternative, else one whose candidates have measured times.
    """
    candidates = _promising(plan)
    if len(candidates) < 2 or not plan.problem.pixels:
        return plan
    key = _digest(plan)
    wisdom = _remembered()
    known = wisdom.get(key)
    usable = {candidate.method for candidate in plan.choice.candidates if candidate.feasible}
    if not known or not set(known) <= usable:  # wisdom from a file may name any route
        known = _measure(plan, candidates, budget)
        _remember({key: known})
    adopted = replace(
        plan, choice=adopt(plan.choice, known), machine=f"{plan.machine}; measured where chosen"
    )
    effective_error(adopted)
    return adopted


def _promising(plan: PlannedFilter) -> list[Candidate]:
    feasible = [candidate for candidate in plan.choice.candidates if candidate.feasible]
    least = min(candidate.seconds for candidate in feasible)
    forced = plan.problem.method
    return [c for c in feasible if c.seconds <= PROMISING * least and forced in ("auto", c.method)]


def _measure(plan: PlannedFilter, candidates: list[Candidate], budget: float) -> dict[str, float]:
    x = _random(plan.problem.shape, plan.problem.input_dtype)
    out = np.zeros(plan.problem.out_shape, plan.problem.output_dtype)
    alternatives = {c.method: replace(plan, choice=replace(plan.choice, chosen=c)) for c in candidates}
    for alternative in alternatives.values():
        run_plan(alternative, x, out)  # compiles and fills caches
    seconds = dict.fromkeys(alternatives, math.inf)
    start = time.perf_counter()
    for _ in range(ROUNDS):
        for method, alternative in alternatives.items():
            before = time.perf_counter()
            run_plan(alternative, x, out)
            seconds[method] = min(seconds[method], time.perf_counter() - before)
        if time.perf_counter() - start > budget:
            break
    return seconds


def _random(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    values = np.random.default_rng(0).random(shape, np.float32)
    return (values * 100).astype(dtype)


# ------------------------------------------------------------------------------------------ wisdom

Wisdom = dict[str, dict[str, float]]

_lock = fork_safe_lock()
_known: Wisdom | None = None


def _digest(plan: PlannedFilter) -> str:
    """Return a digest that identifies a problem with its kernel."""
    hashed = hashlib.sha256(repr(plan.problem).encode())
    weights = plan.kernel.weights
    hashed.update(f"{weights.shape}{weights.dtype}".encode())
    hashed.update(weights.tobytes())
    return hashed.hexdigest()[:32]


def _interpret(content: Any) -> Wisdom:
    """Return parsed JSON as wisdom; raise a ValueError if it is something else."""
    if not isinstance(content, dict):
        raise ValueError("wisdom must be an object")
    for times in content.values():
        if not isinstance(times, dict) or not times:
            raise ValueError("an entry must name routes")
        if not all(isinstance(t, float) and 0 < t < math.inf for t in times.values()):
            raise ValueError("times must be positive numbers")
    return content


def _key() -> dict[str, Any]:
    return machines.fingerprint(machines.available_processors())


def _remembered() -> Wisdom:
    global _known
    with _lock:
        if _known is None:
            _known = machines.recall("wisdom", _key(), _interpret) or {}
        return dict(_known)


def _remember(news: Wisdom) -> None:
    """Add wisdom in this process and in the file; an unwritable directory is ignored."""
    global _known
    known = _remembered()
    with _lock:
        _known = known | news
        key = _key()
        with contextlib.suppress(OSError):
            others = machines.recall("wisdom", key, _interpret) or {}
            machines.store("wisdom", key, others | _known)


def forget_wisdom() -> None:
    """Forget all measured times, in this process and in the cache directory."""
    global _known
    with _lock:
        _known = {}
        with contextlib.suppress(OSError):
            machines.stored_path("wisdom", _key()).unlink(missing_ok=True)

"""Choice of the fastest route that is accurate enough."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..arguments.problem import Problem
from . import rounding, routes_cuda
from .accelerator import Accelerator
from .facts import KernelFacts
from .machine import Machine
from .routes import ROUTES, Candidate

GAIN = 0.95
"""Routes whose predicted times differ by less than this factor count as equally fast."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The decision of the planner."""

    candidates: tuple[Candidate, ...]
    """Best candidate of every route, in the order of `ROUTES`; infeasible ones with the reason."""
    chosen: Candidate
    """Candidate that is executed."""
    fallback: Candidate | None
    """Candidate that is executed instead if `chosen.needs_finite` and the data contain NaN or infinities."""


def choose(problem: Problem, facts: KernelFacts, machine: Machine | Accelerator) -> Choice:
    """Return the route of least predicted time among those that are accurate enough.

    Parameters
    ----------
    problem : Problem
        The filter call; `problem.method` forces a route, `problem.rtol` allows an error.
    facts : KernelFacts
        Facts of the kernel.
    machine : Machine or Accelerator
        Constants for predicted times; those of a GPU for ``device="cuda"``.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If the forced route cannot compute the problem; the message is the reason.

    Notes
    -----
    Without a tolerance, every accepted route equals direct summation up to rounding errors: the error bound of
    "fft" must not exceed that of direct summation, and if direct summation is exact, only exact routes are
    accepted.  With a tolerance, the error bound of a route must be within the tolerance or the bound of direct
    summation, whichever is larger.

    `problem.workers` does not affect the choice, so that a call gives the same bits with any number of threads.

    For integer data and results, and a kernel of integers over a divisor: if a route sums exactly and rounds only
    once, in the division, no other route is accepted.  Conversion to integers truncates, so that a sum of 899.9999
    instead of 900 would be visible, for example in uniform areas.
    """
    if isinstance(machine, Accelerator):
        return _cheapest(problem, routes_cuda.price(problem, facts, machine))
    if problem.workers is None:
        return _cheapest(problem, _price(problem, facts, machine))
    shared = replace(problem, options=replace(problem.options, workers=None))
    choice = _cheapest(problem, _price(shared, facts, machine))
    return _for_workers(choice, problem, facts, machine)


def _cheapest(problem: Problem, found: Mapping[str, tuple[Candidate, ...]]) -> Choice:
    """Return the choice among candidates with their predicted times."""
    reference = found["direct"][0]
    forced = problem.method if problem.method != "auto" else None
    contract = _contract(problem, reference, found)
    judged = {
        name: candidates if name == forced else tuple(map(contract, candidates))
        for name, candidates in found.items()
    }
    best = {name: min(candidates, key=_by_time) for name, candidates in judged.items()}
    if forced is not None:
        chosen = best[forced]
        if not chosen.feasible:
            raise ValueError(f"method={forced!r} cannot compute this: {chosen.reason}")
    elif not any(candidate.feasible for candidate in best.values()):
        raise ValueError(f"device={problem.device!r} cannot compute this: {best['direct'].reason}")
    else:
        chosen = _fastest(list(best.values()))
    fallback = None
    if chosen.needs_finite:
        safe = [c for candidates in judged.values() for c in candidates if c.feasible and not c.needs_finite]
        fallback = _fastest(safe)
    return Choice(tuple(best.values()), chosen, fallback)


def adopt(choice: Choice, measured: Mapping[str, float]) -> Choice:
    """Return `choice` with measured instead of predicted times, where the fastest measured route is chosen.

    Parameters
    ----------
    choice : Choice
        Choice by predicted times.
    measured : mapping of str to float
        Seconds by route, for at least one feasible route.
    """
    candidates = tuple(
        replace(c, seconds=measured[c.method]) if c.feasible and c.method in measured else c
        for c in choice.candidates
    )
    chosen = min((c for c in candidates if c.feasible and c.method in measured), key=lambda c: c.seconds)
    fallback = None
    if chosen.needs_finite:
        safe = [c for c in candidates if c.feasible and not c.needs_finite]
        fallback = choice.fallback or _fastest(safe)
    return Choice(candidates, chosen, fallback)


def _price(problem: Problem, facts: KernelFacts, machine: Machine) -> dict[str, tuple[Candidate, ...]]:
    found = {}
    for name, route in ROUTES.items():
        reason = route.infeasible(problem, facts, machine)
        found[name] = (
            (Candidate(name, False, reason),) if reason else route.estimates(problem, facts, machine)
        )
    return found


def _for_workers(choice: Choice, problem: Problem, facts: KernelFacts, machine: Machine) -> Choice:
    """Return `choice`, made for all threads, with the times and workspaces for ``problem.workers`` threads."""
    asked = {
        (c.method, c.form, c.runner): c
        for candidates in _price(problem, facts, machine).values()
        for c in candidates
    }

    def priced(candidate: Candidate) -> Candidate:
        same = asked[candidate.method, candidate.form, candidate.runner]
        return replace(candidate, seconds=same.seconds, workspace=same.workspace, passes=same.passes)

    return Choice(
        tuple(map(priced, choice.candidates)),
        priced(choice.chosen),
        priced(choice.fallback) if choice.fallback else None,
    )


def _contract(
    problem: Problem, reference: Candidate, found: Mapping[str, tuple[Candidate, ...]]
) -> Callable[[Candidate], Candidate]:
    """Return a function that marks candidates as infeasible, with the reason, if they are not accurate enough."""
    once = 2 * rounding.unit_roundoff(problem)  # the rounding of a quotient, and of the weights themselves
    rounds_once = (
        problem.integer_data
        and problem.output_dtype.kind in "biu"
        and any(c.feasible and c.error_bound <= once for candidates in found.values() for c in candidates)
    )

    def judge(candidate: Candidate) -> Candidate:
        bound, allowed = candidate.error_bound, reference.error_bound
        if not candidate.feasible:
            return candidate
        if problem.rtol is not None:
            allowed = max(problem.rtol, allowed)
            if bound > allowed:
                return _reject(candidate, f"error bound {bound:.1e} exceeds {allowed:.1e}")
        elif reference.exact and not candidate.exact:
            return _reject(candidate, "would round, where direct summation is exact")
        elif rounds_once and bound > once:
            return _reject(candidate, "integer results: another route rounds only once")
        elif candidate.method == "fft" and bound > allowed:
            return _reject(candidate, "error bound above that of direct summation: pass rtol= to allow it")
        return candidate

    return judge


def _reject(candidate: Candidate, reason: str) -> Candidate:
    return replace(candidate, feasible=False, reason=reason)


def _by_time(candidate: Candidate) -> tuple[bool, float]:
    return not candidate.feasible, candidate.seconds


def _fastest(candidates: list[Candidate]) -> Candidate:
    """Return the fastest candidate; among similar times, prefer no transforms, no check of the data, few operations."""
    feasible = [candidate for candidate in candidates if candidate.feasible]
    least = min(candidate.seconds for candidate in feasible)
    near = [candidate for candidate in feasible if GAIN * candidate.seconds <= least]
    return min(near, key=lambda c: (c.method == "fft", c.needs_finite, c.operations))


@dataclass(frozen=True, slots=True)
class PlannedFilter:
    """A filter call with its plan and its kernel."""

    problem: Problem
    """The filter call."""
    choice: Choice
    """Chosen route, for arrays in C order."""
    kernel: Any = field(compare=False)
    """`Operator` with the weights and forms; only the backends read it."""
    machine: str = ""
    """Name of the machine constants behind the predicted times."""

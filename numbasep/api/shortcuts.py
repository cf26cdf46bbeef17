"""Calls that were made before: what they run, by the arguments as they came."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from .. import execute, machine
from ..dispatch import dispatched
from ..planner import PlannedFilter
from ..plans import Plan

Function = TypeVar("Function", bound=Callable[..., Any])

PLAIN = frozenset({str, type(None), bool, int, float, complex, np.int64, np.float64})
"""Types of arguments that calls are known by, together with the type: True equals 1, but is not allowed for it."""

WEIGHTS = ("weights", "kernels")
"""Parameters that are known by what the arrays hold."""


class Shortcuts:
    """Plans by the arguments of a call: a repeated call skips everything but running."""

    LIMIT = 512
    LONGEST = 4096

    def __init__(self) -> None:
        self._plans: dict[Any, Any] = {}
        self._making = threading.local()

    def make(
        self, key: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a function whose call is not known; what it then `keep`s is found under `key`."""
        self._making.key = key
        try:
            return function(*args, **kwargs)
        finally:
            self._making.key = None

    def keep(self, plan: PlannedFilter | Callable[[Any, Any], Any]) -> None:
        """Remember what the call that this thread makes runs: a plan, or a function of the input and the output."""
        key = getattr(self._making, "key", None)
        if key is None:
            return
        if len(self._plans) >= self.LIMIT:
            self._plans.clear()
        self._plans[key] = plan

    def clear(self) -> None:
        """Forget all plans."""
        self._plans.clear()


shortcuts = Shortcuts()
machine.when_changed(shortcuts.clear)


def remembered(function: Function) -> Function:
    """`dispatched`, and a call that was made before runs its plan at once.

    Arguments are compared as they are written, and with their types: a call that is written in another way is made
    once more.
    """
    first, *others = inspect.signature(function).parameters
    place = others.index("output") + 1
    plans, ndarray, plain, known_of = shortcuts._plans, np.ndarray, PLAIN, _known

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not args and first in kwargs:
            args = (kwargs.pop(first),)
        count, key = len(args), None
        by_name = "output" in kwargs
        if by_name:
            output, values = kwargs.pop("output"), args[1:]
        elif count > place:
            output, values = args[place], args[1:place] + args[place + 1 :]
        else:
            output, values = None, args[1:]
        if count and type(args[0]) is ndarray and (output is None or type(output) is ndarray):
            x = args[0]
            names = None
            if kwargs:
                names = tuple(kwargs)
                values += tuple(kwargs.values())
            kinds = tuple(map(type, values))
            known = values if plain.issuperset(kinds) else known_of(values, kinds, count - 1, names or ())
            if known is not None:
                key = function, count, names, known, kinds, x.shape, x.dtype, output is None or output.dtype
                plan = plans.get(key)
                if plan is not None:
                    if type(plan) is Plan:
                        return execute.filter_array(plan, x, output)
                    return plan(x, output)
        if by_name:
            kwargs["output"] = output
        return shortcuts.make(key, function, args, kwargs)

    @functools.wraps(function)
    def undispatched(*args: Any, **kwargs: Any) -> Any:
        return call(args, kwargs)

    return cast(Function, dispatched(undispatched, call))


def _known(values: Sequence[Any], kinds: Sequence[type], count: int, names: Sequence[str]) -> Any:
    """What arguments are known by that are not all plain; None for a call that is not remembered.

    Parameters
    ----------
    values, kinds : sequence
        All behind the input but the output, by position and then by name; and their types.
    count : int
        How many are given by position.
    names : sequence of str
        Names of the others.
    """
    known = list(values)
    at = -1
    for kind in kinds:
        at += 1
        if kind in PLAIN:
            continue
        value = values[at]
        if kind is tuple:
            inside = tuple(map(type, value))
            if PLAIN.issuperset(inside):
                known[at] = value, inside
                continue
        is_weights = at == 0 if at < count else names[at - count] in WEIGHTS
        content = _content(value) if is_weights else None
        if content is None:
            return None
        known[at] = content
    return tuple(known)


def _content(weights: Any) -> Any:
    """What weights, or a sequence of taps axis by axis, are known by; None if they are not remembered."""
    kind = type(weights)
    if kind in (list, tuple):
        parts = tuple(map(_content, weights))
        return None if None in parts else parts
    if kind is not np.ndarray or weights.dtype.kind not in "biufc" or weights.size > Shortcuts.LONGEST:
        return None
    return weights.tobytes(), weights.shape, weights.dtype

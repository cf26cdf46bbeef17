"""A memo of earlier calls: a call with the same arguments skips validation and planning."""

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from ..arguments.arrays import as_input
from ..arguments.dispatch import dispatched
from ..execution import execute
from ..planning import machine
from ..plans.plan import Plan

Function = TypeVar("Function", bound=Callable[..., Any])

PLAIN = frozenset(
    {str, type(None), bool, int, float, complex, *(np.dtype(code).type for code in "?bhilqBHILQefdFD")}
)
"""Types of arguments that are keys by value and type; the type matters as True equals 1 but is not always allowed."""

WEIGHTS = ("weights", "kernels")
"""Parameters whose array contents are a part of the key."""

OUTPUTS = frozenset({type(None), np.ndarray, type, str})
"""Types of `output` in calls that are remembered; instances of `numpy.dtype` are allowed, too."""

Runner = Callable[[Any, Any, Any], Any]
"""Function of (input, output, mask) that returns the result."""


class Shortcuts:
    """Plans and runners by the arguments of calls, so that a repeated call skips validation and planning."""

    LIMIT = 512
    LONGEST = 8192

    def __init__(self) -> None:
        self._plans: dict[Any, Plan | Runner] = {}
        self._making = threading.local()

    def make(
        self, key: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a function whose call is not remembered yet; `keep` then stores its runner under `key`."""
        self._making.key = key
        try:
            return function(*args, **kwargs)
        finally:
            self._making.key = None

    def keep(self, plan: Plan | Runner) -> None:
        """Store the plan or runner of the call that `make` runs in this thread."""
        key = getattr(self._making, "key", None)
        if key is None:
            return
        if len(self._plans) >= self.LIMIT:
            self._plans.clear()
        self._plans[key] = plan

    def clear(self) -> None:
        """Remove all plans and runners."""
        self._plans.clear()


shortcuts = Shortcuts()
machine.when_changed(shortcuts.clear)


def remembered(function: Function) -> Function:
    """Return a `dispatched` wrapper in which a repeated call runs its plan directly.

    Arguments are compared by value and type, and by whether they are positional: an equivalent call in another form is
    planned once more.  Of the input, shape and dtype are compared, of the output its dtype, of the mask its presence.
    """
    first, *others = inspect.signature(function).parameters
    place = others.index("output") + 1
    plans, ndarray = shortcuts._plans, np.ndarray

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            x = args[0]
        elif first in kwargs:
            x = kwargs.pop(first)
        else:
            return function(*args, **kwargs)  # raises, as the input is missing
        if type(x) is not ndarray:
            x = as_input(x)
        count, values, output, mask = len(args), args[1:], None, None
        names: tuple[str, ...] = ()
        if count > place:
            output, values = args[place], args[1:place] + args[place + 1 :]
        if kwargs:
            if count <= place:
                output = kwargs.pop("output", None)
            mask = kwargs.pop("mask", None)
            names = tuple(kwargs)
            values += tuple(kwargs.values())
        key = None
        if type(output) in OUTPUTS or isinstance(output, np.dtype):
            kinds = tuple(map(type, values))
            known = values if PLAIN.issuperset(kinds) else _known(values, kinds, count - 1, names)
            if known is not None:
                form = output.dtype if type(output) is ndarray else output
                key = function, count, names, known, kinds, x.shape, x.dtype, form, mask is None
                plan = plans.get(key)
                if plan is not None:
                    if isinstance(plan, Plan):
                        return execute.filter_array(plan, x, output)
                    return plan(x, output, mask)
        if output is not None and count <= place:
            kwargs["output"] = output
        if mask is not None:
            kwargs["mask"] = mask
        return shortcuts.make(key, function, (x, *args[1:]), kwargs)

    @functools.wraps(function)
    def undispatched(*args: Any, **kwargs: Any) -> Any:
        return call(args, kwargs)

    return cast(Function, dispatched(undispatched, call))


def _known(values: Sequence[Any], kinds: Sequence[type], count: int, names: Sequence[str]) -> Any:
    """Return the key of arguments that are not all of `PLAIN` types; None for a call that is not remembered.

    Parameters
    ----------
    values, kinds : sequence
        Arguments after the input, without the output, first by position and then by name; and their types.
    count : int
        Number of positional arguments.
    names : sequence of str
        Names of the other arguments.
    """
    known = list(values)
    at = -1
    for kind in kinds:
        at += 1
        if kind in PLAIN:
            continue
        if kind is tuple:  # usually one number per axis
            value = values[at]
            inside = tuple(map(type, value))
            if PLAIN.issuperset(inside) and len(inside) <= Shortcuts.LONGEST:
                known[at] = value, inside
                continue
        is_weights = at == 0 if at < count else names[at - count] in WEIGHTS
        if not is_weights and kind is not list:
            return None
        known[at] = content = _content(values[at], is_weights=is_weights)
        if content is None:
            return None
    return tuple(known)


def _content(value: Any, *, is_weights: bool = True) -> Any:
    """Return the key of weights or of a sequence of plain values; None if they are not remembered."""
    kind = type(value)
    if kind is np.ndarray:
        if value.size > Shortcuts.LONGEST or value.dtype.kind not in "biufc":
            return None
        return value.tobytes(), value.shape, value.dtype
    if (kind is tuple or kind is list) and len(value) <= Shortcuts.LONGEST:
        kinds = tuple(map(type, value))
        if PLAIN.issuperset(kinds):
            return tuple(value), kinds
        parts = tuple(map(_content, value))
        return None if None in parts or not is_weights else parts
    if kind is dict and is_weights:
        known = _content(list(value)), _content(list(value.values()))
        return None if None in known else known
    return None

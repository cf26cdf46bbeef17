"""Placeholders: NumPy arrays without memory that stand for arrays on a GPU while arguments are checked.

A placeholder has the shape and dtype of the GPU array, so that the same code checks arguments and makes plans.  Code
that reads or writes arrays calls `held` first to get the GPU array.  Placeholders exist only within a `session`.
"""

import contextlib
import contextvars
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..system.types import Array


@dataclass(frozen=True, slots=True)
class Held:
    """The GPU array that a placeholder represents."""

    array: Any
    """The array on the GPU."""
    library: Any
    """The library that owns the array, which can create others: a `cuda.arrays.Library`."""

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
        """Return a placeholder for a new array of the same library and device."""
        made = self.library.empty(tuple(shape), dtype, self.array)
        return hold(made, tuple(shape), dtype, self.library)


_Session = dict[int, tuple[weakref.ref[Array], Held]]
_session: contextvars.ContextVar[_Session | None] = contextvars.ContextVar("numbasep_stand_ins", default=None)


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Keep track of the placeholders made within this context, until it ends or they are deleted."""
    token = _session.set({})
    try:
        yield
    finally:
        _session.reset(token)


def hold(array: Any, shape: tuple[int, ...], dtype: np.dtype[Any], library: Any) -> Array:
    """Return a new placeholder for an array on the GPU."""
    known = _session.get()
    assert known is not None, "no session"
    stand_in = np.lib.stride_tricks.as_strided(np.zeros((), dtype), shape, (0,) * len(shape))
    key = id(stand_in)
    known[key] = weakref.ref(stand_in, lambda _: known.pop(key, None)), Held(array, library)
    return stand_in


def held(array: Any) -> Held | None:
    """Return the `Held` GPU array of a placeholder; None if the array is no placeholder."""
    known = _session.get()
    if known is None:
        return None
    entry = known.get(id(array))
    return None if entry is None else entry[1]


def part(stack: Array, number: int) -> Array:
    """Return ``stack[number]`` as a writable view, or as a placeholder of the view of a GPU array."""
    handle = held(stack)
    view: Array = stack[number, ...]
    return view if handle is None else hold(handle.array[number], view.shape, view.dtype, handle.library)

"""Placeholders: NumPy arrays without memory that stand for arrays on a GPU while arguments are checked.

They have the shape and the type, so that arguments are checked and plans are made by the same code as ever; what would
read or write them looks here first whether something is held for them.  Nothing is while no array on a GPU is filtered.
"""

from __future__ import annotations

import contextlib
import contextvars
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Held:
    """What a stand-in stands for."""

    array: Any
    """The array on the GPU."""
    library: Any
    """How its library makes arrays: a `cuda_arrays.Library`."""

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
        """A stand-in for a new array of the same library and device."""
        made = self.library.empty(tuple(shape), dtype, self.array)
        return hold(made, tuple(shape), dtype, self.library)


_Session = dict[int, tuple[weakref.ref[Array], Held]]
_session: contextvars.ContextVar[_Session | None] = contextvars.ContextVar("numbasep_stand_ins", default=None)


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Stand-ins made inside are known until its end, or until nobody refers to them."""
    token = _session.set({})
    try:
        yield
    finally:
        _session.reset(token)


def hold(array: Any, shape: tuple[int, ...], dtype: np.dtype[Any], library: Any) -> Array:
    """A new stand-in for an array."""
    known = _session.get()
    assert known is not None, "no session"
    stand_in = np.lib.stride_tricks.as_strided(np.zeros((), dtype), shape, (0,) * len(shape))
    key = id(stand_in)
    known[key] = weakref.ref(stand_in, lambda _: known.pop(key, None)), Held(array, library)
    return stand_in


def held(array: Any) -> Held | None:
    """What an array stands for, or None for one that is nothing but itself."""
    known = _session.get()
    if known is None:
        return None
    entry = known.get(id(array))
    return None if entry is None else entry[1]


def part(stack: Array, number: int) -> Array:
    """``stack[number]``, as an array that can be written to."""
    behind = held(stack)
    view: Array = stack[number, ...]
    return view if behind is None else hold(behind.array[number], view.shape, view.dtype, behind.library)

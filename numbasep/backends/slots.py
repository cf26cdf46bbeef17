"""Arrays that passes read or write, before there is memory for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..problem import Window
from ..shapes import are_in_turn

INPUT, OUTPUT = 0, 1


@dataclass(frozen=True, slots=True)
class Slot:
    """An array that passes read or write, without its memory."""

    index: int
    """INPUT, OUTPUT, or the number of a scratch buffer."""
    shape: tuple[int, ...]
    """Shape, in numbers (complex ones count once)."""
    strides: tuple[int, ...]
    """Distances in numbers."""
    dtype: np.dtype[Any]
    """Type of the numbers as stored."""
    origin: int = 0
    """Where position 0 stands, in real elements."""
    gains: tuple[float, ...] = (1.0,)
    """For each stacked intermediate: what the boundary value has been multiplied by so far."""
    stack: int = 0
    """Real elements from one stacked intermediate to the next."""
    presence: tuple[bool, ...] = (False,)
    """For each of them: whether it is of the presence of samples, in a normalised convolution, not of their values."""
    seen: bool = False
    """Whether values and presence are two views of this one array."""


def parts_of(dtype: np.dtype[Any]) -> int:
    """Real elements of a number."""
    return 2 if dtype.kind == "c" else 1


def resized(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """`shape` with another size along one axis."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def strides_like(strides: Sequence[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of scratch memory of a shape whose axes are nested as those of an array with these strides.

    Examples
    --------
    >>> strides_like((1, 10, 200), (10, 20, 30))
    (1, 10, 200)
    """
    made, step = [0] * len(shape), 1
    for axis in sorted(range(len(shape)), key=lambda i: (abs(strides[i]), -i)):
        made[axis] = step
        step *= shape[axis]
    return tuple(made)


def last_axes(slot: Slot, windows: Sequence[Window]) -> int:
    """Axes that are filtered in the last pass: two, but where so much lies inside that they are filtered in turn."""
    inner, filtered = parts_of(slot.dtype), {window.axis for window in windows}
    for axis in sorted(range(len(slot.shape)), key=lambda axis: abs(slot.strides[axis])):
        if axis not in filtered and slot.shape[axis] == 1:
            continue
        if axis in filtered or slot.strides[axis] * parts_of(slot.dtype) != inner:
            break
        inner *= slot.shape[axis]
    return 1 if are_in_turn(inner) else 2

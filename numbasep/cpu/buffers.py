"""Input, output and scratch arrays of a pass, before they have memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

INPUT, OUTPUT = 0, 1


@dataclass(frozen=True, slots=True)
class Buffer:
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

"""Descriptions of the input, output and scratch arrays of a pass, without their memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

INPUT, OUTPUT = 0, 1


@dataclass(frozen=True, slots=True)
class Buffer:
    """Description of an array that passes read or write."""

    index: int
    """INPUT, OUTPUT, or the number of a scratch buffer."""
    shape: tuple[int, ...]
    """Shape; complex numbers count once."""
    strides: tuple[int, ...]
    """Strides in numbers."""
    dtype: np.dtype[Any]
    """Type in memory."""
    origin: int = 0
    """Offset of position 0 in real elements."""
    gains: tuple[float, ...] = (1.0,)
    """Factor of the boundary value after the previous passes, for each stacked intermediate."""
    stack: int = 0
    """Real elements from one stacked intermediate to the next."""
    presence: tuple[bool, ...] = (False,)
    """Whether each of them is of the validity of samples in a NaN-aware convolution, not of their values."""
    seen: bool = False
    """Whether values and validity are two views of this same array."""


def parts_of(dtype: np.dtype[Any]) -> int:
    """Return the number of real elements per number."""
    return 2 if dtype.kind == "c" else 1


def resized(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """Return `shape` with another size along an axis."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def section(buffer: Buffer, axis: int, start: int, stop: int) -> Buffer:
    """Return the part of a buffer at positions [start, stop) of an axis."""
    step = buffer.strides[axis] * parts_of(buffer.dtype)
    return replace(
        buffer, shape=resized(buffer.shape, axis, stop - start), origin=buffer.origin + start * step
    )

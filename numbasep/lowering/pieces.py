"""Divides an array into pieces for a pass along a short last axis, so that what precedes it stays in a cache.

Plain integers only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..arguments.problem import Window
from .layout import LONG_INNER
from .shapes import LEAST_NUMBERS
from .target import Target

PIECE_BYTES = 512 << 10  # intermediates of a piece: half of a second-level cache
LARGEST_PIECE = 1 << 20  # with larger ones, the outermost axis is filtered first
LEAST_PIECES = 8  # into which small arrays are divided for several threads
LONG_PIECE_BYTES = 4 << 20  # intermediates of a part of a long row, which all threads share


@dataclass(frozen=True, slots=True)
class Division:
    """Division of an array into pieces."""

    shape: tuple[int, ...]
    """Shape of a piece."""
    axis: int
    """Axis along which a piece has some of the positions.

    It has one position along unfiltered axes outside this axis, and all positions along the others."""
    in_turn: bool
    """Whether all threads share each piece, a part of a long row; else each piece is filtered by one thread."""


def divide(
    shape: Sequence[int],
    strides: Sequence[int],
    window: Window,
    rest: Sequence[Window],
    number: int,
    target: Target,
) -> Division | None:
    """Return the division for a pass along `window` after passes along `rest`; None if pieces would be too large.

    Parameters
    ----------
    shape : sequence of int
        Shape of the output.
    strides : sequence of int
        Strides of the input, which order the axes.
    window : Window
        Window of the short last axis.
    rest : sequence of Window
        Windows of the other filtered axes.
    number : int
        Bytes of all intermediates for each number of the output.
    target : Target
        Processor.
    """
    filtered = {other.axis: other for other in rest}
    axes = [i for i, n in enumerate(shape) if n > 1 and i != window.axis] or [rest[0].axis]
    order = sorted(axes, key=lambda i: -abs(strides[i]))
    sizes, each = list(shape), math.prod(shape) * number
    most = max(min(PIECE_BYTES, each // LEAST_PIECES), LEAST_NUMBERS * number)
    plain = [i for i in order if i not in filtered]
    for axis in order:
        each //= shape[axis]
        if axis not in filtered:
            plain.remove(axis)
            if axis == order[-1] or each <= most:
                break
            sizes[axis] = 1
        elif 2 * filtered[axis].taps * each <= LARGEST_PIECE or not plain:
            break
        else:
            each *= shape[axis]
    size, halo = shape[axis], filtered[axis].taps - 1 if axis in filtered else 0
    if axis in filtered and each <= LONG_INNER * number:
        sizes[axis] = min(size, max(LONG_PIECE_BYTES // max(each, 1), 2 * halo, 1))
        return Division(tuple(sizes), axis, in_turn=True)
    thick = min(size, max(-(-most // max(each, 1)), 2 * halo))
    thick = -(-size // -(-size // thick))
    blocks = -(-thick // target.block_rows) * target.block_rows
    sizes[axis] = min(size, blocks) if halo or blocks * each <= LARGEST_PIECE else thick
    return Division(tuple(sizes), axis, in_turn=False) if sizes[axis] * each <= LARGEST_PIECE else None

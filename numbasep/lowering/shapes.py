"""Axes of unusual length: short rows, long rows, axes that are filtered in turn.

An axis of few samples, with few adjacent numbers inside, is worse than no axis to kernels that fill vectors along rows.
A run of such rows is filtered as one long vector whose weights repeat (`cpu.kernels.short_rows`).  Few long rows are
cut into many (`cpu.long_rows`).  Plain integers only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..arguments.boundary import Boundary
from ..arguments.problem import Window
from .layout import LONG_INNER, Axis

TABLE_BYTES = 20 << 10  # of the weights: they stay in a first-level cache
LONGEST_ROW = 160  # numbers of a short row; longer ones fill vectors as they are
LONGEST_BEHIND = 80  # behind two other axes or more: with longer rows, the last two in one pass are faster
LONGEST_APART = 63  # where there is but one other axis: with longer rows, both in one pass are faster
LEAST_NUMBERS = 2048  # of a run of rows; in fewer, ends are most of it
BLOCK_BYTES = 256  # of a block of vectors, at most
FULL_ROWS = 8  # rows that blocks of vertical sums are made of
LEAST_CUT = 1 << 17  # products along a row from which it is cut
CUT_NUMBERS = 4096  # of the rows that it is cut into
CUT_ROWS = 16  # as many of these at least
LINE_NUMBERS = 16  # of a cache line


def slot_count(size: int, taps: int, *, wraps: bool) -> int:
    """Diagonals of the matrix that `taps` taps and a boundary make of an axis of `size` samples, about.

    Examples
    --------
    >>> slot_count(100, 9, wraps=False), slot_count(100, 9, wraps=True), slot_count(3, 9, wraps=False)
    (9, 17, 5)
    """
    return max(1, min(2 * taps - 1 if wraps else taps, 2 * size - 1))


def are_short(size: int, inner: int, slots: int, item: int, run: int) -> bool:
    """Whether an axis is filtered as short rows.

    Parameters
    ----------
    size : int
        Samples of the axis; as many of output.
    inner : int
        Adjacent numbers of each.
    slots : int
        `slot_count`, times the intermediates that are read.
    item : int
        Bytes of a number as sums are taken.
    run : int
        Numbers of rows that lie one behind the other.

    Examples
    --------
    >>> are_short(3, 1, 5, 4, 1 << 20), are_short(300, 1, 9, 4, 1 << 20)
    (True, False)
    """
    fits = size * inner <= LONGEST_ROW and run >= LEAST_NUMBERS
    return fits and (slots + 1) * (size * inner * item + BLOCK_BYTES) <= TABLE_BYTES


def cut_rows(samples: int, inner: int, taps: int, others: int) -> tuple[int, int]:
    """How many rows long ones are cut into, and how many samples each of these has; (0, 0) if they are not.

    Rows that lie an odd number of cache lines apart do not meet in one set of a cache.

    Parameters
    ----------
    samples : int
        Samples of a row whose windows lie in it.
    inner : int
        Adjacent numbers of each.
    taps : int
        Samples of a window.
    others : int
        Rows that there are.

    Examples
    --------
    >>> cut_rows(1_000_000, 1, 9, 1)
    (243, 4112)
    >>> cut_rows(1_000_000, 1, 9, 100)
    (0, 0)
    """
    if others >= FULL_ROWS or inner > LONG_INNER or samples * inner * taps < LEAST_CUT:
        return 0, 0
    length = max(min(CUT_NUMBERS // inner, samples // CUT_ROWS), 4 * taps)
    length = length // LINE_NUMBERS // 2 * 2 * LINE_NUMBERS + LINE_NUMBERS
    count = samples // length
    return (count, length) if count >= FULL_ROWS else (0, 0)


def are_in_turn(inner: int) -> bool:
    """Whether the last two filtered axes are filtered one after the other, as so many adjacent numbers lie inside."""
    return inner > LONG_INNER


@dataclass(frozen=True, slots=True)
class Rows:
    """Short rows in memory."""

    window: Window
    """How they are filtered."""
    inner: int
    """Adjacent numbers of a sample."""
    run: int
    """Numbers of rows that lie one behind the other."""
    outer: tuple[Axis, ...]
    """Axes along which such runs begin."""

    @property
    def row(self) -> int:
        """Numbers of a row."""
        return self.window.size * self.inner


def find_rows(axes: Sequence[Axis]) -> Rows | None:
    """The rows of arrays that are filtered along one axis, if these lie one behind the other in both."""
    kept = [axis for axis in axes if axis.window or axis.size_in != 1]
    order = sorted(kept, key=lambda axis: -abs(axis.stride_in))
    inner = 1
    while order and order[-1].window is None and order[-1].stride_in == order[-1].stride_out == inner:
        inner *= order.pop().size_in
    if not order or order[-1].window is None or any(axis.window for axis in order[:-1]):
        return None
    axis = order.pop()
    window, apart = axis.window, axis.stride_in != inner or axis.stride_out != inner
    if window is None or window.step != 1 or axis.size_in != axis.size_out or (apart and axis.size_in > 1):
        return None
    run = inner * axis.size_in
    while order and order[-1].stride_in == order[-1].stride_out == run:
        run *= order.pop().size_in
    return Rows(window, inner, run, tuple(order))


@dataclass(frozen=True, slots=True)
class Cut:
    """How long rows are cut: `count` of `length` outputs each, from output `first` on."""

    first: int
    count: int
    length: int

    @property
    def stop(self) -> int:
        """First output behind them."""
        return self.first + self.count * self.length


def cut(axes: Sequence[Axis], window: Window) -> Cut | None:
    """How arrays with these axes are cut, if they are filtered along one of few long rows."""
    axis = next(axis for axis in axes if axis.window is window)
    inner = math.prod(other.size_in for other in axes if abs(other.stride_in) < axis.stride_in)
    others = math.prod(
        other.size_in for other in axes if other is not axis and abs(other.stride_in) >= axis.stride_in
    )
    if axis.stride_in != inner or axis.stride_out != inner or window.step > 1:
        return None
    first = min(max(-window.first, 0), window.out_size)
    last = max(first, min(window.size - window.taps + 1 - window.first, window.out_size))
    count, length = cut_rows(last - first, inner, window.taps, others)
    return Cut(first, count, length) if count else None


def cut_axes(axes: Sequence[Axis], window: Window, cut: Cut) -> list[Axis]:
    """The axes of the middle of arrays that are cut: rows, and what they are made of."""
    made: list[Axis] = []
    wide = cut.length + window.taps - 1
    for axis in axes:
        if axis.window is not window:
            made.append(axis)
            continue
        row = replace(window, size=wide, out_size=cut.length, first=0, boundary=Boundary.NEAREST)
        apart = cut.length * axis.stride_in, cut.length * axis.stride_out
        made.append(Axis(cut.count, cut.count, *apart))
        made.append(Axis(wide, cut.length, axis.stride_in, axis.stride_out, row))
    return made

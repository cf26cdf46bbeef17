"""Axes of unusual length: short rows, few long rows, and long inner axes.

Kernels use vectors along rows, which is slow if rows are short.  Adjacent short rows are filtered as one long vector
with repeated weights (`cpu.kernels.short_rows`).  Few long rows are cut into many (`cpu.long_rows`).  Plain integers
only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..arguments.boundary import Boundary
from ..arguments.problem import Window
from .layout import LONG_INNER, Axis

TABLE_BYTES = 22 << 10  # largest table of weights, which stays in a first-level cache
LONGEST_ROW = 2048  # most bytes of a short row; longer rows fill vectors
LONGEST_ROW_3D = (
    80  # the same with three or more filtered axes: with longer rows, one pass for the last two is faster
)
LONGEST_ROW_2D = 63  # the same with two filtered axes: with longer rows, one pass for both is faster
LEAST_NUMBERS = 2048  # of a run of short rows; in shorter runs, the ends dominate
BLOCK_BYTES = 256  # largest block of vectors
FULL_ROWS = 8  # with this many rows, blocks of vertical sums are full, and rows are not cut
LEAST_CUT = 1 << 21  # rows with fewer products are not cut
CUT_NUMBERS = 4096  # most numbers of the rows into which a long row is cut
CUT_ROWS = 16  # number of these rows, at least about
LANES = 16  # longest axis whose samples are adjacent numbers of the rows of an axis of one sample
LINE_NUMBERS = 16  # float32 numbers in a cache line


def slot_count(size: int, taps: int, *, wraps: bool) -> int:
    """Return about the number of diagonals of the matrix that filters an axis of `size` samples with `taps` taps.

    Examples
    --------
    >>> slot_count(100, 9, wraps=False), slot_count(100, 9, wraps=True), slot_count(3, 9, wraps=False)
    (9, 17, 5)
    """
    return max(1, min(2 * taps - 1 if wraps else taps, 2 * size - 1))


def are_short(size: int, inner: int, slots: int, item: int, run: int) -> bool:
    """Return whether an axis is filtered as short rows.

    Parameters
    ----------
    size : int
        Length of the axis, in the input and the output.
    inner : int
        Adjacent numbers per sample.
    slots : int
        `slot_count` times the number of intermediates that are read.
    item : int
        Itemsize of the compute dtype.
    run : int
        Numbers in a run of rows that are contiguous in memory.

    Examples
    --------
    >>> are_short(3, 1, 5, 4, 1 << 20), are_short(600, 1, 9, 4, 1 << 20)
    (True, False)
    """
    fits = size * inner * item <= LONGEST_ROW and run >= LEAST_NUMBERS
    return fits and (slots + 1) * (size * inner * item + BLOCK_BYTES) <= TABLE_BYTES


def cut_rows(samples: int, inner: int, taps: int, others: int) -> tuple[int, int]:
    """Return the number and the length of rows into which a long row is cut; (0, 0) if it is not cut.

    The length is an odd number of cache lines, so that the rows do not map to the same set of a cache.

    Parameters
    ----------
    samples : int
        Number of outputs of a row whose windows are inside it.
    inner : int
        Adjacent numbers per sample.
    taps : int
        Number of taps.
    others : int
        Number of long rows.

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
    """Return whether the last two filtered axes take separate passes, because of many adjacent numbers per sample."""
    return inner > LONG_INNER


@dataclass(frozen=True, slots=True)
class Rows:
    """The memory layout of short rows."""

    window: Window
    """Window along the rows."""
    inner: int
    """Adjacent numbers per sample."""
    run: int
    """Numbers in a run of rows that are contiguous in memory."""
    outer: tuple[Axis, ...]
    """Axes along which there are several runs."""

    @property
    def row(self) -> int:
        """Numbers in a row."""
        return self.window.size * self.inner


def find_rows(axes: Sequence[Axis]) -> Rows | None:
    """Return the rows of a pair of arrays filtered along one axis, if they are contiguous in both, else None."""
    kept = [axis for axis in axes if axis.window or axis.size_in != 1]
    order = sorted(kept, key=lambda axis: -abs(axis.stride_in))
    single = next((axis for axis in order if axis.window and axis.size_in == axis.size_out == 1), None)
    inner = 1
    while order and order[-1].window is None and order[-1].stride_in == order[-1].stride_out == inner:
        if single is not None and order[-1].size_in > LANES:
            break
        inner *= order.pop().size_in
    if single is not None and single in order:  # the rows of an axis of one sample can be anything
        order.remove(single)
        order.append(single)
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
    """Division of a long row: `count` rows of `length` outputs each, from output `first` on."""

    first: int
    count: int
    length: int

    @property
    def stop(self) -> int:
        """One past the last of these outputs."""
        return self.first + self.count * self.length


def cut(axes: Sequence[Axis], window: Window) -> Cut | None:
    """Return the division of the rows along `window`, if they are few and long, else None."""
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
    """Return the axes for the middle of divided rows: the long axis becomes an axis of rows and one along them."""
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

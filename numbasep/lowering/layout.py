"""Memory layouts: ordered axes, split into rows, columns and outer axes.

Axes are ordered by stride, so that a Fortran array is only a permuted one.  Trailing unfiltered axes (channels, the
two parts of a complex number) become `inner`, the distance between columns.  So one kernel runs on every layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..arguments.boundary import Boundary
from ..arguments.problem import Window

# Largest number of adjacent unfiltered numbers per column; longer ones become rows themselves.
LONG_INNER = 64


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an input array and of its output; strides are in numbers."""

    size_in: int
    """Length of the input axis."""
    size_out: int
    """Length of the output axis."""
    stride_in: int
    """Stride of the input axis."""
    stride_out: int
    """Stride of the output axis."""
    window: Window | None = None
    """Window of a filtered axis; None if the axis is not filtered."""


@dataclass(frozen=True, slots=True)
class Planes:
    """Roles of the axes: planes of rows and columns, with `inner` adjacent numbers per column."""

    outer: tuple[Axis, ...]
    """Other axes, filtered or not, along which there are several planes."""
    rows: Axis
    """Axis along which rows follow one another."""
    columns: Axis
    """Axis along a row, from column to column."""
    inner: int
    """Number of adjacent numbers per column."""


ONE = Axis(1, 1, 0, 0)


@dataclass(frozen=True, slots=True)
class Layout:
    """Strides of an input array and of its output, in elements."""

    input: tuple[int, ...]
    """Strides of the input."""
    output: tuple[int, ...]
    """Strides of the output."""


def nested_strides(shape: Sequence[int], like: Sequence[int] | None = None) -> tuple[int, ...]:
    """Return the strides of an array without gaps, in the memory order of the strides `like`, or in C order.

    Examples
    --------
    >>> nested_strides((10, 20, 30)), nested_strides((10, 20, 30), (1, 10, 200))
    ((600, 30, 1), (1, 10, 200))
    """
    made, step = [0] * len(shape), 1
    inwards = sorted(range(len(shape)), key=lambda i: (abs(like[i]) if like else 0, -i))
    for axis in inwards:
        made[axis] = step
        step *= shape[axis]
    return tuple(made)


def array_axes(
    shape_in: Sequence[int],
    shape_out: Sequence[int],
    strides_in: Sequence[int],
    strides_out: Sequence[int],
    windows: Sequence[Window],
    parts: int,
) -> list[Axis]:
    """Return the axes of an input and its output; with `parts` = 2, the parts of complex numbers are a last axis."""
    by_axis = {window.axis: window for window in windows}
    axes = [
        Axis(n_in, n_out, s_in * parts, s_out * parts, by_axis.get(i))
        for i, (n_in, n_out, s_in, s_out) in enumerate(
            zip(shape_in, shape_out, strides_in, strides_out, strict=True)
        )
    ]
    if parts > 1:
        axes.append(Axis(parts, parts, 1, 1))
    return axes


def arrange(axes: Sequence[Axis]) -> Planes:
    """Choose which axes become rows, columns, inner and outer."""
    kept = [axis for axis in axes if axis.window or axis.size_in != 1]
    order = sorted(kept, key=lambda axis: -abs(axis.stride_in) if axis.stride_in else -(1 << 62))
    inner = 1
    while order and order[-1].window is None and order[-1].stride_in == order[-1].stride_out == inner:
        inner *= order.pop().size_in
    order = _merged(order)
    filtered = [axis for axis in order if axis.window]
    if not filtered or (len(filtered) == 1 and inner > LONG_INNER):
        rows = filtered[-1] if filtered else (order[-1] if order else ONE)
        return Planes(_others(order, rows), rows, Axis(inner, inner, 1, 1), 1)
    columns = filtered[-1]
    plain = [axis for axis in order if axis.window is None]
    rows = filtered[-2] if len(filtered) > 1 else plain[-1] if plain else ONE
    outer = _others(order, rows, columns)
    if inner > LONG_INNER:
        return _cut_inner(outer, rows, columns, inner)
    return Planes(outer, rows, columns, inner)


def _merged(order: Sequence[Axis]) -> list[Axis]:
    """Merge adjacent unfiltered axes that are contiguous with one another in both arrays."""
    merged: list[Axis] = []
    for axis in order:
        before = merged[-1] if merged else ONE
        plain = merged and before.window is None and axis.window is None and axis.stride_in > 0
        if (
            plain
            and before.stride_in == axis.stride_in * axis.size_in
            and before.stride_out == axis.stride_out * axis.size_out
        ):
            size = before.size_in * axis.size_in
            merged[-1] = Axis(size, size, axis.stride_in, axis.stride_out)
        else:
            merged.append(axis)
    return merged


def _others(axes: Sequence[Axis], *taken: Axis) -> tuple[Axis, ...]:
    return tuple(axis for axis in axes if not any(axis is other for other in taken))


def _cut_inner(outer: tuple[Axis, ...], rows: Axis, columns: Axis, inner: int) -> Planes:
    """Return planes whose `inner` is the largest even divisor up to LONG_INNER; the quotient is an outer axis."""
    divisors = [n for n in range(1, LONG_INNER + 1) if inner % n == 0]
    chunk = max((n for n in divisors if n % 2 == 0), default=max(divisors))
    pieces = inner // chunk
    return Planes((*outer, Axis(pieces, pieces, chunk, chunk)), rows, columns, chunk)


def restrict(window: Window, start: int, stop: int) -> Window:
    """Return the window for output positions [start, stop) only."""
    return replace(window, first=window.first + start * window.step, out_size=stop - start)


def plain_window(axis: Axis) -> Window:
    """Return the window of an axis; for an unfiltered axis, a window of one tap."""
    return axis.window or Window(-1, axis.size_in, axis.size_out, 1, 0, Boundary.NEAREST)

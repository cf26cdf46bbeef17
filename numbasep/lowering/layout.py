"""Memory layouts: ordered axes, split into rows, columns and outer axes.

Axes are ordered by stride, so a Fortran array is only a permuted one; trailing unfiltered axes (channels, the
two parts of a complex number) become `inner`, a step between columns.  Every layout then runs on one kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..arguments.boundary import Boundary
from ..arguments.problem import Window

LONG_INNER = (
    64  # adjacent unfiltered numbers that go along with the samples of a row; more are rows themselves
)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an array and of the array it is filtered into, in elements."""

    size_in: int
    """Input positions."""
    size_out: int
    """Output positions."""
    stride_in: int
    """Elements from one input position to the next."""
    stride_out: int
    """Elements from one output position to the next."""
    window: Window | None = None
    """How it is filtered; None: copied."""


@dataclass(frozen=True, slots=True)
class Planes:
    """An array as planes of rows and columns of `inner` elements."""

    outer: tuple[Axis, ...]
    """Filtered and unfiltered axes outside the plane."""
    rows: Axis
    """The row axis."""
    columns: Axis
    """The column axis."""
    inner: int
    """Adjacent elements of one column."""


ONE = Axis(1, 1, 0, 0)


@dataclass(frozen=True, slots=True)
class Layout:
    """How an array and the one it is filtered into lie in memory: numbers from one position to the next."""

    input: tuple[int, ...]
    """Along each axis of the input."""
    output: tuple[int, ...]
    """Along each axis of the output."""


def nested_strides(shape: Sequence[int], like: Sequence[int] | None = None) -> tuple[int, ...]:
    """Strides of an array without gaps, whose axes are nested as those of one with the strides `like`, or in C order.

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
    """The axes of a pair of arrays; `parts` = 2 adds the two halves of complex numbers as a last axis."""
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
    """Choose rows, columns and inner."""
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
    """Axes that are not filtered, as one with their neighbours where these lie behind each other in both arrays."""
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
    """The longest even divisor up to LONG_INNER becomes inner; the rest an outer axis."""
    divisors = [n for n in range(1, LONG_INNER + 1) if inner % n == 0]
    chunk = max((n for n in divisors if n % 2 == 0), default=max(divisors))
    pieces = inner // chunk
    return Planes((*outer, Axis(pieces, pieces, chunk, chunk)), rows, columns, chunk)


def restrict(window: Window, start: int, stop: int) -> Window:
    """The same window for output positions [start, stop) only."""
    return replace(window, first=window.first + start * window.step, out_size=stop - start)


def plain_window(axis: Axis) -> Window:
    """A window of one tap: the axis is copied."""
    return axis.window or Window(-1, axis.size_in, axis.size_out, 1, 0, Boundary.NEAREST)
